"""Scenes are what their splits demand."""

from collections import Counter
from functools import cache

import numpy as np
import pytest

from vg_gym.data.worlds.refscenes import composition
from vg_gym.data.worlds.refscenes.composition import (
    MAX_KINDS,
    MAX_THINGS,
    MIN_KINDS,
    MIN_THINGS,
    Demand,
    compose,
    without,
)
from vg_gym.data.worlds.refscenes.kinds import is_held_out
from vg_gym.data.worlds.refscenes.layout import overlaps
from vg_gym.data.worlds.refscenes.photometry import develop, sample_photometry
from vg_gym.data.worlds.refscenes.renderer import truth_alone
from vg_gym.data.worlds.refscenes.scene import Photometry, Thing

COUNT = 40


@cache
def scenes(demand=Demand(), count=COUNT):  # noqa: B008
    return [compose(np.random.default_rng([1, index]), demand, 128) for index in range(count)]


def test_scenes_have_several_things_of_few_kinds_and_rivals_of_one():
    for scene in scenes():
        kinds = Counter(thing.kind for thing in scene.things)
        assert MIN_THINGS <= len(scene.things) <= MAX_THINGS and MIN_KINDS <= len(kinds) <= MAX_KINDS
        truth = truth_alone(scene)
        seen = Counter(scene.things[i].kind for i in range(len(scene.things)) if truth.visible[i] > 0.3)
        assert max(seen.values()) >= 2


def test_links_between_things_are_mutual_and_in_place():
    held = supported = 0
    for scene in scenes():
        for thing in scene.things:
            if thing.holds is not None:
                held += 1
                assert thing.kind == "person" and scene.things[thing.holds].support is None
                gap = np.array(scene.things[thing.holds].position) - np.array(thing.position)
                assert np.hypot(gap[0], gap[1]) < 0.8
            if thing.support is not None:
                supported += 1
                base = scene.things[thing.support]
                assert thing.position[2] > base.position[2] + 0.2 * base.size
    assert held >= 3 and supported >= 3


def test_pictures_have_several_shapes():
    assert {(scene.width, scene.height) for scene in scenes()} == {(128, 96), (96, 128), (128, 128), (128, 72)}


def test_held_out_pairs_occur_only_where_they_are_demanded():
    assert not any(is_held_out(thing.kind, thing.main.color) for scene in scenes() for thing in scene.things)
    for scene in scenes(Demand(new_pairs=True), 10):
        assert any(is_held_out(thing.kind, thing.main.color) for thing in scene.things)


def test_crowds_and_small_targets():
    for scene in scenes(Demand(things=(10, 16)), 6):
        assert 10 <= len(scene.things) <= 16
    for scene in scenes(Demand(areas=(0.012, 0.038)), 6):
        boxes = truth_alone(scene).boxes
        areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) / (scene.width * scene.height)
        assert ((areas > 0.01) & (areas < 0.04)).any()


def test_shifted_photometry_is_outside_the_training_range():
    rng = np.random.default_rng(0)
    usual = [sample_photometry(rng, False, 256) for _ in range(300)]
    shifted = [sample_photometry(rng, True, 256) for _ in range(60)]
    fields = ("exposure", "contrast", "noise", "blur", "quality")
    low = {name: min(getattr(p, name) for p in usual) for name in fields}
    high = {name: max(getattr(p, name) for p in usual) for name in fields}
    warm = max(abs(p.white_balance[0] - 1) for p in usual)
    for p in shifted:
        outside = [name for name in fields if not low[name] <= getattr(p, name) <= high[name]]
        assert outside or abs(p.white_balance[0] - 1) > warm
    assert not any(p.mirrored for p in usual) and 0.2 < np.mean([p.mirrored for p in shifted]) < 0.8


@pytest.mark.parametrize(
    "field, value", [("exposure", 1.5), ("noise", 20.0), ("blur", 2.0), ("quality", 10), ("contrast", 0.5)]
)
def test_every_setting_of_the_camera_shows(field, value):
    light = np.random.default_rng(0).random((24, 32, 3)) * 0.6
    usual = develop(light, Photometry(), np.random.default_rng(1))
    assert develop(light, Photometry(), np.random.default_rng(1)) == usual
    assert develop(light, Photometry(**{field: value}), np.random.default_rng(1)) != usual


def test_rectangles_overlap_as_their_points_do():
    square = np.array([(0, 0), (1, 0), (1, 1), (0, 1)], float)
    turned = np.array([(0, -1), (1, 0), (0, 1), (-1, 0)], float) * 0.7
    assert overlaps(square, (square + 0.9)[None]) and not overlaps(square, (square + 1.1)[None])
    assert not overlaps(square, (turned + np.array((1.4, 1.4)))[None])
    assert overlaps(square, np.stack([square + 5, turned + np.array((1.3, 0.5))]))


def test_what_stands_on_a_removed_thing_goes_with_it():
    things = (
        Thing("table", (), 1, 1, (0, 0, 0)),
        Thing("person", (), 1, 1, (0, 0, 0), support=0, holds=2),
        Thing("ball", (), 1, 1, (0, 0, 0)),
        Thing("dog", (), 1, 1, (0, 0, 0)),
    )
    left, focus = without(things, {0}, 3)
    assert [thing.kind for thing in left] == ["dog"] and focus == 0
    left, focus = without(things, {2}, 2)
    assert [thing.holds for thing in left] == [None] * 3 and left[1].support == 0 and focus == -1


def test_a_scene_that_loses_all_its_things_is_tried_again(monkeypatch):
    """Everything may stand on a thing that is hidden, and be removed with it."""
    good, remove = [], composition.without

    def is_good(*scene):
        good.append("to be emptied" if not good else "to be kept")
        return True

    def removed(things, gone, focus):
        if good == ["to be emptied"]:
            good[0] = "emptied"
            return (), -1
        return remove(things, gone, focus)

    monkeypatch.setattr(composition, "_is_good", is_good)
    monkeypatch.setattr(composition, "without", removed)
    assert composition.compose(np.random.default_rng(0), composition.Demand(), 128).things
    assert good == ["emptied", "to be kept"]
