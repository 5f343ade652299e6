"""The vocabulary: every word is read as what it is listed for, and can be decided where it says so."""

import pytest

from vg_gym.language.parsing import cuts, parse
from vg_gym.language.resolution import HOLDS, RANKS
from vg_gym.language.vocabulary import RELATIONS, SUPERLATIVES

FORMS = {
    "left of": ["left of", "to the left of", "on the left of", "on the left side of", "to the far left of"],
    "right of": ["right of", "to the right of", "on the right of"],
    "between": ["between", "in between", "inbetween"],
    "in front of": ["in front of", "infront of", "in the front of"],
    "behind": ["behind", "in back of"],
    "above": ["above", "over", "on top of", "ontop of", "atop"],
    "below": ["below", "under", "beneath", "underneath"],
    "near": [
        "next to", "near", "near to", "nearby", "nearest to", "nearest", "closest to", "close to", "beside", "by", "at",
        "alongside", "along side of", "adjacent to", "against",
    ],
    "larger": ["larger than", "bigger than", "taller than"],
    "smaller": ["smaller than", "shorter than"],
    "on": ["on", "onto", "upon", "strapped to", "attached to", "hanging from"],
    "inside": ["in", "inside", "inside of", "within"],
}  # fmt: skip
SINGLED_OUT = {
    "left": ["leftmost", "left most", "left-most", "far left", "on the left", "at the very left", "left hand side"],
    "right": ["rightmost", "on the right side"],
    "top": ["topmost", "upper", "at the top"],
    "bottom": ["bottom", "lower", "at the bottom"],
    "middle": ["middle", "in the center", "centre"],
    "front": ["in the front", "in front", "in the foreground", "closest to the camera", "nearest us", "closest"],
    "back": ["in the back", "in the background", "in the far background", "farthest from the camera", "furthest away"],
    "largest": ["largest", "biggest"],
    "smallest": ["smallest", "tiniest"],
}


@pytest.mark.parametrize("relation", RELATIONS, ids=lambda relation: relation.name)
def test_every_form_of_a_relation_is_read_whole(relation):
    for form in FORMS.get(relation.name, [relation.name]):
        (cut,) = cuts(f"the cup {form} the dog")
        assert (cut.head, cut.relation, cut.anchor) == ("the cup", relation, "the dog"), form


@pytest.mark.parametrize("superlative", SUPERLATIVES, ids=lambda superlative: superlative.name)
def test_every_form_of_a_superlative_is_taken_out_whole(superlative):
    for form in SINGLED_OUT[superlative.name]:
        parsed = parse(f"cup {form}")
        assert (parsed.phrase, parsed.superlatives) == ("cup", (superlative.name,)), form


def test_boxes_decide_what_the_vocabulary_says_they_do():
    assert {*HOLDS, "between"} == {relation.name for relation in RELATIONS if relation.over_boxes}
    assert list(RANKS) == [superlative.name for superlative in SUPERLATIVES]
