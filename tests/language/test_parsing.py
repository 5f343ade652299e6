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


@pytest.mark.parametrize("relation", expressions.SCENE_RELATIONS)
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


@pytest.mark.parametrize("place", expressions.PLACES)
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
        tree, parsed, (head, anchor) = expressions.read_expression(text), parse(text), noun_phrases(text)
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
        ("woman sitting on top of a motorcycle", "woman sitting", "a motorcycle"),
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


def test_a_relation_that_boxes_decide_comes_first():
    text = "man in a red coat left of the dog with a ball"
    assert [cut.relation.name for cut in cuts(text)] == ["inside", "left of", "with"]
    assert noun_phrases(text) == ("man in a red coat", "the dog with a ball")
    assert parse(text) == Parsed("man in a red coat", relation="left of", anchor=Parsed("the dog with a ball"))


@pytest.mark.parametrize(
    ("expression", "phrase", "relation", "anchor"),
    [
        ("a parrot on a boy ' s left shoulder", "a parrot", "on", "a boy ' s left shoulder"),
        ("a cat lying on a bed", "a cat lying", "on", "a bed"),
        ("a man with a hat on a motorcycle", "a man with a hat", "on", "a motorcycle"),
        ("a dog in the back of a truck", "a dog", "inside", "the back of a truck"),
        ("an apple in a bowl", "an apple", "inside", "a bowl"),
        ("a woman sitting at a table", "a woman sitting", "near", "a table"),
        ("a chair that is located behind the sofa", "a chair", "behind", "the sofa"),
        ("a zebra in between two other zebras", "a zebra", "between", "two other zebras"),
        ("there is a cup in front of the monitor", "a cup", "in front of", "the monitor"),
        ("a dog to the left of two other dogs", "a dog", "left of", "two other dogs"),
        ("a cow standing in the grass next to a fence", "a cow standing", "near", "a fence"),
    ],
)
def test_relations_of_people(expression, phrase, relation, anchor):
    parsed = parse(expression)
    assert (parsed.phrase, parsed.relation, parsed.anchor.phrase) == (phrase, relation, anchor)


@pytest.mark.parametrize(
    "expression",
    [
        "a car with two cats underneath it",
        "a couch with a stool lying on top of it",
        "a kite held by a boy",
        "a cow sitting by itself",
        "a man with his arms on the table",
        "a boy with a foot on the ball",
        "a woman in a red coat",
        "a man typing on a laptop",
        "a giraffe looking at a table",
        "the bench that the man is sitting on",
        "a woman reaching over the counter",
        "a pizza that is not next to the salad",
        "a plane with stripes on the tail",
        "half of a sandwich",
        "the front of the van",
        "the back end of a sheep",
        "front wheel of the bike",
        "sheep facing left",
        "the woman with her right hand up",
        "a table with a plate on top",
    ],
)
def test_what_is_no_relation_or_place_of_the_target(expression):
    assert parse(expression) == Parsed(expression)


@pytest.mark.parametrize(
    ("expression", "phrase", "superlatives", "ordinal"),
    [
        ("bench closest to the camera", "bench", ("front",), None),
        ("the person in the background wearing a coat", "the person wearing a coat", ("back",), None),
        ("a man standing at the back left of a kitchen", "a man standing", ("left", "back"), None),
        ("the elephant in the front of the line", "the elephant", ("front",), None),
        ("front bike in the right hand picture", "bike", ("right", "front"), None),
        ("the zebra furthest to the right", "the zebra", ("right",), None),
        ("a man walking on the left", "a man walking", ("left",), None),
        ("second giraffe from the right", "giraffe", (), (2, "right")),
        ("a wine glass third from left", "a wine glass", (), (3, "left")),
        ("the second to largest measuring cup", "measuring cup", (), (2, "largest")),
        ("the giraffe that is standing tallest", "the giraffe that is standing", ("largest",), None),
        ("the biggest dog lying on the floor", "the dog lying", ("largest",), None),
        ("the cow that is the smallest", "the cow", ("smallest",), None),
    ],
)
def test_places_sizes_and_ordinals_of_people(expression, phrase, superlatives, ordinal):
    assert parse(expression) == Parsed(phrase, superlatives, ordinal=ordinal)


def test_a_second_relation_joined_by_and_is_left_out_of_the_anchor():
    assert parse("a cup near a plate and behind a fork").anchor.phrase == "a plate"
