"""Nouns of phrases, and the classes that they mean."""

import numpy as np
import pytest

from vg_gym.language.class_names import COCO_CLASSES, meanings
from vg_gym.language.class_prior import MISMATCH, class_logits
from vg_gym.language.nouns import head_noun, noun_phrase


@pytest.mark.parametrize(
    ("phrase", "noun"),
    [
        ("a white parked car", "car"),
        ("car parked in the road", "car"),
        ("an eating boy", "boy"),
        ("half of a sliced sandwich", "sandwich"),
        ("the back end of a sheep", "sheep"),
        ("a glass of wine", "glass"),
        ("a man ' s hand grabbing food", "hand"),
        ("the giraffe's head", "head"),
        ("a dining table with chairs", "table"),
        ("a green and white van", "van"),
        ("man and woman", "man"),
        ("there is a cup on it", "cup"),
        ("elephant stands alone", "elephant"),
        ("another", "another"),
        ("with a dog", ""),
        ("", ""),
    ],
)
def test_the_noun_of_a_phrase(phrase, noun):
    assert head_noun(phrase) == noun


def test_a_noun_phrase_has_no_determiner_and_no_portion():
    assert noun_phrase("the front of a green and white vw van that is parked") == "green and white vw van"


@pytest.mark.parametrize(
    ("phrase", "classes"),
    [
        ("the little boys", {"person"}),
        ("a red bike", {"bicycle", "motorcycle"}),
        ("two teddy bears", {"teddy bear"}),
        ("the giraffe's head", {"giraffe"}),
        ("the head of a giraffe", {"giraffe"}),
        ("a man's hand", {"person"}),
        ("a hand", {"person"}),
        ("girrafe eating", {"giraffe"}),
        ("sheep", {"sheep"}),
        ("the knives", {"knife"}),
        ("a jacket", set()),
        ("something", set()),
        ("", set()),
    ],
)
def test_the_classes_of_a_noun(phrase, classes):
    assert meanings(phrase) & set(COCO_CLASSES) == classes


def test_every_class_names_itself_and_its_plural():
    for name in COCO_CLASSES:
        for text in (name, f"the {name.removesuffix('s')}s"):
            assert name in meanings(text), text


def test_another_class_costs_and_an_unknown_noun_does_not():
    assert class_logits("the boy", ["person", "car", "person"]).tolist() == [0, -MISMATCH, 0]
    assert class_logits("small stars", ["star", "ring"]).tolist() == [0, -MISMATCH]  # classes of another detector
    for phrase in ("a jacket", "a zebra", ""):  # unknown; known, but not detected; nothing named
        np.testing.assert_array_equal(class_logits(phrase, ["person", "car"]), [0, 0])
