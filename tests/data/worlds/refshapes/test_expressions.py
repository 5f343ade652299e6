"""The language of RefShapes: every expression means one object, by a second reading too."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vg_gym.data.worlds.refshapes.dataset import RefShapes
from vg_gym.data.worlds.refshapes.expressions import KINDS, NounPhrase, read_expression, sample_expressions, vocabulary
from vg_gym.data.worlds.refshapes.scenes import ANY, COLORS, FILLS, LEVELS, SHAPES, SIZES
from vg_gym.errors import VGGymError


def literal_referents(text, scene):
    """An independent, slow reading of the language, by words: indices of the objects that are meant."""
    words = text.split()
    head, anchor = words, []
    for relation in ("left of", "right of", "above", "below", "nearest to"):
        before, found, after = text.partition(f" {relation} the ")
        if found:
            head, anchor, words = before.split(), after.split(), [relation]

    def fits(item, phrase):
        wanted = [w for w in phrase if w in {*SHAPES, *COLORS, *FILLS, *SIZES}]
        return all(w in (item.shape, item.color, item.fill, item.size) for w in wanted)

    fitting = [i for i, item in enumerate(scene) if fits(item, head)]
    if anchor:
        (at,) = [scene[i].center for i, item in enumerate(scene) if fits(item, anchor)]
        anchor_index = next(i for i, item in enumerate(scene) if item.center == at)
        fitting = [i for i in fitting if i != anchor_index]
        if words[0] == "nearest to":
            return [min(fitting, key=lambda i: np.hypot(*np.subtract(scene[i].center, at)))]
        test = {
            "left of": lambda c: c[0] < at[0],
            "right of": lambda c: c[0] > at[0],
            "above": lambda c: c[1] < at[1],
            "below": lambda c: c[1] > at[1],
        }[words[0]]
        return [i for i in fitting if test(scene[i].center)]
    best = {
        "leftmost": lambda s: s.center[0],
        "rightmost": lambda s: -s.center[0],
        "topmost": lambda s: s.center[1],
        "bottommost": lambda s: -s.center[1],
        "largest": lambda s: -s.side,
        "biggest": lambda s: -s.side,
        "smallest": lambda s: s.side,
    }
    if words[1] in best:
        return [min(fitting, key=lambda i: best[words[1]](scene[i]))]
    if "in the middle" in text:
        return [i for i in fitting if max(abs(scene[i].center[0] - 0.5), abs(scene[i].center[1] - 0.5)) < 0.25]
    for word, axis, low in (("left", 0, True), ("right", 0, False), ("top", 1, True), ("bottom", 1, False)):
        if word in head:
            fitting = [i for i in fitting if (scene[i].center[axis] < 0.5) == low]
    return fitting


@pytest.mark.parametrize("name", [name for name in LEVELS if name != ANY])
def test_every_expression_means_exactly_one_object(name):
    dataset = RefShapes(name, "test", scenes=150)
    for i in range(len(dataset)):
        sample = dataset[i]
        record = dataset.record(i // 4)
        reference = record.references()[i % 4]
        (target,), expression = reference.targets, reference.expression
        scene = record.scene()
        assert read_expression(sample.query.expression) == expression
        assert expression.kind == sample.kind == KINDS[i % 4]
        assert expression.referents(scene) == expression.clearly(scene) == [target]
        assert literal_referents(sample.query.expression, scene) == [target]
        np.testing.assert_array_equal(record.boxes()[target], sample.box)


@settings(max_examples=300, deadline=None)
@given(index=st.integers(0, 10**6), seed=st.integers(0, 1000))
def test_sampled_expressions_of_any_scene_are_unambiguous(index, seed):
    scene = RefShapes("refshapes", "train", scenes=10**6 + 1, seed=seed).record(index).scene()
    rng = np.random.default_rng(index)
    for kind in KINDS:
        for target, expression in sample_expressions(scene, kind, rng, 4):
            assert expression.kind == kind
            assert literal_referents(expression.text, scene) == [target]
            assert set(expression.text.split()) <= set(vocabulary())
            if kind != "attribute":  # words beyond the noun phrase are needed
                head = NounPhrase(expression.head.shape, expression.head.color, expression.head.fill)
                assert sum(head.fits(item) for item in scene) > 1


def test_the_checker_calls_an_ambiguous_expression_ambiguous():
    scene = RefShapes("refshapes", "train").record(0).scene()
    shape = next(s.shape for s in scene if sum(o.shape == s.shape for o in scene) > 1)
    assert len(read_expression(f"the {shape}").referents(scene)) > 1
    with pytest.raises(VGGymError, match="not a RefShapes expression"):
        read_expression("the wobbly thing")
