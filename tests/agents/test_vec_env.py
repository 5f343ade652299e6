import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv

from vg_gym.agents.checkpoint import policy_arguments
from vg_gym.agents.vec_env import GroundingVecEnv
from vg_gym.envs import GroundingEnv
from vg_gym.envs.factory import make_engine
from vg_gym.errors import VGGymError


@pytest.fixture
def arguments(shapes, tiny_clip):
    return {"dataset": shapes, "clip": tiny_clip, "reward": "iou", "max_steps": 4}


def trained(env):
    torch.manual_seed(0)
    policy = policy_arguments("ppo", 32)
    model = PPO("MultiInputPolicy", env, n_steps=8, batch_size=16, n_epochs=2, policy_kwargs=policy, seed=3)
    return model.learn(96)


def test_ppo_gives_the_weights_it_gives_on_single_environments(arguments):
    ours = trained(GroundingVecEnv(make_engine(4, **arguments)))
    theirs = trained(DummyVecEnv([lambda: GroundingEnv(**arguments) for _ in range(4)]))
    for (name, a), (_, b) in zip(ours.policy.state_dict().items(), theirs.policy.state_dict().items(), strict=True):
        assert torch.equal(a, b), name


def test_the_last_step_tells_the_episode(arguments):
    env = GroundingVecEnv(make_engine(3, **arguments, min_steps=1), seed=1)
    first = env.reset()
    assert first["box"].shape == (3, 8)
    go_on, stop = np.array([4, 4, 4, 4, 0]), np.array([2, 2, 2, 2, 1])
    _, rewards, dones, infos = env.step(np.stack([go_on, go_on, stop]))
    assert dones.tolist() == [False, False, True] and infos[0] == {}
    assert infos[2]["triggered"] and not infos[2]["TimeLimit.truncated"]
    assert infos[2]["episode"] == {"r": pytest.approx(rewards[2]), "l": 1}
    for _ in range(3):
        after, _, dones, infos = env.step(np.stack([go_on] * 3))
    assert dones[0] and infos[0]["TimeLimit.truncated"] and infos[0]["episode"]["l"] == 4
    final = infos[0]["terminal_observation"]
    assert final["step"] == 1.0 and after["step"][0] == 0.0


def test_maskable_ppo_finds_the_masks(arguments):
    """What sb3-contrib's MaskablePPO asks of a vector environment."""
    env = GroundingVecEnv(make_engine(3, **arguments))
    env.reset()
    assert env.get_attr("action_masks")
    masks = np.stack(env.env_method("action_masks"))
    np.testing.assert_array_equal(masks, env.engine.masks())
    with pytest.raises(AttributeError):
        env.get_attr("no_such_thing")


def test_a_step_before_the_first_reset_is_refused_and_seeds_may_be_numpy_s(arguments):
    env = GroundingVecEnv(make_engine(3, **arguments), seed=np.int64(2))
    with pytest.raises(VGGymError, match=r"reset\(\)"):
        env.step(np.stack([env.engine.actions.noop] * 3))
    env.seed(np.int64(7))
    first = env.reset()
    other = GroundingVecEnv(make_engine(3, **arguments), seed=7)
    np.testing.assert_array_equal(first["box"], other.reset()["box"])
