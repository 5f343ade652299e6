"""Expressions of refscenes-any mean none, one or several things, and neither words nor pictures alone tell."""

from collections import Counter

import numpy as np
import pytest

from vg_gym.data.worlds.refscenes import records
from vg_gym.data.worlds.refscenes.demands import ANY, SPLITS
from vg_gym.data.worlds.refscenes.graph import graph_of
from vg_gym.data.worlds.refscenes.meaning import exact
from vg_gym.data.worlds.refscenes.renderer import truth_alone
from vg_gym.data.worlds.refscenes.samples import RefScenes
from vg_gym.data.worlds.refscenes.wording import TIE, _plural_verbs
from vg_gym.evaluation.set_metrics import auroc

TRAIN_SCENES, TEST_SCENES = 100, 60


def described(split, scenes):
    """Yield the scene graph and the expressions of each scene, without drawing it."""
    for index in range(scenes):
        record = records.SceneRecord(split, index, 0, 128, ANY)
        for attempt in range(records.ATTEMPTS):
            scene = records.scene_of(record, attempt)
            truth = truth_alone(scene)
            expressions = records.worded(record, scene, truth, record.rng("words", attempt))
            if expressions:
                yield graph_of(scene, truth), expressions
                break


@pytest.fixture(scope="module")
def test():
    return list(described("test", TEST_SCENES))


def test_each_expression_means_its_targets(test):
    for graph, expressions in test:
        for expression in expressions:
            if expression.kind == "none":
                assert not expression.targets and not expression.meaning.fit(graph).possible, expression.text
            else:
                mask = sum(1 << i for i in expression.targets)
                assert exact(expression.meaning, graph, mask), expression.text
                assert (2 <= len(expression.targets) <= 4) == (expression.kind == "many")


def test_each_picture_has_as_many_of_each_as_any_other(test):
    for _, expressions in test:
        assert sorted(min(len(each.targets), 2) for each in expressions) == [0, 1, 1, 2]
    places = Counter(place for _, four in test for place, each in enumerate(four) if not each.targets)
    assert set(places) == set(range(4))  # the place of an expression tells nothing


def test_words_alone_hardly_tell_whether_something_is_meant(test):
    """Naive Bayes over words, fitted on other scenes; no guess is better than 0.65 where 0.5 is chance."""
    counts = {True: Counter(), False: Counter()}
    for _, expressions in described("train", TRAIN_SCENES):
        for expression in expressions:
            counts[len(expression.targets) > 0].update(set(expression.text.split()))
    totals = {side: sum(counter.values()) for side, counter in counts.items()}

    def evidence(text):
        return sum(
            np.log((counts[True][word] + 1) / totals[True]) - np.log((counts[False][word] + 1) / totals[False])
            for word in set(text.split())
        )

    rows = [(evidence(each.text), len(each.targets) > 0) for _, expressions in test for each in expressions]
    assert auroc(*map(np.array, zip(*rows, strict=True))) < 0.65


def test_samples_have_the_boxes_of_their_targets():
    data = RefScenes("test", 2, image_size=128, name=ANY)
    counts = Counter(min(len(sample.boxes), 2) for sample in data)
    assert len(data) == 8 and counts == {0: 2, 1: 4, 2: 2}
    for sample in data:
        objects = data.objects(sample.image_id)
        assert sample.boxes.shape == (len(sample.boxes), 4) and sample.boxes.dtype == np.float32
        assert all((objects.boxes == box).all(1).any() for box in sample.boxes)
        assert sample.category == ("" if sample.kind == "none" else sample.category) and sample.kind
        assert (sample.ann_id in objects.ann_ids) == bool(len(sample.boxes))


def test_its_scenes_are_not_those_of_refscenes():
    assert records.scene_of(records.SceneRecord("test", 0, 0, 128), 0) != records.scene_of(
        records.SceneRecord("test", 0, 0, 128, ANY), 0
    )
    assert set(SPLITS) >= {"train", "val", "test"}


def test_the_verbs_of_an_anchor_stay_singular():
    anchor = "the ball that is red and has its box".replace(" ", TIE)
    assert _plural_verbs(f"that is next to {anchor}").replace(TIE, " ") == (
        "that are next to the ball that is red and has its box"
    )
