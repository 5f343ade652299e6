"""The verifier keeps a first box that is better, by its own lights, than the last."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO

from vg_gym.agents.checkpoint import policy_arguments
from vg_gym.agents.rollout import play
from vg_gym.agents.vec_env import GroundingVecEnv
from vg_gym.agents.verifier import judged, keep_best, reads_proposals
from vg_gym.clip.loader import load_clip
from vg_gym.envs.factory import make_engine
from vg_gym.envs.rng import CounterRNG


@pytest.fixture
def played(shapes):
    engine = make_engine(
        3, dataset=shapes, clip=load_clip("refshapes"), proposals="ssd", action="jump-edges", num_proposals=6,
        min_steps=1,
    )  # fmt: skip
    torch.manual_seed(0)
    model = PPO(
        "MultiInputPolicy", GroundingVecEnv(engine), policy_kwargs=policy_arguments("ppo", 16), n_steps=2, batch_size=6
    )
    return engine, model.policy


def test_expected_iou_by_hand(played, monkeypatch):
    """Proposals with probabilities 3/4 and 1/4, of which the box equals the first and covers half of the second."""
    engine, policy = played
    engine.reset_rows(np.arange(3), CounterRNG(np.arange(3)), {"index": np.arange(3)})
    engine.proposals[:] = 0
    engine.proposals[:, 0, :5], engine.proposals[:, 1, :5] = [0, 0, 0.5, 0.5, 1], [0, 0, 1, 0.5, 1]
    scores = torch.tensor([[np.log(3), 0, *[-np.inf] * 4]], dtype=torch.float32)
    monkeypatch.setattr(
        policy.features_extractor.proposals, "forward", lambda seen: (seen, scores.repeat(len(seen["text"]), 1))
    )
    boxes = np.tile(np.array([[0, 0, 0.5, 0.5], [0, 0.5, 1, 1]], np.float32), (3, 1, 1))
    np.testing.assert_allclose(judged(policy, engine.observe(), boxes), [[0.75 + 0.25 / 2, 0]] * 3, atol=1e-6)


def test_a_better_first_box_is_kept_and_a_worse_one_left(played, monkeypatch):
    engine, policy = played
    sure = torch.tensor([[9.0, 0, 0, 0, 0, 0]])  # that the first proposal is meant
    monkeypatch.setattr(
        policy.features_extractor.proposals, "forward", lambda seen: (seen, sure.repeat(len(seen["text"]), 1))
    )
    assert reads_proposals(policy)
    stop = engine.actions.trigger
    shrink = np.array([0, 0, 0, 0, 0])
    engine.reset_rows(np.arange(3), CounterRNG(np.arange(3)), {"index": np.arange(3)})
    good = engine.proposals[np.arange(3), 0, :4].copy()
    bad = np.tile(np.float32([0.0, 0.0, 0.02, 0.02]), (3, 1))
    spoiled = play(engine, lambda _: np.array([shrink] * 3), range(3), good)
    kept = keep_best(policy, engine, spoiled, good)
    for before, after, box in zip(spoiled, kept, good, strict=True):
        assert len(after.trajectory) == len(before.trajectory) + 1
        np.testing.assert_allclose(after.trajectory[-1], box, atol=1e-6)
    sets = [replace(spoiled[0], boxes=good[:0]), replace(spoiled[1], boxes=np.stack([good[1], good[1]])), spoiled[2]]
    assert [old is new for old, new in zip(sets, keep_best(policy, engine, sets, good), strict=True)] == [
        True,
        True,
        False,
    ]
    jump = np.array([*stop[:4], 2])
    mended = play(engine, lambda _: np.array([jump] * 3), range(3), bad)
    for before, after in zip(mended, keep_best(policy, engine, mended, bad), strict=True):
        assert after is before
