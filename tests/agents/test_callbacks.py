from functools import partial

import numpy as np
from stable_baselines3 import PPO

from vg_gym.agents.budget import Budget
from vg_gym.agents.callbacks import EpisodeStats, Evaluation, TruncationValues, evaluate
from vg_gym.agents.checkpoint import policy_arguments, read_about
from vg_gym.agents.vec_env import GroundingVecEnv
from vg_gym.envs.factory import make_engine


def model_of(data, clip, **options):
    env = GroundingVecEnv(make_engine(4, dataset=data, clip=clip, max_steps=3, **options))
    policy = policy_arguments("ppo", 16)
    return PPO("MultiInputPolicy", env, n_steps=8, batch_size=16, n_epochs=1, seed=0, policy_kwargs=policy)


def test_the_budget_of_steps_ends_the_run_and_episodes_are_counted(shapes, tiny_clip):
    model, budget = model_of(shapes, tiny_clip), Budget(minutes=60, steps=40)
    stats = EpisodeStats(budget)
    model.learn(10**9, stats)
    assert model.num_timesteps == budget.taken == 40
    assert 0 < len(model.ep_info_buffer) == len(stats.recent["iou"]) <= 40
    assert max(episode["l"] for episode in model.ep_info_buffer) <= 3


def test_truncated_episodes_go_on_as_sb3_has_it_with_fewer_questions(shapes, tiny_clip, monkeypatch):
    rewards, asked = [], []
    for callback in (None, TruncationValues()):
        model, questions = model_of(shapes, tiny_clip, min_steps=3), []
        critic = model.policy.predict_values
        count = partial(lambda asked, ask, seen: asked.append(seen) or ask(seen), questions, critic)
        monkeypatch.setattr(model.policy, "predict_values", count)
        monkeypatch.setattr(model, "train", lambda: None)
        model.learn(32, callback)
        rewards.append(model.rollout_buffer.rewards)
        asked.append(len(questions))
    np.testing.assert_allclose(rewards[0], rewards[1], atol=1e-6)
    assert asked[1] < asked[0], "one question a step, not one an episode"
    assert (rewards[0] != 0).any()


def test_means_need_no_labels_but_for_iou(shapes, blind, tiny_clip):
    model = model_of(shapes, tiny_clip)
    for data, labeled in ((shapes, True), (blind, False)):
        means, episodes = evaluate(make_engine(3, dataset=data, clip=tiny_clip), model.policy, 5)
        assert len(episodes) == 5 and np.isfinite(means["return"])
        assert np.isfinite(means["iou"]) == np.isfinite(means["acc@0.5"]) == labeled


def test_the_best_agent_is_the_one_of_the_highest_return(shapes, tiny_clip, tmp_path, monkeypatch):
    model = model_of(shapes, tiny_clip)
    about = {"algo": "ppo", "width": 16, "clip": "tiny", "dataset": "refshapes", "env": {}}
    evaluation = Evaluation(model.env.engine, 4, tmp_path, about, Budget(minutes=1), every=1)
    evaluation.init_callback(model)
    model._logger = SilentLogger()
    returns = iter([0.2, 0.7, 0.4])
    monkeypatch.setattr(
        "vg_gym.agents.callbacks.evaluate", lambda *_: ({"return": next(returns), "iou": float("nan")}, [])
    )
    for steps in (10, 20, 30):
        model.num_timesteps = steps
        evaluation.run()
    best, last = read_about(tmp_path / "best"), read_about(tmp_path / "last")
    assert (best["steps"], best["val"]) == (20, {"return": 0.7})
    assert (last["steps"], last["best"]) == (30, 0.7)


class SilentLogger:
    """Takes what is logged and writes nothing."""

    output_formats = ()

    def record(self, *_, **__):
        pass

    def dump(self, *_):
        pass
