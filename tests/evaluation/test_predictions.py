import json

import numpy as np
import pytest

from vg_gym.errors import VGGymError
from vg_gym.evaluation.predictions import PredictionFile, key_hashes

LINE = {"key": "a", "box": [0.0, 0.0, 1.0, 1.0], "ms": 1.0}


def test_what_is_appended_is_there_again(tmp_path):
    file = PredictionFile(tmp_path / "new", {"seed": 0})
    file.append("m", [LINE, {**LINE, "key": "b"}])
    again = PredictionFile(tmp_path / "new", {"seed": 0})
    assert again["m", "a"] == {"method": "m", **LINE} and ("m", "b") in again
    assert ("m", "c") not in again and ("other", "a") not in again
    assert json.loads((tmp_path / "new" / "settings.json").read_text()) == {"seed": 0}


def test_a_line_cut_off_is_dropped_from_the_file_too(tmp_path):
    PredictionFile(tmp_path, {}).append("m", [LINE])
    with (tmp_path / "predictions.jsonl").open("a") as file:
        file.write('{"method": "m", "ke')
    kept = PredictionFile(tmp_path, {})
    kept.append("m", [{**LINE, "key": "b"}])
    lines = (tmp_path / "predictions.jsonl").read_text().splitlines()
    assert [json.loads(line)["key"] for line in lines] == ["a", "b"]


def test_other_settings_are_named_and_fresh_starts_again(tmp_path):
    PredictionFile(tmp_path, {"seed": 0, "clip": "x", "split": "test"}).append("m", [LINE])
    with pytest.raises(VGGymError, match="other clip, seed; use another --out, or --fresh"):
        PredictionFile(tmp_path, {"seed": 1, "split": "test"})
    assert ("m", "a") not in PredictionFile(tmp_path, {"seed": 1}, fresh=True)
    PredictionFile(tmp_path, {"seed": 1})


def test_lines_stay_in_the_file_and_the_last_of_one_key_counts(tmp_path):
    file = PredictionFile(tmp_path, {})
    file.append("m", [{**LINE, "key": key} for key in "abc"])
    file.append("other", [{**LINE, "failure": "no"}])
    file.append("m", [{**LINE, "key": "b", "failure": "no", "box": None}])
    hashes = key_hashes("cab", 3)
    for kept in (file, PredictionFile(tmp_path, {})):
        lines = kept.lines("m", hashes)
        assert [line["key"] for line in lines] == ["c", "a", "b"] and lines[2]["box"] is None
        assert [line["key"] for line in lines[np.array([1, 0])]] == ["a", "c"]
        assert kept.missing("m", hashes).tolist() == [] and kept.missing("m", hashes, True).tolist() == [2]
        assert kept.missing("other", hashes).tolist() == [0, 2]


def test_predictions_with_other_inputs_no_longer_count(tmp_path):
    file = PredictionFile(tmp_path, {})
    assert file.renew("m", {"weights": "1", "options": "x"}) == []
    file.append("m", [LINE, {**LINE, "key": "b"}])
    file.append("other", [LINE])
    others = file.lines("other", key_hashes("a", 1))
    assert PredictionFile(tmp_path, {}).renew("m", {"weights": "1", "options": "x"}) == []
    assert file.renew("m", {"weights": "2", "options": "x"}) == ["weights"]
    assert not file.knows("m") and others[0]["method"] == "other", "places of others stay"
    file.append("m", [{**LINE, "ms": 2.0}])
    again = PredictionFile(tmp_path, {})
    assert again["m", "a"]["ms"] == 2 and ("m", "b") not in again
    lines = [json.loads(line) for line in (tmp_path / "predictions.jsonl").read_text().splitlines()]
    assert [(line["method"], line["ms"]) for line in lines] == [("other", 1.0), ("m", 2.0)]
