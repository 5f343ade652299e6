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


# A street of 100 x 100: a bus in the back, two cars, a woman on a bench in front of the near car, a bag on the bench.
STREET = np.array(
    [[40, 20, 70, 40], [5, 35, 30, 50], [60, 45, 95, 75], [70, 60, 80, 90], [65, 75, 98, 94], [88, 77, 94, 85]],
    dtype=float,
)
THINGS = ["bus", "car", "car", "woman", "bench", "bag"]


@pytest.mark.parametrize(
    ("expression", "answer"),
    [
        ("the car in the background", 1),
        ("the car closest to the camera", 2),
        ("the farthest car", 1),
        ("car in front", 2),
        ("the woman in front of the car", 3),
        ("the car behind the woman", 2),
        ("the bag on the bench", 5),
        ("a woman sitting on a bench", 3),
        ("the object inside the bench", 5),
        ("the second largest car", 1),
        ("the second car from the left", 2),
        ("second car from the right", 1),
        ("the second object from the right", 4),
        ("the third one from the left", 3),
        ("the car between the bus and the bench", 2),
        ("the object between the two cars", 0),
        ("the bus behind the car in front of the bench", 0),
    ],
)
def test_boxes_decide_depth_order_and_contact(expression, answer):
    def logits(phrase):
        return np.array([8.0 if name in phrase or "object" in phrase else 0.0 for name in THINGS])

    values = resolve(parse(expression), STREET, logits)
    assert values.shape == (6,) and (values >= 0).all() and (values <= 1 + 1e-9).all()
    assert values.argmax() == answer, values.round(3)


def test_the_first_of_an_order_is_the_superlative():
    def uncertain(phrase):
        return np.array([0.0, -1, -0.5, -2, 0])

    first, leftmost = (resolve(parse(text), BOXES, uncertain) for text in ("first cup from the left", "leftmost cup"))
    np.testing.assert_allclose(first, leftmost)
    chances = [
        resolve(parse(f"{nth} cup from the left"), BOXES, lambda phrase: np.zeros(5)) for nth in ("1st", "second")
    ]
    assert [values.tolist() for values in chances] == [[1, 0, 0, 0, 0], [0, 0, 0, 0, 1]]


def test_what_boxes_cannot_decide_changes_nothing():
    assert resolve(parse("the man in the yellow coat"), BOXES, logits).tolist() == [1] * 5


def test_one_box_is_always_the_one():
    for expression in (
        "the leftmost cup",
        "the cup left of the dog",
        "middle cup",
        "the cup between two cups",
        "2nd from left",
    ):
        values = resolve(parse(expression), BOXES[:1], lambda phrase: np.zeros(1))
        assert values.shape == (1,) and np.isfinite(values).all()
