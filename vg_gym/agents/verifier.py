"""Which box to keep: the IoU that boxes are expected to have, by what the policy itself thinks is meant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from vg_gym.agents.rollout import Episode
from vg_gym.boxes import to_numpy
from vg_gym.envs.engine import GroundingEngine
from vg_gym.envs.proposals import WIDTH
from vg_gym.envs.rng import CounterRNG
from vg_gym.envs.scoring.relational import expected_iou


def reads_proposals(policy: Any) -> bool:
    """Whether a policy scores proposals, which is what a verifier needs."""
    return bool(getattr(policy.features_extractor, "num_scores", 0))


@torch.no_grad()
def judged(policy: Any, observations: dict[str, np.ndarray], boxes: np.ndarray) -> np.ndarray:
    """Expected IoU (B, T) of boxes: that with each proposal, weighted by the probability that it is meant.

    Args:
        policy: that reads proposals; the softmax of its scores are the probabilities.
        observations: of B episodes, with ``proposals`` and ``text``.
        boxes: normalised (B, T, 4).
    """
    observed, text = (torch.as_tensor(observations[name], device=policy.device) for name in ("proposals", "text"))
    _, scores = policy.features_extractor.proposals(observed, text.float())
    meant = scores.softmax(1).cpu().numpy()
    corners = observations["proposals"].astype(np.float32).reshape(*meant.shape, WIDTH)[..., :4]
    return expected_iou(boxes[:, :, None], corners[:, None], meant[:, None])


def keep_best(policy: Any, engine: GroundingEngine, episodes: Sequence[Episode], first: np.ndarray) -> list[Episode]:
    """Episodes that go back to their first box where that is expected to be better than their last.

    Args:
        policy: that played them, and reads proposals.
        engine: in which they were played; its rows are overwritten.
        episodes: of the engine's first episodes, in their order.
        first: normalised boxes (N, 4) that they were started from.
    """
    kept: list[Episode] = []
    for at in range(0, len(episodes), engine.num_envs):
        chunk = episodes[at : at + engine.num_envs]
        rows, index = np.arange(len(chunk)), np.array([episode.index for episode in chunk])
        options = {"index": index, "initial_box": first[at : at + len(chunk)]}
        engine.reset_rows(rows, CounterRNG(index, engine.device), options)
        seen = {name: to_numpy(values) for name, values in engine.observe(rows).items()}
        ends = np.stack([[e.trajectory[0], e.trajectory[-1]] for e in chunk])
        before, after = judged(policy, seen, ends).T
        kept += [_back(e) if b > a else e for e, b, a in zip(chunk, before, after, strict=True)]
    return kept


def _back(episode: Episode) -> Episode:
    """The episode, with its first box once more at its end."""
    return replace(episode, trajectory=np.concatenate([episode.trajectory, episode.trajectory[:1]]))
