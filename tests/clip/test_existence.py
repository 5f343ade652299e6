"""Memberships by hand, and scores of pipelines that tell whether something is meant."""

from types import SimpleNamespace

import numpy as np
import pytest

from vg_gym import registry
from vg_gym.clip import load_clip
from vg_gym.clip.existence import DRAWN, Lexicon, lexicon_of, memberships
from vg_gym.evaluation.set_metrics import auroc

BOXES = np.array([[0.0, 0.4, 0.16, 0.56], [0.6, 0.4, 0.96, 0.76]])
SCENE = ("red star", "blue ring")
"""What the boxes show: a small red star on the left, a large blue ring on the right."""


def logits(text):
    """CLIP that sees every word."""
    return np.array([20.0 * sum(word in shown.split() for word in text.split()) for shown in SCENE])


@pytest.mark.parametrize(
    ("text", "first", "second"),
    [
        ("the red star", 1, 0), ("the blue ring", 0, 1), ("the red ring", 0, 0), ("the star", 1, 0),
        ("the shape", 1, 1), ("the small shape", 1, 0), ("the large shape", 0, 1), ("the small ring", 0, 0),
        ("the star on the left", 1, 0), ("the star on the right", 0, 0), ("the rightmost star", 1, 0),
        ("the star left of the ring", 1, 0), ("the star right of the ring", 0, 0), ("the star left of the heart", 0, 0),
        ("the star nearest to the ring", 1, 0), ("the star nearest to the star", 0, 0),
    ],
)  # fmt: skip
def test_memberships_by_hand(text, first, second):
    values = memberships(text, BOXES, logits, DRAWN)
    assert ((values >= 0) & (values <= 1)).all()
    np.testing.assert_array_equal(values > 0.5, [first, second])


def test_without_words_of_a_group_other_texts_compete():
    lexicon = Lexicon((), ("a horse",))
    near, far = memberships("a dog", BOXES, lambda text: np.array([3.0, -3.0]) * (text == "a dog"), lexicon)
    assert near == pytest.approx(1 / (1 + np.exp(-3))) and far == pytest.approx(1 / (1 + np.exp(3)))


def test_lexicon_of_a_clip():
    assert lexicon_of(load_clip("refshapes")) is DRAWN
    lexicon = lexicon_of(SimpleNamespace(knows_shapes_alone=False, words=None))
    assert "a photo of a dog" in lexicon.others and not lexicon.places and not lexicon.sides


@pytest.mark.parametrize("name", ["ssd-clip", "clip-window"])
def test_scores_tell_whether_something_is_meant(name):
    samples = list(registry.open_dataset("refshapes-any", "val", scenes=16))
    predictions = registry.grounder(name).ground([sample.query for sample in samples])
    meant = np.array([len(sample.boxes) > 0 for sample in samples])
    assert auroc(np.array([p.score for p in predictions]), meant) > 0.9
    if name == "ssd-clip":
        many = [(p, s) for p, s in zip(predictions, samples, strict=True) if s.kind == "many"]
        assert np.mean([len(p.boxes) == len(s.boxes) for p, s in many]) > 0.8
        assert all(len(p.boxes) == len(p.scores) for p in predictions)
