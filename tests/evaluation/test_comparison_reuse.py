"""Saved predictions are reused if everything that they depend on is unchanged; else they are computed again."""

import json
import os
import shutil
import sys

import numpy as np
import pytest
from PIL import Image

from vg_gym import registry
from vg_gym.evaluation.comparison import Comparison
from vg_gym.evaluation.predictions import INPUTS
from vg_gym.storage.assets import built_in

SIZES = {"a": 100, "b": 100}
OWN = """
import numpy as np
from vg_gym.types import Prediction

class Half:
    name = "half"

    def __init__(self, fraction=1.0):
        self.fraction = fraction

    def ground(self, queries, initial_boxes=None):
        if initial_boxes is not None:
            return [Prediction(box) for box in initial_boxes]
        return [Prediction(np.array([0, 0, SIDE, 50])) for _ in queries]
"""


@pytest.fixture
def data(tmp_path):
    """Two pictures with a sentence each; the true boxes are 50 x 50."""
    rows = []
    for name, side in SIZES.items():
        Image.new("RGB", (side, side), "gray").save(tmp_path / f"{name}.png")
        rows += [{"image": f"{name}.png", "expression": "it", "box": [0, 0, 50, 50], "split": "test"}]
        rows += [{"image": f"{name}.png", "expression": "it", "box": [50, 50, 90, 90], "split": "train"}]
    path = tmp_path / "mine.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Writes the source of a method of one's own, which is imported anew."""

    def write(side, more=""):
        sys.modules.pop("half_of_mine", None)
        for cached in tmp_path.glob("__pycache__/half_of_mine*"):
            cached.unlink()
        (tmp_path / "half_of_mine.py").write_text(OWN.replace("SIDE", str(side)) + more)

    monkeypatch.syspath_prepend(tmp_path)
    yield write
    sys.modules.pop("half_of_mine", None)


def evaluated(out, data, methods=("half_of_mine:Half",), **changes):
    """The rows of a comparison, by method."""
    given = {"methods": list(methods), "out": str(out), "dataset": str(data), "clip": "none"} | changes
    return {row["method"]: row for row in Comparison(**given).run()}


def test_an_unchanged_method_is_reused_and_an_edited_one_made_again(data, own, tmp_path, capsys):
    own(50)
    out = tmp_path / "out"
    assert evaluated(out, data)["half_of_mine:Half"]["mean_iou"] == 1
    assert "reused" not in capsys.readouterr().err
    again = evaluated(out, data)["half_of_mine:Half"]
    assert again["reused"] == 2 and again["mean_iou"] == 1
    assert "half_of_mine:Half: 2 of 2 predictions are reused" in capsys.readouterr().err
    own(25)
    edited = evaluated(out, data)
    assert edited["half_of_mine:Half"]["mean_iou"] == 0.5 and "reused" not in edited["half_of_mine:Half"]
    assert edited["full"]["reused"] == 2
    assert "half_of_mine:Half: source changed, so" in capsys.readouterr().err
    lines = [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]
    assert sum(line["method"] == "half_of_mine:Half" for line in lines) == 2


def test_a_refined_row_follows_the_boxes_that_it_starts_from(data, own, tmp_path, capsys):
    own(50)
    out = tmp_path / "out"
    evaluated(out, data, refine="no-op")
    own(25)
    rows = evaluated(out, data, refine="no-op")
    assert rows["half_of_mine:Half + no-op"]["mean_iou"] == 0.5
    assert "half_of_mine:Half + no-op: initial boxes changed" in capsys.readouterr().err


def test_options_of_one_method_make_that_one_again(data, own, tmp_path, capsys):
    own(50)
    evaluated(tmp_path / "out", data)
    capsys.readouterr()
    evaluated(tmp_path / "out", data, options={"half_of_mine:Half": {"fraction": 0.5}})
    said = capsys.readouterr().err
    assert "half_of_mine:Half: options, weights changed" in said and "full: 2 of 2" in said


def test_an_edited_picture_makes_all_again(data, own, tmp_path, capsys):
    own(50)
    evaluated(tmp_path / "out", data)
    before = (tmp_path / "a.png").stat()
    Image.new("RGB", (100, 100), "red").save(tmp_path / "a.png")
    os.utime(tmp_path / "a.png", (before.st_atime, before.st_mtime))
    capsys.readouterr()
    evaluated(tmp_path / "out", data)
    said = capsys.readouterr().err
    assert "full: pictures changed" in said and "half_of_mine:Half: pictures changed" in said


def test_a_fitted_floor_follows_its_training_split(data, tmp_path, capsys):
    before = evaluated(tmp_path / "out", data, ["center"])["constant"]["mean_iou"]
    text = data.read_text().replace("[50, 50, 90, 90]", "[0, 0, 50, 50]")
    data.write_text(text)
    rows = evaluated(tmp_path / "out", data, ["center"])
    assert before < 0.1 and rows["constant"]["mean_iou"] == pytest.approx(1, abs=0.02)
    assert "constant: weights, training split changed" in capsys.readouterr().err and rows["center"]["reused"] == 2


def test_corrected_answers_are_evaluated_again(data, tmp_path, capsys):
    answers, sample = tmp_path / "answers.jsonl", registry.open_dataset(str(data), "test")
    rows = []
    for box in ([0, 0, 50, 25], [0, 0, 50, 50]):
        lines = [{"key": sample[i].query.key, "box": box} for i in range(2)]
        answers.write_text("\n".join(map(json.dumps, lines)))
        rows.append(evaluated(tmp_path / "out", data, (), predictions=str(answers))["recorded:answers"])
    assert [row["mean_iou"] for row in rows] == [0.5, 1]
    assert "recorded:answers: answers changed" in capsys.readouterr().err
    again = evaluated(tmp_path / "out", data, (), predictions=str(answers), frame="normalised")
    assert again["recorded:answers"]["mean_iou"] != 1 and "frame changed" in capsys.readouterr().err


def test_replaced_weights_are_evaluated_again(tmp_path, capsys):
    run, out, rows = tmp_path / "latest", tmp_path / "out", []
    for weights in ("refshapes-label-free", "refshapes"):
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(built_in("agent", weights), run)
        given = {"dataset": "refshapes", "limit": 12}
        rows.append(evaluated(out, "", [f"agent:{run}"], **given)[f"agent:{run}"])
    assert rows[0]["mean_iou"] != rows[1]["mean_iou"] and "reused" not in rows[1]
    assert f"agent:{run}: weights changed" in capsys.readouterr().err
    fresh = evaluated(tmp_path / "other", "", [f"agent:{run}"], **given)[f"agent:{run}"]
    assert fresh["mean_iou"] == rows[1]["mean_iou"]


def test_predictions_of_which_nothing_was_noted_are_made_again(data, own, tmp_path, capsys):
    own(50)
    evaluated(tmp_path / "out", data)
    (tmp_path / "out" / INPUTS).unlink()
    capsys.readouterr()
    assert "reused" not in evaluated(tmp_path / "out", data)["full"]
    assert "full: vg_gym changed, so its saved predictions are computed again" in capsys.readouterr().err
    assert np.isfinite(json.loads((tmp_path / "out" / "results.json").read_text())["rows"][0]["mean_iou"])
