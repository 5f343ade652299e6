"""Windows go to where contours end, where there are gaps; things are found without a detector."""

import numpy as np
import pytest

from vg_gym import boxes as box_ops
from vg_gym.baselines.contours import RING_SCALE, RINGS, WINDOWS, ContourProposer, to_gaps
from vg_gym.data.worlds.refshapes.dataset import RefShapes
from vg_gym.envs.banks import make_query_proposals
from vg_gym.envs.options import EnvOptions
from vg_gym.errors import VGGymError
from vg_gym.registry import grounder


@pytest.fixture(scope="module")
def contours():
    return ContourProposer()


def test_rings_are_the_windows_enlarged():
    wider = box_ops.clamp(box_ops.scale(WINDOWS, RING_SCALE), 0, 1)
    np.testing.assert_allclose(RINGS, wider, atol=1e-6)
    assert len(np.unique(WINDOWS, axis=0)) == len(WINDOWS) and box_ops.is_valid(WINDOWS, (1, 1)).all()


def test_edges_go_in_and_out_to_gaps():
    contours = np.zeros((100, 100), bool)
    contours[20:61, 30:51] = True
    contours[70:90, 60:70] = True
    around = to_gaps(np.array([[0.25, 0.1, 0.58, 0.7], [0.34, 0.26, 0.46, 0.52]], np.float32), contours, 0.4)
    np.testing.assert_allclose(around, [[0.3, 0.2, 0.5, 0.6]] * 2, atol=1e-6)


def test_on_textures_edges_stay():
    boxes = np.array([[0.2, 0.3, 0.5, 0.7]], np.float32)
    np.testing.assert_allclose(to_gaps(boxes, np.ones((128, 128), bool), 0.3), boxes, atol=1e-6)


def test_what_is_meant_is_among_the_boxes(contours):
    samples = list(RefShapes("refshapes", "val", scenes=6))
    found = contours.propose([s.query.image.array() for s in samples])
    overlaps = np.array([box_ops.iou(p.boxes, s.box).max() for p, s in zip(found, samples, strict=True)])
    assert (overlaps >= 0.5).mean() >= 0.95 and overlaps.mean() > 0.85
    for proposals in found:
        assert (np.diff(proposals.scores) <= 0).all() and ((proposals.scores >= 0) & (proposals.scores <= 1)).all()
        assert set(proposals.labels) <= set(contours.prompts)


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (64, 48)])
def test_an_image_without_things_is_no_trouble(contours, size):
    found = contours.propose([np.full((*size, 3), 90, np.uint8)])[0]
    assert ((found.boxes >= 0) & (found.boxes <= [size[1], size[0]] * 2)).all()


def test_it_is_given_the_clip_of_its_environment(tiny_clip):
    options = EnvOptions(proposals="contours")
    with pytest.raises(VGGymError, match="no proposals: .*clip"):
        make_query_proposals(options, tiny_clip)  # whose name cannot be loaded, and no other is taken in its place
    named = EnvOptions(proposals="contours:refshapes")
    assert make_query_proposals(named, tiny_clip).fingerprint


def test_as_a_first_stage_it_names_what_is_meant(blind, shapes):
    boxes = np.stack([p.box for p in grounder("contours-clip", parse=True).ground(blind)])
    assert box_ops.iou(boxes, np.stack([s.box for s in shapes])).mean() > 0.6
