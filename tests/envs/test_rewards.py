import gymnasium
import numpy as np
import pytest
import torch

from vg_gym import boxes as box_ops
from vg_gym.envs.rewards import REWARDS, Reward, target_iou
from vg_gym.errors import VGGymError

OVERLAPS = np.array([0.5, 0.25])
SCORES = np.array([0.3, -0.1], np.float32)


def test_potentials_by_hand():
    potentials = {name: Reward(name, iou_weight=0.75).potential(SCORES, OVERLAPS) for name in REWARDS}
    np.testing.assert_allclose(potentials["clip"], [0.3, -0.1])
    np.testing.assert_allclose(potentials["iou"], [0.5, 0.25])
    np.testing.assert_allclose(potentials["clip+iou"], [0.75 * 0.5 + 0.25 * 0.3, 0.75 * 0.25 - 0.25 * 0.1], rtol=1e-6)


def test_only_the_clip_reward_needs_no_labels():
    assert {name for name in REWARDS if not Reward(name).needs_labels} == {"clip"}
    np.testing.assert_array_equal(Reward("clip").potential(SCORES, None), SCORES)


def test_a_step_pays_the_change_minus_its_cost_and_the_trigger_a_bonus():
    before, after = np.array([0.2, 0.5]), np.array([0.6, 0.5])
    paid = Reward(step_cost=0.02, trigger_bonus=0.5)(before, after, np.array([False, True]))
    np.testing.assert_allclose(paid, [0.4 - 0.02, 0.0 - 0.02 + 0.25])


def test_unknown_rewards_are_named():
    with pytest.raises(VGGymError, match="did you mean 'iou'"):
        Reward("iuo")


def test_ious_with_targets_are_those_in_pixels_to_the_bit(rng):
    low = rng.uniform(0, 0.7, (50, 2))
    boxes = np.concatenate([low, low + rng.uniform(0.04, 0.3, (50, 2))], axis=1).astype(np.float32)
    boxes[5] = boxes[6] = [0.5, 0.5, 0.5, 0.5]  # both empty: no union
    targets, scales = np.roll(boxes, 1, axis=0), np.tile(box_ops.image_scale((97, 640)), (50, 1))
    targets[2] = np.nan
    ious = target_iou(boxes, targets, scales)
    expected = box_ops.pixel_iou(box_ops.pixels(boxes, scales), box_ops.pixels(targets, scales))
    np.testing.assert_array_equal(ious, expected)
    assert np.isnan(ious[2]) and ious[6] == 0
    tensors = target_iou(*map(torch.from_numpy, (boxes, targets, scales)))
    np.testing.assert_allclose(tensors.numpy(), ious, atol=1e-12)


def test_wrappers_that_make_rewards_reach_the_expression_the_image_and_the_target(shapes):
    env = gymnasium.make("RefShapes-Ground-v0", dataset=list(shapes))
    with pytest.raises(VGGymError, match="true_boxes"):
        env.unwrapped.true_boxes()
    _, info = env.reset(seed=0)
    sample = next(sample for sample in shapes if sample.query.key == info["key"])
    assert info["expression"] == sample.query.expression == env.unwrapped.query.expression
    assert np.allclose(env.unwrapped.true_boxes(), box_ops.normalize(sample.boxes, sample.query.image.size), atol=1e-6)
    assert np.array_equal(np.asarray(env.unwrapped.query.image), sample.query.image.array())
    envs = gymnasium.make_vec("RefShapes-Ground-v0", num_envs=2, dataset=list(shapes))
    _, infos = envs.reset(seed=0)
    assert infos["expression"][0] == info["expression"] and infos["_expression"].all()
