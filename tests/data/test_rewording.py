"""Other words for the same are read as the language of RefShapes, and texts that say more are left alone."""

import itertools
import re

import numpy as np
import pytest

from vg_gym import registry
from vg_gym.clip import load_clip
from vg_gym.data.rewording import reword
from vg_gym.data.worlds.refshapes import expressions
from vg_gym.data.worlds.refshapes.dataset import RefShapes
from vg_gym.data.worlds.refshapes.expressions import Expression, NounPhrase
from vg_gym.data.worlds.refshapes.scenes import COLORS, FILLS, SHAPES, SIZES
from vg_gym.types import Query

NOUN = "|".join((*SHAPES, "shape"))
WAYS = {
    "no article": lambda text: re.sub(r"\bthe ", "", text),
    "another article": lambda text: re.sub(r"\bthe ", "a ", text),
    "a relative clause": lambda text: re.sub(rf"\b(striped|solid) ((?:\w+ )*?)({NOUN})\b", r"\2\3 that is \1", text),
    "a relative clause, no article": lambda text: re.sub(rf"\b(?:the )?((?:\w+ )*?)({'|'.join(COLORS)}) ({NOUN})\b",
                                                         r"\1\3 which is \2", text),
    "a clause of place": lambda text: re.sub(rf"\b({NOUN}) (left|right|above|on|at|in)\b", r"\1 that is \2", text),
    "an apposition": lambda text: re.sub(rf"\b({'|'.join(COLORS)}) ({NOUN})\b", r"\2, \1,", text),
    "capitals": lambda text: f"{text.upper()}!",
    "a request": lambda text: f"Please find {text}, thanks.",
    "longer relations": lambda text: re.sub("(left|right) of", r"to the \1 of", text).replace("below", "under"),
    "a place or relation in front": lambda text: re.sub(
        r"^(.+?) ((?:left of|right of|above|below|nearest to|on the|at the|in the) .+)$", r"\2, \1", text
    ),
    "a mistyped shape": lambda text: re.sub(rf"\b({NOUN})\b", lambda match: match[0][:-2] + match[0][-1], text),
    "a mistyped fill": lambda text: text.replace("striped", "stirped").replace("solid", "sollid"),
    "synonyms": lambda text: text.replace("large ", "big ").replace("top left", "upper left").replace("ring", "donut"),
}  # fmt: skip


def test_the_language_itself_stays_as_it_is():
    words = itertools.product((*SHAPES, "shape"), (None, "red"), (None, *FILLS), (None, *SIZES))
    heads = [NounPhrase(*parts) for parts in words]
    for head, anchor in zip(heads, reversed(heads), strict=True):
        texts = [Expression(head, word).text for word in (None, *expressions._SUPERLATIVES)]
        texts += [Expression(head, place=place).text for place in expressions.PLACES]
        texts += [Expression(head, relation=word, anchor=anchor).text for word in expressions.SCENE_RELATIONS]
        assert [reword(text) for text in texts] == texts


@pytest.mark.parametrize("way", WAYS)
def test_other_words_are_read_as_the_same(way):
    texts = [sample.query.expression for sample in RefShapes("refshapes", "val", scenes=60)]
    changed = [WAYS[way](text) for text in texts]
    assert changed != texts
    assert [reword(text) for text in changed] == texts


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("the star with stripes", "the striped star"),
        ("the star that is not striped", "the solid star"),
        ("the one that is red", "the red shape"),
        ("where's the left-most disc?", "the leftmost circle"),
        ("circle on the left-hand side of the heart", "the circle left of the heart"),
        ("the upper left star", "the star in the top left corner"),
        ("the red circle on the left of the picture", "the red circle on the left"),
        ("stars which are striped and red", "the striped red star"),
        ("largest of the stars", "the largest star"),
        ("the star nearest ring", "the star nearest to the ring"),
    ],
)
def test_turns_of_phrase(text, meaning):
    assert reword(text) == meaning and reword(meaning) == meaning


@pytest.mark.parametrize(
    "text",
    ["", "red", "the left", "the top left corner", "the man in the red coat", "car in the square", "not the red circle",
     "the circle and the star", "the second star", "the red blue circle", "traffic light in the red circle",
     "the hart on the left of the road", "the start", "the read circle", "on the left, the dog"],
)  # fmt: skip
def test_what_says_anything_else_is_left_alone(text):
    assert reword(text) == text


@pytest.mark.parametrize(
    ("name", "options"),
    [("agent:refshapes", {}), ("agent:refshapes-clip", {}), ("mdetr", {}), ("red", {}), ("diffusion", {}),
     ("clip-window", {}), ("ssd-clip", {"parse": True})],
)  # fmt: skip
def test_other_words_get_the_same_answer(name, options):
    samples = RefShapes("refshapes", "test", scenes=3)[:]
    grounder = registry.grounder(name, **options)
    answers = {
        way: [
            p.box
            for p in grounder.ground(
                [Query(s.query.image, change(s.query.expression), f"{row}") for row, s in enumerate(samples)]
            )
        ]
        for way, change in {"as it is": str, **WAYS}.items()
    }
    for way in WAYS:
        np.testing.assert_allclose(answers[way], answers["as it is"], atol=1e-3, err_msg=way)


def test_an_encoder_embeds_other_words_alike_and_says_how_it_reads_them():
    clip = load_clip("refshapes")
    assert clip.reword("red circle") == "the red circle"
    np.testing.assert_array_equal(clip.encode_text(["red circle"]), clip.encode_text(["the red circle"]))
    np.testing.assert_array_equal(clip.encode_tokens(["a circle that's red"]), clip.encode_tokens(["the red circle"]))
