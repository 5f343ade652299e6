"""Potential-based rewards (Ng, Harada & Russell, ICML 1999): the change of a potential between boxes.

reward = Phi(new box) - Phi(old box) - step_cost + [trigger pulled] * trigger_bonus * Phi(box)

The differences telescope: without a discount, the return of an episode is the potential of its last box minus that of
its first, minus the cost of the steps. Two things make the agent stop in time: every further step costs, and the bonus
is paid only if the agent pulls the trigger before ``max_steps``.

Potentials: ``clip`` is a named CLIP score (:mod:`vg_gym.clip.scores`) and reads no box label; ``iou`` is the IoU with
the target; ``clip+iou`` is their weighted mean. With ``targets="any"`` a potential is that of a set of boxes
(:mod:`vg_gym.envs.answers`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym.errors import unknown
from vg_gym.runtime.row_threads import over_rows

REWARDS = ("clip", "iou", "clip+iou")
SUCCESS_IOU = 0.5
"""Smallest IoU of a hit, as in the Acc@0.5 of the literature."""


@dataclass(frozen=True)
class Reward:
    """Potential, and the price of a step.

    Args:
        name: ``clip``, ``iou`` or ``clip+iou``.
        step_cost: price of every step, the trigger included.
        trigger_bonus: share of the potential that is paid if the trigger ends the episode.
        iou_weight: weight of the IoU in ``clip+iou``; the CLIP score has the remaining weight.

    Raises:
        VGGymError: the name is unknown.

    >>> before, after = np.array([0.25]), np.array([0.75])
    >>> Reward(step_cost=0.25, trigger_bonus=0.0)(before, after, stop=np.array([False])).tolist()
    [0.25]
    """

    name: str = "clip"
    step_cost: float = 0.01
    trigger_bonus: float = 0.1
    iou_weight: float = 0.5

    def __post_init__(self):
        if self.name not in REWARDS:
            raise unknown("reward", self.name, REWARDS)

    @property
    def needs_labels(self) -> bool:
        """True if the potential reads target boxes."""
        return self.name != "clip"

    def potential(self, clip_score: np.ndarray, overlap: np.ndarray | None) -> np.ndarray:
        """Return Phi (B,) of boxes with CLIP scores (B,) and IoUs ``overlap`` (B,); ``clip`` needs no IoUs."""
        if not self.needs_labels:
            return clip_score
        assert overlap is not None
        return overlap if self.name == "iou" else self.iou_weight * overlap + (1 - self.iou_weight) * clip_score

    def __call__(self, before: np.ndarray, after: np.ndarray, stop: np.ndarray) -> np.ndarray:
        """Return rewards (B,) of steps from potential ``before`` to ``after``; ``stop`` marks ends by the agent."""
        return after - before - self.step_cost + stop * (self.trigger_bonus * after)


def target_iou(boxes: Any, targets: Any, scales: Any) -> Any:
    """Return the IoUs (B,) of boxes with their targets in pixels, float64; NaN for rows without a target.

    On a CPU the result equals that of :func:`vg_gym.boxes.pixel_iou` to the bit, in a tenth of the time.

    Args:
        boxes: normalised boxes, float32 (B, 4), an array or a tensor.
        targets: normalised boxes (B, 4); NaN for rows without a target.
        scales: (W, H, W, H) of the images (B, 4).
    """
    if not isinstance(boxes, np.ndarray):
        return box_ops.pixel_iou(box_ops.pixels(boxes, scales), box_ops.pixels(targets, scales))
    from vg_gym.envs import step_loops as loops

    overlap = np.empty(len(boxes))
    over_rows(loops.target_iou, len(boxes), boxes, targets, scales, overlap)
    return overlap
