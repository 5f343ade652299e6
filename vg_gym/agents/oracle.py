"""The greedy oracle: always the move that raises IoU most. It sees the answer, so it is a ceiling, not a grounder.

What it reaches from the full image is the reach of an action set; no agent with the same actions can be expected to be
better. It is also the teacher of :mod:`vg_gym.agents.cloning`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym.envs.actions import ActionSet, make_actions
from vg_gym.types import Prediction, Sample


class ActionOracle:
    """Greedy ascent of IoU with one action set; ``ground_samples`` marks it as a ceiling for the evaluator.

    Args:
        action: name of the action set.
        max_steps: moves at most.
        **options: of the action set (``coarse``, ``fine``).
    """

    name = "action-oracle"

    def __init__(self, action: str = "multi-edges", max_steps: int = 12, **options: float):
        self.actions, self.max_steps = make_actions(action, **options), max_steps

    def ground_samples(self, samples: Sequence[Sample], initial_boxes: np.ndarray | None = None) -> list[Prediction]:
        """Where the oracle ends, from pixel ``initial_boxes`` (N, 4) or the full images; ``details["trajectory"]``."""
        sizes = [sample.query.image.size for sample in samples]
        targets = np.stack([box_ops.normalize(s.box, size) for s, size in zip(samples, sizes, strict=True)])
        start = np.tile(box_ops.FULL, (len(samples), 1))
        if initial_boxes is not None:
            start = np.stack([box_ops.normalize(b, size) for b, size in zip(initial_boxes, sizes, strict=True)])
        path = climb(self.actions, start, targets, self.max_steps)
        return [
            Prediction(box_ops.denormalize(path[-1, i], size), details={"trajectory": path[:, i]})
            for i, size in enumerate(sizes)
        ]


def climb(actions: ActionSet, boxes: np.ndarray, targets: np.ndarray, max_steps: int) -> np.ndarray:
    """Play greedy episodes; a box whose trigger was pulled stays put.

    Args:
        actions: the moves to choose from.
        boxes: normalised initial boxes (N, 4).
        targets: normalised answers (N, 4).
        max_steps: T, moves of every episode.

    Returns:
        Normalised boxes (T + 1, N, 4), the initial ones first.
    """
    path = [boxes]
    for _ in range(max_steps):
        moved, stop = actions.apply(path[-1], greedy_action(actions, path[-1], targets))
        path.append(np.where(stop[:, None], path[-1], moved))
    return np.stack(path)


def greedy_action(actions: ActionSet, boxes: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The actions (N, ...) that raise IoU with normalised ``targets`` (N, 4) most; the trigger where none does."""
    menu, outcomes = actions.menu(), actions.outcomes(boxes)
    scores = box_ops.iou(outcomes, targets[:, None])
    best = scores.argmax(axis=1)
    gain = scores[np.arange(len(boxes)), best] - box_ops.iou(boxes, targets)
    chosen = menu[best]
    chosen[gain <= 1e-4] = actions.trigger
    return chosen
