"""Expressions of refshapes-any mean none, one or several objects, and neither words nor pictures alone tell."""

from collections import Counter

import numpy as np
import pytest

from vg_gym.data.worlds.refshapes.dataset import RefShapes
from vg_gym.data.worlds.refshapes.expressions import Expression, NounPhrase
from vg_gym.data.worlds.refshapes.sets import MANY, MAX_TARGETS, NONE, is_empty, meant, plural
from vg_gym.evaluation.set_metrics import auroc


@pytest.fixture(scope="module")
def shapes():
    return RefShapes("refshapes-any", "test", scenes=300)


def test_each_expression_means_its_targets(shapes):
    for number in range(0, len(shapes), 4):
        record = shapes.record(number // 4)
        scene = record.scene()
        for reference, sample in zip(record.references(), shapes[number : number + 4], strict=True):
            boxes = record.boxes()[list(reference.targets)]
            np.testing.assert_array_equal(sample.boxes, boxes)
            assert sample.kind == reference.kind and sample.query.expression == reference.text
            if reference.kind == NONE:
                assert not reference.targets and is_empty(reference.expression, scene)
            elif reference.kind == MANY:
                assert 2 <= len(reference.targets) <= MAX_TARGETS
                assert meant(reference.expression, scene) == reference.targets
            else:
                assert reference.expression.clearly(scene) == list(reference.targets)


def test_half_of_the_expressions_mean_one_object(shapes):
    sizes = Counter(min(len(sample.boxes), 2) for sample in shapes)
    assert sizes == {1: len(shapes) // 2, 0: len(shapes) // 4, 2: len(shapes) // 4}


def test_the_second_picture_lacks_the_object_that_its_empty_words_meant(shapes):
    full, rest = shapes.record(0), shapes.record(1)
    first, second = full.references(), rest.references()
    words = next(reference for reference in second if reference.kind == NONE).text
    target = next(reference for reference in first if reference.text == words).targets[0]
    assert rest.scene() == full.scene()[:target] + full.scene()[target + 1 :]
    changed = (full.array() != rest.array()).any(axis=2)
    x1, y1, x2, y2 = full.boxes()[target].round().astype(int)
    assert changed[y1:y2, x1:x2].mean() > 0.3


def test_words_alone_hardly_tell_whether_something_is_meant(shapes):
    """Naive Bayes over words, fitted on other scenes; no guess is better than 0.65 where 0.5 is chance."""
    train = RefShapes("refshapes-any", "train", scenes=1000)
    counts = {True: Counter(), False: Counter()}
    for sample in train:
        counts[len(sample.boxes) > 0].update(set(sample.query.expression.split()))
    totals = {side: sum(counter.values()) for side, counter in counts.items()}

    def evidence(text):
        return sum(
            np.log((counts[True][word] + 1) / totals[True]) - np.log((counts[False][word] + 1) / totals[False])
            for word in set(text.split())
        )

    scores = np.array([evidence(sample.query.expression) for sample in shapes])
    assert auroc(scores, np.array([len(sample.boxes) > 0 for sample in shapes])) < 0.65


def test_each_picture_has_as_many_empty_expressions_as_any_other(shapes):
    empty = Counter(sample.image_id for sample in shapes if not len(sample.boxes))
    assert set(empty.values()) == {1} and len(empty) == 300


@pytest.mark.parametrize(
    ("expression", "count", "text"),
    [
        (Expression(NounPhrase("cross", "red")), 2, "the two red crosses"),
        (Expression(NounPhrase("shape"), place="at the top"), None, "the shapes at the top"),
        (
            Expression(NounPhrase("star"), relation="left of", anchor=NounPhrase("heart", "blue")),
            3,
            "the three stars left of the blue heart",
        ),
    ],
)
def test_plurals(expression, count, text):
    assert plural(expression, count) == text


def test_the_other_levels_are_as_they_were():
    """These three expressions and the mean of a picture were read before refshapes-any existed."""
    shapes = RefShapes("refshapes", "test")
    texts = [shapes[i].query.expression for i in (0, 1, 1999)]
    assert texts == [
        "the solid yellow shape",
        "the leftmost square",
        "the solid square nearest to the solid yellow square",
    ]
    assert shapes[0].query.image.array().mean() == pytest.approx(107.95330810546875, abs=1e-9)
