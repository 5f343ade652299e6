"""Samples and predictions with none, one or several boxes."""

from dataclasses import replace

import numpy as np
import pytest

from vg_gym.errors import VGGymError
from vg_gym.types import Prediction, Query, Sample

BOX = np.array([1, 2, 30, 40], dtype=np.float32)
QUERY = Query(None, "the dogs", "image/1")


def test_one_box_is_given_and_read_as_before():
    for sample in (Sample(QUERY, BOX, "dog", 1, 2, 3, 4, "val"), Sample(query=QUERY, box=BOX, category="dog")):
        np.testing.assert_array_equal(sample.box, BOX)
        assert sample.boxes.shape == (1, 4) and sample.category == "dog"
    np.testing.assert_array_equal(replace(sample, box=BOX + 1).box, BOX + 1)
    assert replace(sample, query=replace(QUERY, key="b")).boxes.shape == (1, 4)


@pytest.mark.parametrize("count", [0, 2, 50])
def test_several_boxes_or_none(count):
    sample = Sample(QUERY, np.tile(BOX, (count, 1)))
    assert sample.boxes.shape == (count, 4)
    with pytest.raises(VGGymError, match=rf"image/1 has {count} boxes, not one; read sample.boxes"):
        _ = sample.box


def test_a_sample_cannot_be_changed():
    with pytest.raises(AttributeError):
        Sample(QUERY, BOX).split = "test"


def test_a_prediction_of_one_box():
    prediction = Prediction(BOX, 0.5)
    np.testing.assert_array_equal(prediction.box, BOX)
    assert prediction.boxes.shape == (1, 4) and prediction.scores.tolist() == [0.5] and prediction.score == 0.5
    assert Prediction(BOX).score is None and Prediction(BOX).scores is None and Prediction(BOX).details == {}
    assert Prediction(box=BOX, score=None, details={"failure": "x"}).details == {"failure": "x"}


def test_a_prediction_of_several_boxes_and_of_none():
    several = Prediction(boxes=np.stack([BOX, BOX + 1]), scores=np.array([0.9, 0.2]))
    assert several.score == 0.9 and several.box.tolist() == BOX.tolist() and len(several.boxes) == 2
    nothing = Prediction(score=0.1)
    assert nothing.box is None and nothing.boxes.shape == (0, 4) and nothing.score == 0.1 and len(nothing.scores) == 0
