"""Truth and light of scenes."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from vg_gym.data.worlds.refscenes.raster import inverted, solids_of, view_of
from vg_gym.data.worlds.refscenes.renderer import render, truth_alone
from vg_gym.data.worlds.refscenes.scene import Backdrop, Camera, Light, Part, Photometry, Scene, Thing, headings

SEGMENTS_SHA = "b80e8629e2da0b2b"
"""Hash of the segments of ``row_of_things``, the same on every machine."""


GREEN, SKY = (0.25, 0.45, 0.18), (0.6, 0.7, 0.9)


def thing(kind, x, y, color="red", yaw=0.3):
    return Thing(kind, (Part("body", color),), 1.0, 0.4, (x, y, 0.0), yaw)


def scene_with(*things, **fields):
    return Scene(
        things, Camera((0.0, -2.5, 0.8), (0.0, 0.0, 0.2), 1.0), Light((0.4, -0.5, 0.77), 0.7, 0.5),
        Backdrop("grass", (GREEN, GREEN), None, (SKY, SKY), 0.8, 0.5, 60.0),
        Photometry(), 160, 120, **{"texture_seed": 3, **fields},
    )  # fmt: skip


def row_of_things():
    return scene_with(
        thing("box", -0.7, 0.2), thing("ball", 0.0, 0.0, "blue"), thing("mug", 0.5, -0.6), thing("ball", 0.1, 1.2)
    )


def test_boxes_are_tight_around_segments():
    truth = truth_alone(row_of_things())
    for index, (x1, y1, x2, y2) in enumerate(truth.boxes.astype(int)):
        rows, columns = np.nonzero(truth.segments == index + 1)
        assert (x1, y1, x2, y2) == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert sum(truth.parts[index].values()) == len(rows)


def test_labels_are_the_same_on_every_machine():
    segments = truth_alone(row_of_things()).segments
    assert hashlib.sha256(segments.tobytes()).hexdigest()[:16] == SEGMENTS_SHA


def test_a_lone_thing_is_all_visible():
    assert truth_alone(scene_with(thing("box", 0, 0))).visible[0] == pytest.approx(1, abs=0.03)


def test_visible_fractions_count_what_hides_and_what_the_border_cuts():
    alone = truth_alone(scene_with(thing("box", 0, 1)))
    hidden = truth_alone(scene_with(thing("box", 0, 1), thing("box", 0.2, -0.4)))
    own = (alone.segments == 1).sum(), (hidden.segments == 1).sum()
    assert 0.1 < hidden.visible[0] < 0.9
    assert hidden.visible[0] == pytest.approx(own[1] / own[0], abs=0.03)
    middle = scene_with(thing("box", 0, 0))
    aside = replace(middle, camera=replace(middle.camera, position=(-1.25, -2.5, 0.8), target=(-1.25, 0, 0.2)))
    cut, whole = truth_alone(aside), truth_alone(middle)
    assert cut.boxes[0, 2] == 160 and 0.2 < cut.visible[0] < 0.8
    assert cut.visible[0] == pytest.approx((cut.segments == 1).sum() / (whole.segments == 1).sum(), abs=0.15)


def test_what_is_out_of_the_picture_has_an_empty_box():
    truth = truth_alone(scene_with(thing("box", 0, 0), thing("ball", 9, 0), thing("ball", 0, -9)))
    assert truth.boxes[1:].tolist() == [[0] * 4] * 2 and truth.visible[1:].tolist() == [0, 0]
    assert truth.targets.tolist() == [0]


def test_depth_is_along_the_axis_of_the_camera():
    truth = truth_alone(row_of_things())
    assert truth.depth[3] > truth.depth[0] > truth.depth[1] > truth.depth[2]


def test_a_mirrored_picture_has_mirrored_labels():
    scene = row_of_things()
    mirrored = replace(scene, photometry=replace(scene.photometry, mirrored=True))
    (light, truth), (other_light, other) = render(scene), render(mirrored)
    assert np.array_equal(light[:, ::-1], other_light) and np.array_equal(truth.segments[:, ::-1], other.segments)
    assert np.array_equal(other.boxes[:, [0, 2]], 160 - truth.boxes[:, [2, 0]])
    assert np.allclose(headings(mirrored)[:, 0], -headings(scene)[:, 0])


def test_drawing_twice_gives_the_same_bits():
    (light, truth), (again, truth_again) = render(row_of_things()), render(row_of_things())
    assert light.tobytes() == again.tobytes() and truth.segments.tobytes() == truth_again.segments.tobytes()
    assert np.array_equal(truth_alone(row_of_things()).segments, truth.segments)


def test_light_has_the_colour_of_the_thing_and_shadows_are_darker():
    light, truth = render(scene_with(thing("ball", 0, 0, "red")))
    inside = light[truth.segments == 1].mean(0)
    assert inside[0] > 2 * inside[1]
    lit, _ = render(scene_with(thing("ball", 0, 0, "red")))
    empty, _ = render(scene_with(thing("ball", 9, 0, "red")))
    ground = (truth.segments == 0) & (np.indices(truth.segments.shape)[0] > 70)
    assert ((lit - empty)[ground].sum(1) < -0.2).sum() > 20  # its shadow
    assert ((lit - empty)[ground].sum(1) > 0.2).sum() == 0


def test_edges_are_smooth():
    light, truth = render(scene_with(thing("ball", 0, 0, "white")))
    mask = truth.segments == 1
    edge = mask & ~(np.roll(mask, 1, 0) & np.roll(mask, -1, 0) & np.roll(mask, 1, 1) & np.roll(mask, -1, 1))
    inner = light[mask & ~edge].sum(1)
    assert (light[edge].sum(1) < np.quantile(inner, 0.02)).mean() > 0.2


def test_headings_turn_with_the_thing():
    scene = scene_with(*(thing("box", 0, i, yaw=turn) for i, turn in enumerate((0, np.pi / 2, np.pi, -np.pi / 2))))
    assert np.allclose(headings(scene), [[1, 0], [0, 1], [-1, 0], [0, -1]], atol=1e-9)


def test_inverses_and_views():
    solids = solids_of(row_of_things())
    points = solids.frames[..., :3].sum(-1) + solids.frames[..., 3]
    back = (inverted(solids.frames)[..., :3] * points[:, None]).sum(-1) + solids.inverses[..., 3]
    assert np.allclose(back, 1)
    view = view_of(row_of_things().camera, 160, 120)
    assert np.allclose(view.axes @ view.axes.T, np.eye(3)) and np.linalg.det(view.axes) == pytest.approx(-1, abs=1e-9)
