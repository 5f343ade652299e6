"""One grammar, two views of it: on RefShapes as its syntax trees say, on real sentences as written down here."""

import pytest

from vg_gym.data.worlds.refshapes import expressions
from vg_gym.data.worlds.refshapes.dataset import RefShapes
from vg_gym.data.worlds.refshapes.expressions import Expression, NounPhrase
from vg_gym.language.parsing import Parsed, cuts, noun_phrases, parse

CROSS, HEART = NounPhrase("cross", size="small"), NounPhrase("heart", "blue", "striped")
SUPERLATIVES = {
    "leftmost": "left", "rightmost": "right", "topmost": "top", "bottommost": "bottom", "largest": "largest",
    "biggest": "largest", "smallest": "smallest",
}  # fmt: skip
"""RefShapes' word -> the vocabulary's name."""


@pytest.mark.parametrize("relation", expressions.RELATIONS)
def test_every_relation_of_refshapes_is_understood(relation):
    text = Expression(CROSS, relation=relation, anchor=HEART).text
    assert noun_phrases(text) == ("the small cross", "the striped blue heart")
    name = "near" if relation == "nearest to" else relation
    assert parse(text) == Parsed("the small cross", relation=name, anchor=Parsed("the striped blue heart"))


@pytest.mark.parametrize("word", expressions._SUPERLATIVES)
def test_every_superlative_of_refshapes_is_understood(word):
    text = Expression(HEART, word).text
    assert noun_phrases(text) == (text, "")
    article = "" if word.endswith("most") else "the "  # "the left" is a form of "left"
    assert parse(text) == Parsed(f"{article}striped blue heart", (SUPERLATIVES[word],))


@pytest.mark.parametrize("place", expressions._PLACES)
def test_every_place_of_refshapes_is_understood(place):
    text = Expression(HEART, place=place).text
    preposition, _, region = place.partition(" ")
    assert noun_phrases(text) == ("the striped blue heart", region)  # what the built-in networks were trained on
    parsed = parse(text)
    assert parsed.phrase == "the striped blue heart" and parsed.relation is None
    assert set(parsed.superlatives) == set(place.split()) - {preposition, "the", "corner"}


def test_the_two_views_agree_on_refshapes():
    for sample in RefShapes("refshapes", "val", scenes=100):
        text = sample.query.expression
        tree, parsed, (head, anchor) = expressions.parse(text), parse(text), noun_phrases(text)
        assert (parsed.relation is not None) == (tree.relation is not None)
        assert parsed.plain == (sample.kind in ("attribute", "size") and tree.superlative is None)
        if parsed.anchor:
            assert (parsed.phrase, parsed.anchor.phrase) == (head, anchor) == (f"the {tree.head.text}", anchor)
            assert anchor == f"the {tree.anchor.text}"
        if tree.superlative is None:
            assert head == parsed.phrase == f"the {tree.head.text}"


@pytest.mark.parametrize(
    ("expression", "head", "anchor"),
    [
        ("the man in the yellow coat", "the man", "the yellow coat"),
        ("A Man Next  to a Dog", "A Man", "a Dog"),
        ("woman sitting on top of a motorcycle", "woman", "a motorcycle"),
        ("the wine glass nearest the woman's pizza", "the wine glass", "the woman's pizza"),
        ("an apple beneath a banana", "an apple", "a banana"),
        ("the inside of an oven", "the inside", "an oven"),  # an article is no head
        ("the nearest seagull", "the nearest seagull", ""),
        ("two closest pizza slices", "two closest pizza slices", ""),
        ("the chair on the closest side", "the chair", "the closest side"),
        ("in front of the bus", "in front of the bus", ""),
        ("the dog next to", "the dog next to", ""),
        ("the overland bus", "the overland bus", ""),
        ("", "", ""),
    ],
)
def test_noun_phrases_of_real_sentences(expression, head, anchor):
    assert noun_phrases(expression) == (head, anchor)


@pytest.mark.parametrize("expression", ["the man in the yellow coat", "a leftover pizza", "the overland bus", ""])
def test_what_boxes_cannot_decide_stays_in_the_phrase(expression):
    parsed = parse(expression)
    assert parsed.plain and parsed.phrase == (expression or "object")


@pytest.mark.parametrize("expression", ["tank top", "a left over pizza", "a sandwich cut by a knife"])
def test_words_that_only_look_like_places_stay_in_the_phrase(expression):
    assert parse(expression) == Parsed(expression)


def test_a_relation_may_hold_superlatives_and_relations():
    parsed = parse("The smallest ring LEFT OF the top star near the cross")
    assert parsed == Parsed("the ring", ("smallest",), "left of", Parsed("star", ("top",), "near", Parsed("the cross")))


def test_a_view_goes_past_what_boxes_cannot_decide():
    text = "man in a red coat left of the dog with a ball"
    assert [cut.relation.name for cut in cuts(text)] == ["in", "left of", "with"]
    assert noun_phrases(text) == ("man", "a red coat left of the dog with a ball")
    assert parse(text) == Parsed("man in a red coat", relation="left of", anchor=Parsed("the dog with a ball"))
