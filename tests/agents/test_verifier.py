"""The verifier keeps a first box that is better, by its own lights, than the last."""

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO

from vg_gym import boxes as box_ops
from vg_gym.agents.checkpoint import policy_arguments
from vg_gym.agents.rollout import play
from vg_gym.agents.vec_env import GroundingVecEnv
from vg_gym.agents.verifier import judged, keep_best, reads_proposals
from vg_gym.clip.encoder import load_clip
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


def test_expected_iou_is_that_with_what_is_thought_to_be_meant(played):
    engine, policy = played
    engine.reset_rows(np.arange(3), CounterRNG(np.arange(3)), {"index": np.arange(3)})
    seen = engine.observe()
    corners = engine.proposals[..., :4]
    found = judged(policy, seen, corners)
    _, scores = policy.features_extractor.proposals(*(torch.from_numpy(seen[name]) for name in ("proposals", "text")))
    chance = scores.softmax(1).detach().numpy()
    by_hand = [[(chance[b] * box_ops.iou(corners[b, k], corners[b])).sum() for k in range(6)] for b in range(3)]
    np.testing.assert_allclose(found, by_hand, atol=1e-5)
    assert found.max() > found.min() and (found <= 1).all()


def test_a_better_first_box_is_kept_and_a_worse_one_left(played, monkeypatch):
    engine, policy = played
    sure = torch.tensor([[9.0, 0, 0, 0, 0, 0]])  # that the first proposal is meant
    monkeypatch.setattr(
        policy.features_extractor.proposals, "forward", lambda seen, _: (seen, sure.repeat(len(seen), 1))
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
    jump = np.array([*stop[:4], 2])
    mended = play(engine, lambda _: np.array([jump] * 3), range(3), bad)
    for before, after in zip(mended, keep_best(policy, engine, mended, bad), strict=True):
        assert after is before
