"""Proposals in the observation: what is known of each, where it lies, and jumps to it."""

import gymnasium
import numpy as np
import pytest
import torch

from vg_gym import boxes as box_ops
from vg_gym.agents.oracle import greedy_action
from vg_gym.clip.loader import load_clip
from vg_gym.data.worlds.refshapes.dataset import RefShapes
from vg_gym.envs import GroundingTensorEnv
from vg_gym.errors import VGGymError
from vg_gym.features.query_proposals import FIELDS, FINE_FACTOR, MAX_OFFSET, MEMBERSHIP, WIDTH, QueryProposals, relative
from vg_gym.types import Query

OPTIONS = {"dataset_options": {"scenes": 3}, "proposals": "ssd", "num_proposals": 6, "action": "jump-edges",
           "edge_profiles": True, "reward": "iou", "score": "relational", "max_steps": 4}  # fmt: skip


@pytest.fixture(scope="module")
def built_in():
    return QueryProposals("ssd", 12, load_clip("refshapes"))


def test_what_is_known_of_the_proposals_of_a_query(built_in, shapes):
    clip = load_clip("refshapes")
    for sample in shapes:
        found = built_in(sample.query, clip.encode_dense([sample.query.image.array()])[0])
        there = found[:, 4] > 0
        assert found.shape == (12, len(FIELDS)) and there.any() and not found[~there].any()
        assert (np.diff(found[there, 4]) <= 0).all() and found[there, 8].sum() == pytest.approx(1, abs=1e-5)
        target = box_ops.normalize(sample.box, sample.query.image.size)
        assert box_ops.iou(found[:, :4], target).max() > 0.7  # the detector found what is meant


def test_proposals_of_little_confidence_are_left_out(built_in, shapes):
    confident = QueryProposals("ssd", 12, load_clip("refshapes"), min_confidence=0.9)
    assert confident.fingerprint != built_in.fingerprint
    for sample in shapes:
        all_boxes, boxes = built_in.images(sample.query.image), confident.images(sample.query.image)
        sure = all_boxes[:, 4] >= 0.9
        assert 0 < sure.sum() and (boxes[: sure.sum()] == all_boxes[sure]).all() and not boxes[sure.sum() :].any()


def test_relations_are_decided_over_the_boxes(built_in, shapes):
    """Of "left of" and "right of" the same anchor, the likelier proposals lie on their sides."""
    image = shapes[0].query.image
    dense = load_clip("refshapes").encode_dense([image.array()])[0]
    centres = []
    for side in ("left", "right"):
        found = built_in(Query(image, f"the shape {side} of the shape", side), dense)
        centres.append(float((found[:, 8] * (found[:, 0] + found[:, 2]) / 2).sum()))
    assert centres[0] < centres[1] - 0.1


def test_memberships_tell_whether_anything_is_meant():
    clip = load_clip("refshapes")
    proposals = QueryProposals("ssd", 12, clip, memberships=True)
    assert proposals.fingerprint != QueryProposals("ssd", 12, clip).fingerprint
    for sample in RefShapes("refshapes-any", "val", scenes=4):
        values = proposals(sample.query, clip.encode_dense([sample.query.image.array()])[0])
        there = values[:, 4] > 0
        assert values.shape == (12, len(FIELDS) + 1) and not values[~there].any()
        assert (values[:, MEMBERSHIP].max() > 0.5) == (len(sample.boxes) > 0), sample.query.expression


def test_relative_corners_are_those_seen_from_the_box():
    proposals = np.zeros((1, 2, len(FIELDS)), dtype=np.float32)
    proposals[0, 0, :5] = 0.5, 0.5, 0.7, 0.9, 1
    box = np.array([[0.4, 0.5, 0.6, 0.9]], dtype=np.float32)
    found = relative(proposals, box)
    assert found.shape == (1, 2, WIDTH)
    np.testing.assert_allclose(found[0, 0, -8:-4], [0.5, 0, 0.5, 0], atol=1e-6)
    np.testing.assert_allclose(
        found[0, 0, -4:], np.clip([0.5 * FINE_FACTOR, 0, 0.5 * FINE_FACTOR, 0], -MAX_OFFSET, MAX_OFFSET), atol=1e-5
    )
    assert not found[0, 1].any()
    torch.testing.assert_close(relative(torch.from_numpy(proposals), torch.from_numpy(box)), torch.from_numpy(found))


