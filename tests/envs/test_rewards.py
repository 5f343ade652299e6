import numpy as np
import pytest

from vg_gym.envs.rewards import REWARDS, Reward
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
