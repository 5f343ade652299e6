import pytest

from vg_gym.data.worlds.refshapes.dataset import RefShapes
from vg_gym.language.number import Number, number

EXPRESSIONS = {
    "the cross left of the circles": (False, None),
    "the two small red circles on the left": (True, 2),
    "circles": (True, None),
    "both men in hats": (True, 2),
    "people standing by the bus": (True, None),
    "player 3": (False, None),
    "3 cups": (True, 3),
    "one of the cups": (False, 1),
    "the bus": (False, None),
    "man's glasses": (False, None),
    "": (False, None),
    "!!": (False, None),
    "99999999999999999999 cups": (True, None),
}


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_number_of_an_expression(text):
    assert number(text) == Number(*EXPRESSIONS[text])


def test_plurals_of_refshapes_are_plurals_and_singulars_are_not():
    data = RefShapes("refshapes-any", "val", scenes=30)
    for sample in data:
        if sample.kind != "none":
            stated = number(sample.query.expression)
            assert stated.plural == (len(sample.boxes) > 1), sample.query.expression
            assert stated.count in (None, len(sample.boxes))
