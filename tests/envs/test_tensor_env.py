"""Tensors from end to end are the arrays of the vector environment."""

import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode

from vg_gym.envs import GroundingTensorEnv, GroundingVectorEnv
from vg_gym.errors import VGGymError

OPTIONS = [
    {"action": "classic", "score": "cosine", "initial_box": "random"},
    {"action": "edges", "reward": "clip+iou", "initial_box": "jitter", "phrases": True},
    {"action": "continuous", "score": "surround", "glimpse_features": True},
    {"score": "contrast", "reward": "iou", "initial_box": "full,no-op,random"},
    {"action": "jump-edges", "proposals": "ssd:refshapes", "proposal_features": True},
    {"scoring": "crop", "observation": "pixels", "precision": "float16"},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_tensors_are_the_arrays_of_the_vector_environment(options, shapes, tiny_clip):
    n, arguments = 40, {"dataset": shapes, "clip": tiny_clip, "max_steps": 4, **options}
    arrays = GroundingVectorEnv(n, autoreset_mode=AutoresetMode.SAME_STEP, **arguments)
    tensors = GroundingTensorEnv(n, **arguments)
    arrays.action_space.seed(0)
    seen, same = arrays.reset(seed=3)[0], tensors.reset(seed=3)
    for step in range(10):
        for name, values in seen.items():
            assert isinstance(same[name], torch.Tensor) and same[name].numpy().dtype == values.dtype
            tolerance = 0.05 if name == "glimpse_features" else 1e-3  # cells of next to no pixels are rounding
            np.testing.assert_allclose(same[name].numpy(), values, atol=tolerance, err_msg=f"{name} at step {step}")
        actions = arrays.action_space.sample()
        seen, reward, terminated, truncated, infos = arrays.step(actions)
        same, *theirs, about = tensors.step(torch.from_numpy(actions))
        np.testing.assert_allclose(theirs[0].numpy(), reward, atol=1e-5)
        np.testing.assert_array_equal(theirs[1].numpy(), terminated)
        np.testing.assert_array_equal(theirs[2].numpy(), truncated)
        ended = about["final_rows"].numpy()
        np.testing.assert_array_equal(ended, np.flatnonzero(terminated | truncated))
        if len(ended):
            last = np.stack([infos["final_obs"][row]["box"] for row in ended])
            np.testing.assert_allclose(about["final_obs"]["box"], last, atol=1e-6)
            np.testing.assert_allclose(about["iou"][ended], infos["final_info"]["iou"][ended], atol=1e-5)


def test_gradients_flow_through_a_policy_over_its_observations(shapes, tiny_clip):
    env = GroundingTensorEnv(3, dataset=shapes, clip=tiny_clip)
    layer = torch.nn.Linear(env.single_observation_space["glimpses"].shape[0], 1)
    layer(env.reset()["glimpses"]).sum().backward()
    assert layer.weight.grad is not None and layer.weight.grad.abs().sum() > 0


def test_a_step_may_end_no_episode(shapes, tiny_clip):
    env = GroundingTensorEnv(2, dataset=shapes, clip=tiny_clip, observation="pixels", glimpse_features=True)
    first = env.reset()
    *_, infos = env.step(torch.tensor([[4, 4, 4, 4, 0]] * 2))
    assert len(infos["final_rows"]) == 0
    assert {k: v.shape for k, v in infos["final_obs"].items()} == {k: (0, *v.shape[1:]) for k, v in first.items()}


def test_a_step_before_the_reset_is_refused(shapes, tiny_clip):
    with pytest.raises(VGGymError, match="reset"):
        GroundingTensorEnv(1, dataset=shapes, clip=tiny_clip).step(torch.zeros(1, 5))
