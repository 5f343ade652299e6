"""Greedy oracle, which always takes the move that raises the IoU most. It sees the answer: it is an upper bound.

Its result from the full image is the reach of an action set; an agent with the same actions is not expected to exceed
it. The oracle is also the teacher of :mod:`vg_gym.agents.cloning`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym.boxes import to_numpy
from vg_gym.config import NonNegativeInt, check_options
from vg_gym.envs.actions import ActionSet, MultiEdgeActions, make_actions
from vg_gym.envs.engine import GroundingEngine
from vg_gym.envs.moves import OUT
from vg_gym.envs.rewards import SUCCESS_IOU
from vg_gym.types import Prediction, Sample

MAX_MENU_LEVELS = 5
"""Largest number of steps of an edge with which all combinations of the four edges are tried."""


class ActionOracle:
    """Greedy ascent of the IoU with one action set; the evaluator takes ``ground_samples`` as the mark of upper bounds.

    Args:
        action: name of the action set.
        max_steps: largest number of moves.
        **options: options of the action set (``coarse``, ``fine``).
    """

    name = "action-oracle"

    def __init__(self, action: str = "multi-edges", max_steps: NonNegativeInt = 12, **options: Any):
        check_options(self.name, make_actions, options, fixed=("name", "jumps", "answers"))
        self.actions, self.max_steps = make_actions(action, **options), max_steps
        self.bounds = f"{action} in {max_steps} steps, from the whole image"
        """Description of the moves that the oracle bounds."""

    def ground_samples(self, samples: Sequence[Sample], initial_boxes: np.ndarray | None = None) -> list[Prediction]:
        """Return the last boxes of the oracle from ``initial_boxes`` (N, 4) or the full images, and its trajectories.

        It plays one episode for each target of a sample. All boxes are in pixels.
        """
        sizes = [sample.query.image.size for sample in samples]
        counts = [len(sample.boxes) for sample in samples]
        targets = [box_ops.normalize(s.boxes, size) for s, size in zip(samples, sizes, strict=True)]
        start = np.tile(box_ops.FULL, (len(samples), 1))
        if initial_boxes is not None:
            start = np.stack([box_ops.normalize(b, size) for b, size in zip(initial_boxes, sizes, strict=True)])
        path = climb(self.actions, np.repeat(start, counts, axis=0), np.concatenate(targets), self.max_steps)
        parts = np.split(path, np.cumsum(counts)[:-1], axis=1)
        return [_answer(box_ops.denormalize(part, size)) for part, size in zip(parts, sizes, strict=True)]


def _answer(paths: np.ndarray) -> Prediction:
    """Return the last boxes of the paths (T + 1, k, 4) to the targets of a sample, and the path to a single one."""
    return Prediction(boxes=paths[-1], details={"trajectory": paths[:, 0]} if paths.shape[1] == 1 else {})


def climb(actions: ActionSet, boxes: np.ndarray, targets: np.ndarray, max_steps: int) -> np.ndarray:
    """Play greedy episodes; a box whose trigger was pulled no longer moves.

    Args:
        actions: action set.
        boxes: normalised initial boxes (N, 4).
        targets: normalised true boxes (N, 4).
        max_steps: number of moves of every episode, T.

    Returns:
        Normalised boxes (T + 1, N, 4), of which the first are the initial ones.
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
    """Return the actions (N, ...) that raise the IoU with the targets most.

    Args:
        actions: action set.
        boxes: normalised (N, 4).
        targets: normalised (N, 4).
        proposals: corners and confidence (N, K, 5 or more), for sets that jump.
        min_gain: smallest gain of IoU; if no action gains more, the action is the trigger.
    """
    chosen = _candidates(actions, boxes, targets, proposals)
    outcomes = np.stack([actions.apply(boxes, candidate, proposals)[0] for candidate in chosen], axis=1)
    scores = box_ops.iou(outcomes, targets[:, None])
    best, rows = scores.argmax(axis=1), np.arange(len(boxes))
    gain = scores[rows, best] - box_ops.iou(boxes, targets)
    actions_taken = np.stack(chosen, axis=1)[rows, best]
    actions_taken[gain <= min_gain] = actions.trigger
    return actions_taken


def oracle_actions(engine: GroundingEngine) -> np.ndarray:
    """Return the oracle's actions (N, ...) in an engine with labels; a move must gain more than its price.

    With ``targets="any"`` it goes to the target that is not recorded yet and nearest to the box, records it, and pulls
    the trigger at the last one. If all are recorded, or nothing is meant, it says "nothing more".
    """
    boxes, targets, proposals = (to_numpy(x) for x in (engine.boxes, engine.targets, engine.proposals))
    min_gain = max(1e-4, engine.options.step_cost)
    if engine.answers is None:
        return greedy_action(engine.actions, boxes, targets, proposals, min_gain)
    missing = missing_targets(engine)
    ious = np.where(missing, box_ops.iou(boxes[:, None], to_numpy(engine.answers.targets)), -1)
    nearest = to_numpy(engine.answers.targets)[np.arange(len(boxes)), ious.argmax(axis=1)]
    actions = greedy_action(engine.actions, boxes, nearest, proposals, min_gain)
    fits = (actions.reshape(len(boxes), -1) == np.reshape(engine.actions.trigger, (1, -1))).all(axis=1)
    actions[fits & (missing.sum(axis=1) > 1)] = engine.actions.record
    actions[~missing.any(axis=1)] = engine.actions.nothing
    return actions


def missing_targets(engine: GroundingEngine) -> np.ndarray:
    """Return which targets have an IoU below 0.5 with every recorded box, bool (N, T)."""
    assert engine.answers is not None
    targets, recorded = to_numpy(engine.answers.targets), to_numpy(engine.answers.boxes)
    scales = to_numpy(engine.scales)[:, None]
    pairs = box_ops.pixels(targets, scales)[:, :, None], box_ops.pixels(recorded, scales)[:, None]
    exists = np.arange(targets.shape[1]) < to_numpy(engine.answers.num_targets)[:, None]
    return exists & (box_ops.pixel_iou(*pairs) < SUCCESS_IOU).all(axis=2)


def _candidates(actions: ActionSet, boxes: np.ndarray, targets: np.ndarray, proposals: Any) -> list[np.ndarray]:
    """Return candidates (N, ...) for the best action.

    For long menus they are the moves that bring each edge nearest to its target.
    """
    if not isinstance(actions, MultiEdgeActions) or len(actions.levels) <= MAX_MENU_LEVELS:
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
        scales: sizes (W, H, W, H) of the images (N, 4), or ones if the IoU is not compared with a threshold.
    """
    boxes, boxes_of_targets = box_ops.pixels(proposals[..., :4], scales[:, None]), box_ops.pixels(targets, scales)
    return box_ops.pixel_iou(boxes, boxes_of_targets[:, None]) * (proposals[..., 4] > 0)
