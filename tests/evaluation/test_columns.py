import numpy as np
import pytest

from vg_gym.errors import VGGymError
from vg_gym.evaluation.columns import Answers, SampleColumns


def test_samples_are_read_into_columns(shapes):
    columns = SampleColumns([shapes[0], shapes[1]], "two", decode=True)
    assert columns.boxes.tolist() == [shapes[0].box.tolist(), shapes[1].box.tolist()]
    assert columns.kinds == [shapes[0].kind, shapes[1].kind] and columns.scales.tolist() == [[128] * 4] * 2
    assert columns.readable.tolist() == [0, 1] and not columns.unreadable


def test_samples_with_one_key_are_refused(shapes):
    with pytest.raises(VGGymError, match="samples 0 and 2 of twice/test have the same key"):
        SampleColumns([shapes[0], shapes[1], shapes[0]], "twice/test", decode=False)


def test_lines_are_read_into_columns():
    good = {"key": "a", "box": [0, 0, 5, 5], "ms": 2.0, "evaluations": 7, "source": "w", "proposals": [[0, 0, 5, 5]]}
    bad = {"key": "b", "box": None, "failure": "none", "unanswered": True}
    answers = Answers.of([good, bad])
    assert answers.has_box.tolist() == [True, False] and answers.boxes[0].tolist() == [0, 0, 5, 5]
    assert (
        answers.ms[0] == 2 and answers.evaluations[0] == 7 and np.isnan([answers.ms[1], answers.evaluations[1]]).all()
    )
    assert answers.failures.tolist() == answers.nothing.tolist() == [False, True]
    assert answers.with_proposals.tolist() == [True, False] and answers.sources == ("w",)
