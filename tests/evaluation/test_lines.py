import numpy as np
import pytest

from vg_gym.errors import DEBUG, ImageError, VGGymError
from vg_gym.evaluation.lines import common_failure, failed, predict_batch
from vg_gym.types import Prediction


def method(box, fails=lambda query: None):
    def ground(queries, boxes):
        for query in queries:
            fails(query)
        return [Prediction(np.array(box)) for _ in queries]

    return ground


def test_a_line_is_rounded_and_a_bad_box_is_a_failure(blind):
    (line,) = predict_batch(method([1.23456, 2, 30, 40]), (blind[:1], None))
    assert line["box"] == [1.235, 2.0, 30.0, 40.0] and line["key"] == blind[0].key and "failure" not in line
    (line,) = predict_batch(method([50, 50, 40, 40]), (blind[:1], None))
    assert line["box"] is None and line["failure"] == "not a valid box or point inside the image"


def test_one_failing_query_does_not_fail_its_batch(blind):
    def fails(query):
        if query.key == blind[1].key:
            raise KeyError("x")

    lines = predict_batch(method([0, 0, 9, 9], fails), (blind[:3], np.zeros((3, 4))))
    assert [line["box"] is None for line in lines] == [False, True, False]
    assert lines[1]["failure"].startswith("KeyError: 'x' (test_lines.py, line ") and [
        line["key"] for line in lines
    ] == [q.key for q in blind[:3]]


def test_a_wrong_number_of_predictions_is_a_failure_of_each(blind):
    lines = predict_batch(lambda queries, boxes: [], (blind[:2], None))
    assert [line["failure"] for line in lines] == ["RuntimeError: 0 predictions for 1 queries"] * 2


def test_a_failure_of_all_for_one_reason_is_the_method_s_own(blind):
    def fails(query):
        raise VGGymError("no such\nthing")

    lines = predict_batch(method([0, 0, 9, 9], fails), (blind[:2], None))
    assert [line["failure"] for line in lines] == ["no such thing"] * 2
    assert (
        common_failure(lines) == "no such thing" and common_failure([*lines, {"key": "a", "box": [0, 0, 1, 1]}]) is None
    )
    assert common_failure([lines[0], {**lines[1], "failure": "another"}]) is None
    unread = failed("a", ImageError("no image a.jpg"))
    assert common_failure([unread, unread]) is None and "ms" not in unread
    fallback = {"key": "a", "box": [0, 0, 1, 1], "failure": "no proposals"}
    assert common_failure([fallback, fallback]) is None


SOURCE = "def ground(queries, boxes):\n    return [query.bxo for query in queries]\n"


def method_in(folder):
    """A method with an error in its second line, from a file."""
    path = folder / "broken.py"
    path.write_text(SOURCE)
    names = {}
    exec(compile(SOURCE, str(path), "exec"), names)
    return names["ground"]


def test_an_error_in_a_method_of_a_user_names_its_file_and_line(tmp_path, blind):
    lines = predict_batch(method_in(tmp_path), (blind[:2], None))
    assert all(line["failure"].endswith("(broken.py, line 2)") for line in lines)
    assert "no attribute 'bxo'" in lines[0]["failure"]


def test_debugging_raises_the_error_with_its_cause(tmp_path, blind, monkeypatch):
    monkeypatch.setenv(DEBUG, "1")
    with pytest.raises(VGGymError, match=r"\(broken.py, line 2\)") as raised:
        predict_batch(method_in(tmp_path), (blind[:2], None))
    assert isinstance(raised.value.__cause__, AttributeError)