def test_arrays_and_tensors_play_the_same_episodes():
    envs, tensors = gymnasium.make_vec("RefShapes-Ground-v0", 4, **OPTIONS), GroundingTensorEnv(4, **OPTIONS)
    seen, there = envs.reset(seed=3)[0], tensors.reset(seed=3)
    envs.action_space.seed(0)
    for _ in range(3):
        for name, values in seen.items():
            assert envs.observation_space[name].contains(values), name
            np.testing.assert_allclose(
                values, there[name].numpy(), atol=0.05 if name == "edge_profiles" else 1e-3, err_msg=name
            )
        actions = envs.action_space.sample()
        actions[:, 4] = np.where(actions[:, 4] == 1, 0, actions[:, 4])  # nobody stops
        seen, reward, *_ = envs.step(actions)
        there, same, *_ = tensors.step(torch.from_numpy(actions))
        np.testing.assert_allclose(reward, same.numpy(), atol=2e-5)


def test_the_oracle_jumps_mends_and_stops():
    envs = gymnasium.make_vec("RefShapes-Ground-v0", 4, **OPTIONS)
    envs.reset(seed=1)
    engine = envs.unwrapped.engine
    kinds = []
    for _ in range(3):
        action = greedy_action(engine.actions, engine.boxes, engine.targets, engine.proposals, 0.002)
        kinds.append(action[:, 4])
        iou = engine.iou().copy()
        if (action[:, 4] == 1).all():
            break
        envs.step(action)
        assert (engine.iou() >= iou - 1e-6).all()
    assert (kinds[0] >= 2).all() and engine.iou().min() > 0.9


def test_an_empty_row_is_no_place_to_jump_to():
    envs = gymnasium.make_vec("RefShapes-Ground-v0", 1, **{**OPTIONS, "num_proposals": 40})
    envs.reset(seed=0)
    before = envs.unwrapped.engine.boxes.copy()
    envs.step(np.array([[3, 3, 3, 3, 41]]))
    np.testing.assert_array_equal(envs.unwrapped.engine.boxes, before)


@pytest.mark.parametrize(
    ("options", "words"),
    [({"action": "jump-edges"}, "name a proposer with proposals="), ({"score": "relational"}, "name a proposer"),
     ({"proposals": "sdd"}, "did you mean 'ssd'"), ({"proposals": "ssd", "num_proposals": 0}, "number at least 1"),
     ({"proposals": "ssd", "score": "relational", "scoring": "crop"}, "leave scoring=dense")],
)  # fmt: skip
def test_options_that_do_not_fit(options, words):
    with pytest.raises(VGGymError, match=words):
        gymnasium.make("RefShapes-Ground-v0", dataset_options={"scenes": 1}, **options)


def test_a_jump_is_allowed_if_and_only_if_it_changes_the_box():
    env = gymnasium.make("RefShapes-Ground-v0", **OPTIONS).unwrapped
    noop, allowed = env.engine.actions.noop, []
    for seed in range(6):
        env.reset(seed=seed)
        for start in (None, *env.engine.proposals[0, :2, :4]):  # a jump to where the box is changes nothing
            given = {} if start is None or not start.any() else {"initial_box": start}
            _, info = env.reset(seed=seed, options=given)
            masks = env.action_masks()[-OPTIONS["num_proposals"] :]
            for k, mask in enumerate(masks):
                env.reset(seed=seed, options=given)
                moved = env.step([*noop[:4], 2 + k])[4]["box"]
                assert bool(mask) == bool(np.abs(moved - info["box"]).max() > 1e-6)
            allowed.append(masks)
    assert 0 < np.mean(allowed) < 1
    envs = gymnasium.make_vec("RefShapes-Ground-v0", 4, **OPTIONS).unwrapped
    envs.reset(seed=0)
    for seed, masks in enumerate(envs.action_masks()):
        env.reset(seed=seed)
        np.testing.assert_array_equal(env.action_masks(), masks)
    tensors = GroundingTensorEnv(4, **OPTIONS)
    tensors.reset(seed=0)
    np.testing.assert_array_equal(tensors.engine.masks(), envs.action_masks())
