import numpy as np
import pytest

from vg_gym.data.phrasings import PHRASINGS, SYNONYMS, plural
from vg_gym.data.worlds.refshapes.dataset import RefShapes
from vg_gym.language.number import number

TEXTS = ["the striped red star", "the heart on the right", "the cross left of the blue heart", "a man who is sitting"]


def phrased(name, text, seed=0):
    return PHRASINGS[name](text, np.random.default_rng(seed))


@pytest.mark.parametrize("name", PHRASINGS)
def test_every_phrasing_is_pure_and_keeps_words(name):
    for text in TEXTS:
        assert phrased(name, text) == phrased(name, text) != ""


@pytest.mark.parametrize(
    ("name", "texts"),
    [
        ("no article", ["striped red star", "heart on right", "cross left of blue heart", "man who is sitting"]),
        ("order", ["the red striped star", "on the right, the heart", "left of the blue heart, the cross", TEXTS[3]]),
        (
            "relative clause",
            [
                "the star that is striped and red",
                "the heart that is on the right",
                "the cross that is left of the blue heart",
                TEXTS[3],
            ],
        ),
        (
            "plural",
            [
                "the striped red stars",
                "the hearts on the right",
                "the crosses left of the blue heart",
                "the men who is sitting",
            ],
        ),
        ("request", [f"find {text}, please" for text in TEXTS]),
    ],
)
def test_what_a_phrasing_says(name, texts):
    assert [phrased(name, text) for text in TEXTS] == texts


def test_a_typo_changes_one_word_and_follows_the_seed():
    changed = [phrased("typo", TEXTS[2], seed) for seed in range(8)]
    assert len(set(changed)) > 1
    for text in changed:
        assert sum(a != b for a, b in zip(text.split(), TEXTS[2].split(), strict=True)) == 1


def test_synonyms_are_replaced_once_and_whole_words_only():
    assert phrased("synonyms", "the large ringed ring left of the man") == "the big ringed hoop to the left of the guy"
    assert all(phrased("synonyms", word) == other for word, other in SYNONYMS.items())


def test_the_plural_of_every_noun_of_refshapes_is_one():
    assert all(number(f"the {plural(noun)}").plural for noun in RefShapes("refshapes", "test").categories)
