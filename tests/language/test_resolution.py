"""Superlatives and relations, decided over five boxes."""

import numpy as np
import pytest

from vg_gym.language.parsing import parse
from vg_gym.language.resolution import resolve

# Five boxes: a row of three cups, a large dog below the middle, a cat at its left.
BOXES = np.array([[0, 0, 10, 10], [45, 0, 55, 10], [90, 0, 100, 10], [30, 40, 70, 90], [5, 50, 20, 65]], dtype=float)
NAMES = ["cup", "cup", "cup", "dog", "cat"]


def logits(phrase):
    return np.array([8.0 if name in phrase else 0.0 for name in NAMES])


@pytest.mark.parametrize(
    ("expression", "answer"),
    [
        ("the leftmost cup", 0),
        ("cup on the right", 2),
        ("the cup in the middle", 1),
        ("right most cup", 2),
        ("the far left cup", 0),
        ("the cat to the left of the dog", 4),
        ("the dog right of the cat", 3),
        ("the cup above the dog", 1),
        ("the dog below the cup", 3),
        ("the cat next to the dog", 4),
        ("the cup nearest to the cat", 0),
        ("the biggest one", 3),
        ("the object smaller than the dog on the far left", 0),
    ],
)
def test_boxes_decide(expression, answer):
    values = resolve(parse(expression), BOXES, logits)
    assert values.shape == (5,) and (values >= 0).all() and (values <= 1).all()
    assert values.argmax() == answer, values.round(3)


def test_what_boxes_cannot_decide_changes_nothing():
    assert resolve(parse("the man in the yellow coat"), BOXES, logits).tolist() == [1] * 5


def test_one_box_is_always_the_one():
    for expression in ("the leftmost cup", "the cup left of the dog", "middle cup"):
        values = resolve(parse(expression), BOXES[:1], lambda phrase: np.zeros(1))
        assert values.shape == (1,) and np.isfinite(values).all()
