"""The greedy oracle: always the move that raises IoU most. It sees the answer, so it is a ceiling, not a grounder.

What it reaches from the full image is the reach of an action set; no agent with the same actions can be expected to be
better. It is also the teacher of :mod:`vg_gym.agents.cloning`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym.boxes import to_numpy
from vg_gym.config import NonNegativeInt, check_options
from vg_gym.envs.actions import OUT, ActionSet, MultiEdgeActions, make_actions
from vg_gym.envs.engine import GroundingEngine
from vg_gym.types import Prediction, Sample

SHORT_MENU = 5
"""Steps of an edge up to which all combinations of the four edges are tried."""


class ActionOracle:
    """Greedy ascent of IoU with one action set; ``ground_samples`` marks it as a ceiling for the evaluator.

    Args:
        action: name of the action set.
        max_steps: moves at most.
        **options: of the action set (``coarse``, ``fine``).
    """

    name = "action-oracle"

    def __init__(self, action: str = "multi-edges", max_steps: NonNegativeInt = 12, **options: Any):
        check_options(self.name, make_actions, options, fixed=("name", "jumps"))
        self.actions, self.max_steps = make_actions(action, **options), max_steps
        self.bounds = f"{action} in {max_steps} steps, from the whole image"
        """What it is the ceiling of."""

    def ground_samples(self, samples: Sequence[Sample], initial_boxes: np.ndarray | None = None) -> list[Prediction]:
        """Where the oracle ends from ``initial_boxes`` (N, 4) or the full images, and its trajectory; all in pixels."""
        sizes = [sample.query.image.size for sample in samples]
        targets = np.stack([box_ops.normalize(s.box, size) for s, size in zip(samples, sizes, strict=True)])
        start = np.tile(box_ops.FULL, (len(samples), 1))
        if initial_boxes is not None:
            start = np.stack([box_ops.normalize(b, size) for b, size in zip(initial_boxes, sizes, strict=True)])
        path = climb(self.actions, start, targets, self.max_steps)
        return [
            Prediction(boxes[-1], details={"trajectory": boxes})
            for boxes in (box_ops.denormalize(path[:, i], size) for i, size in enumerate(sizes))
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


def greedy_action(
    actions: ActionSet,
    boxes: np.ndarray,
    targets: np.ndarray,
    proposals: np.ndarray | None = None,
    min_gain: float = 1e-4,
) -> np.ndarray:
    """The actions (N, ...) that raise IoU with the targets most.

    Args:
        actions: the set.
        boxes: normalised (N, 4).
        targets: normalised (N, 4).
        proposals: (N, K, 5 or more) corners and confidence, for sets that jump.
        min_gain: where no action raises IoU by more, the action is the trigger.
    """
    chosen = _candidates(actions, boxes, targets, proposals)
    outcomes = np.stack([actions.apply(boxes, candidate, proposals)[0] for candidate in chosen], axis=1)
    scores = box_ops.iou(outcomes, targets[:, None])
    best, rows = scores.argmax(axis=1), np.arange(len(boxes))
    gain = scores[rows, best] - box_ops.iou(boxes, targets)
    found = np.stack(chosen, axis=1)[rows, best]
    found[gain <= min_gain] = actions.trigger
    return found


def oracle_actions(engine: GroundingEngine) -> np.ndarray:
    """The oracle's actions (N, ...) in an engine with labels; a move that gains less than its price is not worth it."""
    boxes, targets, proposals = (to_numpy(x) for x in (engine.boxes, engine.targets, engine.proposals))
    return greedy_action(engine.actions, boxes, targets, proposals, max(1e-4, engine.options.step_cost))


def _candidates(actions: ActionSet, boxes: np.ndarray, targets: np.ndarray, proposals: Any) -> list[np.ndarray]:
    """Actions (N, ...) among which is the best; of long menus, the moves that bring each edge nearest its target."""
    if not isinstance(actions, MultiEdgeActions) or len(actions.levels) <= SHORT_MENU:
        menu, outcomes = actions.menu(), actions.outcomes(boxes)
        return [menu[box_ops.iou(outcomes, targets[:, None]).argmax(axis=1)]]
    side = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
    edges = boxes[:, None] + actions.levels[:, None] * OUT * side[:, None]
    steps = np.abs(edges - targets[:, None]).argmin(axis=1)
    moves = [np.concatenate([steps, np.zeros((len(boxes), 1), dtype=steps.dtype)], axis=1)]
    if actions.jumps and proposals is not None:
        jumps = np.tile(actions.trigger, (len(boxes), 1))
        jumps[:, 4] = 2 + proposal_overlaps(proposals, targets, np.ones_like(targets)).argmax(axis=1)
        moves.append(jumps)
    return moves


def proposal_overlaps(proposals: np.ndarray, targets: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """Return the IoU of proposals with targets, float64 (N, K); 0 in rows without a proposal.

    Args:
        proposals: normalised corners and a confidence (N, K, 5 or more).
        targets: normalised (N, 4).
        scales: (W, H, W, H) of the images (N, 4), or ones where no threshold follows.
    """
    boxes, boxes_of_targets = box_ops.pixels(proposals[..., :4], scales[:, None]), box_ops.pixels(targets, scales)
    return box_ops.pixel_iou(boxes, boxes_of_targets[:, None]) * (proposals[..., 4] > 0)
