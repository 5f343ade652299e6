import numpy as np
import pytest
import torch
from stable_baselines3 import PPO

from vg_gym.agents import cloning
from vg_gym.agents.budget import Budget
from vg_gym.agents.checkpoint import policy_arguments
from vg_gym.agents.cloning import CloneConfig, StateBuffer, clone_oracle, learn_choice
from vg_gym.agents.vec_env import GroundingVecEnv
from vg_gym.clip.loader import load_clip
from vg_gym.envs.factory import make_engine


def test_the_buffer_keeps_the_newest_states(rng):
    buffer = StateBuffer(5)
    for at in (0, 3, 6):
        numbers = np.arange(at, at + 3)
        buffer.add({"number": numbers[:, None], "action": 10 * numbers})
    assert buffer.size == 5
    states = buffer.sample(rng, 200)
    assert set(states["number"][:, 0]) == {4, 5, 6, 7, 8}
    np.testing.assert_array_equal(states["action"], 10 * states["number"][:, 0])


def test_the_share_of_the_oracle_s_actions_rises(shapes, tiny_clip):
    torch.manual_seed(0)
    env = GroundingVecEnv(make_engine(8, dataset=shapes, clip=tiny_clip, action="edges", reward="iou"))
    model = PPO("MultiInputPolicy", env, n_steps=2, batch_size=16, seed=0, policy_kwargs=policy_arguments("ppo", 16))
    reports = []
    clone_oracle(model, env, CloneConfig(batch_size=64, buffer_size=500), Budget(0.0, steps=160), reports.append)
    assert [report["progress"] for report in reports] == [i / 20 for i in range(20)]
    assert reports[-1]["agreement"] > 1.5 * reports[0]["agreement"]
    assert reports[-1]["loss"] < reports[0]["loss"]


def test_states_keep_what_the_walk_earned_after_them():
    buffer = StateBuffer(4)
    walk = [({"row": np.arange(2)}, np.array([1.0, 2.0]), np.array([False, True])),
            ({"row": np.arange(2)}, np.array([4.0, 8.0]), np.array([False, False]))]  # fmt: skip
    cloning._add_walk(buffer, walk, np.array([16.0, 32.0]), 0.5)
    np.testing.assert_array_equal(buffer.columns[cloning.RETURN], [12, 24, 7, 2])


def test_the_critic_learns_beside_the_actor(shapes, tiny_clip):
    torch.manual_seed(0)
    env = GroundingVecEnv(make_engine(8, dataset=shapes, clip=tiny_clip, action="edges", reward="iou"))
    model = PPO("MultiInputPolicy", env, n_steps=2, batch_size=16, seed=0, policy_kwargs=policy_arguments("ppo", 16))
    states = {**env.reset(), cloning.ACTION: np.zeros(8, np.int64), cloning.REFERENT: np.full(8, -1)}
    states[cloning.RETURN] = np.full(8, 5, np.float32)
    optimizer = cloning._optimizer(model.policy, CloneConfig(learning_rate=1e-2))
    for _ in range(60):
        cloning._learn(model, optimizer, states)
    assert cloning._act(model, env.reset())[1].mean() == pytest.approx(5, abs=1)


def test_the_choice_is_learned_without_a_move(shapes):
    torch.manual_seed(0)
    options = {"proposals": "ssd", "num_proposals": 6, "action": "jump-edges", "reward": "iou"}
    env = GroundingVecEnv(make_engine(8, dataset=shapes, clip=load_clip("refshapes"), **options))
    model = PPO("MultiInputPolicy", env, n_steps=2, batch_size=16, seed=0, policy_kwargs=policy_arguments("ppo", 16))
    env.engine.features.prepare(list(env.engine.episodes.queries()))
    reports = []
    learn_choice(model, env, CloneConfig(batch_size=32, learning_rate=3e-3), Budget(0.0, steps=150), reports.append)
    assert reports[0]["agreement"] < 0.6 and reports[-1]["agreement"] == 1
    assert (env.engine.boxes == [0, 0, 1, 1]).all()


def test_a_learned_choice_of_looks_is_settled_and_stays_in_cloning_and_ppo(shapes):
    torch.manual_seed(0)
    options = {"proposals": "ssd", "proposal_features": True, "action": "jump-edges", "reward": "iou"}
    env = GroundingVecEnv(make_engine(8, dataset=shapes, clip=load_clip("refshapes"), **options))
    model = PPO("MultiInputPolicy", env, n_steps=4, batch_size=32, seed=0, policy_kwargs=policy_arguments("ppo", 16))
    attention, config, reports = model.policy.features_extractor.proposals, CloneConfig(batch_size=32), []
    learn_choice(model, env, config, Budget(0.0, steps=150), reports.append)
    assert reports[0]["agreement"] < 0.6 and attention.looks.settled
    with torch.no_grad():
        seen = {name: torch.from_numpy(values) for name, values in env.reset().items()}
        scores = attention(seen)[1]
    clone_oracle(model, env, config, Budget(0.0, steps=40), reports.append)
    assert np.isfinite(reports[-1]["loss"])
    model.learn(64)
    with torch.no_grad():
        torch.testing.assert_close(attention(seen)[1], scores)
    learn_choice(model, env, config, Budget(0.0, steps=5), reports.append)  # learns on if it is asked for again
    with torch.no_grad():
        assert not torch.allclose(attention(seen)[1], scores)
