"""Choice between the initial and the last box by their expected IoU, according to the policy's scores of proposals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from vg_gym.agents.rollout import Episode
from vg_gym.boxes import to_numpy
from vg_gym.envs.engine import GroundingEngine
from vg_gym.envs.rng import CounterRNG
from vg_gym.envs.scoring.relational import expected_iou


def reads_proposals(policy: Any) -> bool:
    """Return True if a policy scores proposals, which a verifier requires."""
    return bool(getattr(policy.features_extractor, "num_scores", 0))


@torch.no_grad()
def judged(policy: Any, observations: dict[str, np.ndarray], boxes: np.ndarray) -> np.ndarray:
    """Return the expected IoU (B, T) of boxes: the IoU with each proposal, weighted by the proposal's probability.

    Args:
        policy: policy that reads proposals; the softmax of its scores gives the probabilities.
        observations: observations of B episodes, with ``proposals`` and ``text``.
        boxes: normalised (B, T, 4).
    """
    attention = policy.features_extractor.proposals
    read = {name: torch.as_tensor(observations[name], device=policy.device) for name in attention.inputs}
    _, scores = attention(read)
    probabilities = scores.softmax(1).cpu().numpy()
    corners = observations["proposals"].astype(np.float32).reshape(*probabilities.shape, -1)[..., :4]
    return expected_iou(boxes[:, :, None], corners[:, None], probabilities[:, None])


def keep_best(policy: Any, engine: GroundingEngine, episodes: Sequence[Episode], first: np.ndarray) -> list[Episode]:
    """Let episodes return to their initial box if its expected IoU is higher than that of their last box.

    Episodes that answer with no box, or with several, stay as they are.

    Args:
        policy: policy that played the episodes, and reads proposals.
        engine: engine in which they were played; its rows are overwritten.
        episodes: the engine's first episodes, in order.
        first: normalised initial boxes of the episodes (N, 4).
    """
    results: list[Episode] = []
    for at in range(0, len(episodes), engine.num_envs):
        chunk = episodes[at : at + engine.num_envs]
        rows, index = np.arange(len(chunk)), np.array([episode.index for episode in chunk])
        options = {"index": index, "initial_box": first[at : at + len(chunk)]}
        engine.reset_rows(rows, CounterRNG(index, engine.device), options)
        observations = {name: to_numpy(values) for name, values in engine.observe(rows).items()}
        ends = np.stack([[e.trajectory[0], *(e.boxes if len(e.boxes) else e.trajectory)[-1:]] for e in chunk])
        before, after = judged(policy, observations, ends).T
        better = [b > a and len(e.boxes) == 1 for e, b, a in zip(chunk, before, after, strict=True)]
        results += [_back_to_start(e) if returns else e for e, returns in zip(chunk, better, strict=True)]
    return results


def _back_to_start(episode: Episode) -> Episode:
    """Return the episode with its initial box repeated at the end."""
    first = episode.trajectory[:1]
    return replace(episode, trajectory=np.concatenate([episode.trajectory, first]), boxes=first)
