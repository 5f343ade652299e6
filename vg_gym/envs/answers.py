"""Answers of ``targets="any"``: recorded boxes, their worth, and the value of a set of boxes.

An episode ends with a set of boxes: those that "this one, and on" recorded, and the last box too if the trigger ended
it. "Nothing more" ends it with the recorded boxes alone, which may be none. If ``max_steps`` truncates an episode, its
answer is what was recorded, or the last box if nothing was.

Potentials of sets:

- ``iou``: the soft F1 of a set A with the targets G, ``2 * sum of IoUs / (|A| + |G|)``. Pairs are matched greedily,
  the highest IoU first. F1 of two empty sets is 1. Until the episode ends, the potential is the larger of the F1 with
  and without the current box. For one target and no recorded box it is the IoU.
- ``clip``: each box is worth its CLIP score minus ``nothing_score``, and minus ``false_box_price`` instead if it
  repeats a recorded box. The empty set is worth 0, so that existence needs no label.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym.boxes import to_numpy
from vg_gym.envs.options import EnvOptions
from vg_gym.envs.rewards import SUCCESS_IOU
from vg_gym.language.number import number
from vg_gym.runtime.lazy_imports import torch

MAX_BOXES = 32
"""Largest number of boxes of an answer; later ones are not recorded."""
COUNT_SCALE = 8
"""Number of boxes that is 1 in the observation."""
WORDS = 3
"""Number of values of the part ``answer`` before the overlaps: boxes recorded, plural, number of objects in words."""


class Values(NamedTuple):
    """Values of the recorded boxes, without and with the current box, (B,) each."""

    f1: Any
    """Soft F1 of the recorded boxes; None if the reward needs no labels."""
    f1_with: Any
    worth: Any
    """Worth of the recorded boxes by CLIP."""
    worth_with: Any

    def best_f1(self) -> Any:
        """Return the larger F1 (B,); None without labels."""
        return None if self.f1 is None else box_ops.namespace(self.f1).maximum(self.f1, self.f1_with)


class Answers:
    """Recorded boxes and targets of N episodes: arrays, or tensors on a device.

    Args:
        count: number of episodes, N.
        options: options of the environment.
        state: function that converts an array to state of the engine.
    """

    def __init__(self, count: int, options: EnvOptions, state: Callable[[Any], Any]):
        self._options, self._state = options, state
        self.capacity = min(options.max_steps, MAX_BOXES)
        self.boxes = state(np.zeros((count, self.capacity, 4), dtype=np.float32))
        """Recorded boxes, normalised (N, C, 4); zeros beyond :attr:`count`."""
        self.count = state(np.zeros(count, dtype=np.int64))
        self.start = state(np.tile(box_ops.FULL, (count, 1)))
        """Box from which play goes on (N, 4)."""
        self.worth = state(np.zeros(count, dtype=np.float32))
        self.closed = state(np.zeros(count, dtype=bool))
        """True if the answer is complete."""
        self.targets = state(np.zeros((count, 1, 4), dtype=np.float32))
        """Normalised targets (N, T, 4); zeros beyond their number."""
        self.num_targets = state(np.full(count, -1, dtype=np.int64))
        """Number of targets (N,); -1 without labels."""
        self.words = state(np.zeros((count, 2), dtype=np.float32))
        """Plural (0 or 1) of each expression, and its stated number in units of :data:`COUNT_SCALE`, (N, 2)."""

    def load(self, rows: np.ndarray, targets: Sequence[np.ndarray | None], expressions: Sequence[str]) -> None:
        """Load targets (k, 4) and expressions of new episodes into rows; None stands for an episode without labels."""
        most = max((len(boxes) for boxes in targets if boxes is not None), default=0)
        padded = np.zeros((len(rows), max(most, self.targets.shape[1]), 4), dtype=np.float32)
        for place, boxes in enumerate(targets):
            if boxes is not None:
                padded[place, : len(boxes)] = boxes
        if most > self.targets.shape[1]:
            wider = np.zeros((len(self.targets), most, 4), dtype=np.float32)
            wider[:, : self.targets.shape[1]] = to_numpy(self.targets)
            self.targets = self._state(wider)
        self.targets[rows] = self._state(padded)
        counts = [-1 if boxes is None else len(boxes) for boxes in targets]
        self.num_targets[rows] = self._state(np.array(counts, dtype=np.int64))
        self.words[rows] = self._state(np.array([_words(text) for text in expressions], dtype=np.float32))

    def begin(self, rows: np.ndarray, boxes: Any) -> None:
        """Start episodes in rows from boxes (R, 4) without a recorded box."""
        self.start[rows] = boxes
        self.boxes[rows], self.count[rows], self.worth[rows], self.closed[rows] = 0, 0, 0, False

    def record(self, chosen: Any, boxes: Any, scores: Any, scales: Any) -> tuple[Any, Any]:
        """Record the boxes of chosen rows that have room.

        Args:
            chosen: rows that say "this one, and on", bool (N,).
            boxes: their boxes (N, 4).
            scores: CLIP scores of the boxes (N,).
            scales: sizes (W, H, W, H) of the images (N, 4).

        Returns:
            The rows that recorded their box, and those whose box costs ``false_box_price``, bool (N,) each.
        """
        chosen = chosen & (self.count < self.capacity)
        repeated = self._repeats(boxes, scales, None)
        overlaps = self._overlaps(boxes[:, None], scales, None)[:, 0]
        wrong = (self.num_targets >= 0) & (overlaps < SUCCESS_IOU).all(1)
        self.worth = self.worth + chosen * self._worth_of(scores, repeated)
        self._append(chosen, boxes)
        return chosen, chosen & (wrong | repeated)

    def close(self, ended: Any, with_box: Any, boxes: Any) -> None:
        """Complete the answers of rows that ended; in some of them, ``with_box``, the box (N, 4) is part of it."""
        self._append(ended & with_box & (self.count < self.capacity), boxes)
        self.closed = self.closed | ended

    def _append(self, chosen: Any, boxes: Any) -> None:
        places = _arange(self.boxes, self.capacity)[None] == self.count[:, None]
        new_place = (places & chosen[:, None])[..., None]
        xp = box_ops.namespace(boxes)
        self.boxes, self.count = xp.where(new_place, boxes[:, None], self.boxes), self.count + chosen

    def values(self, boxes: Any, scores: Any, scales: Any, labeled: bool, rows: np.ndarray | None = None) -> Values:
        """Return the values of the recorded boxes without and with the current boxes (B, 4), of some rows or of all.

        Args:
            boxes: current boxes.
            scores: their CLIP scores (B,).
            scales: sizes (W, H, W, H) of the images (B, 4).
            labeled: whether the F1 is needed.
            rows: indices of the rows; None for all.
        """
        worth = self.worth if rows is None else self.worth[rows]
        worth_with = worth + self._worth_of(scores, self._repeats(boxes, scales, rows))
        f1, f1_with = self.f1(boxes, scales, rows) if labeled else (None, None)
        return Values(f1, f1_with, worth, worth_with)

    def f1(self, boxes: Any, scales: Any, rows: np.ndarray | None = None) -> tuple[Any, Any]:
        """Return the soft F1 of the recorded boxes without and with the current boxes (B, 4), float64 (B,) each."""
        every, count, number = self._with_current(boxes, rows)
        recorded = self._sums(every[:, :-1], scales, rows)[0]
        return _f1(recorded, count, number), _f1(self._sums(every, scales, rows)[0], count + 1, number)

    def hard_f1(self, boxes: Any, scales: Any) -> Any:
        """Return the F1 at an IoU of 0.5 of the answers if the episodes ended now, float64 (N,); NaN without labels."""
        every, count, number = self._with_current(boxes, None)
        recorded = _f1(self._sums(every[:, :-1], scales, None)[1], count, number)
        alone = _f1(self._sums(every, scales, None)[1], count + 1, number)
        xp = box_ops.namespace(boxes)
        values = xp.where((count > 0) | self.closed, recorded, alone)
        return xp.where(number < 0, np.nan, values)

    def iou(self, boxes: Any, scales: Any) -> Any:
        """Return the largest IoU of boxes (N, 4) with a target, float64 (N,): 0 without targets, NaN without labels."""
        overlaps = self._overlaps(boxes[:, None], scales, None)[:, 0]
        best = overlaps.max(1) if isinstance(boxes, np.ndarray) else overlaps.amax(1)
        return box_ops.namespace(boxes).where(self.num_targets < 0, np.nan, box_ops.clamp(best, 0, 1))

    def is_false_nothing(self) -> Any:
        """Return which empty answers have a target, bool (N,)."""
        return (self.count == 0) & (self.num_targets > 0)

    def observe(self, proposals: Any, rows: np.ndarray | None) -> Any:
        """Return the part ``answer`` of the observation (B, 3 + K).

        The values of :data:`WORDS` come first, then the largest IoU of each proposal with a recorded box.

        Args:
            proposals: normalised corners and a confidence of proposals (B, K, 5 or more), K may be 0.
            rows: indices of the rows; None for all.
        """
        pick = (lambda values: values) if rows is None else (lambda values: values[rows])
        xp, recorded, words = box_ops.namespace(proposals), pick(self.boxes), pick(self.words)
        count = box_ops.clamp(pick(self.count)[:, None] / COUNT_SCALE, 0, 1)
        covered = box_ops.iou(proposals[:, :, None, :4], recorded[:, None]) * (proposals[..., 4:5] > 0)
        covered = covered.max(-1) if xp is np else covered.amax(-1)
        parts = [count, words, box_ops.clamp(covered, 0, 1)]
        return xp.concatenate([part.astype(np.float32) if xp is np else part.float() for part in parts], axis=1)

    def _with_current(self, boxes: Any, rows: np.ndarray | None) -> tuple[Any, Any, Any]:
        """Return recorded boxes and the current one (B, C + 1, 4), and the numbers of the recorded and of targets."""
        pick = (lambda values: values) if rows is None else (lambda values: values[rows])
        every = box_ops.namespace(boxes).concatenate([pick(self.boxes), boxes[:, None]], axis=1)
        return every, pick(self.count), pick(self.num_targets)

    def _overlaps(self, boxes: Any, scales: Any, rows: np.ndarray | None) -> Any:
        """Return the IoU in pixels of boxes (B, M, 4) with the targets, float64 (B, M, T); -1 beyond their number."""
        targets, number = (values if rows is None else values[rows] for values in (self.targets, self.num_targets))
        true = box_ops.pixels(targets, scales[:, None])[:, None]
        ious = box_ops.pixel_iou(box_ops.pixels(boxes, scales[:, None])[:, :, None], true)
        missing = (_arange(boxes, targets.shape[1]) >= number[:, None])[:, None]
        return box_ops.namespace(boxes).where(missing, -1.0, ious)

    def _sums(self, boxes: Any, scales: Any, rows: np.ndarray | None) -> tuple[Any, Any]:
        """Return the sum of IoUs, and the number of hits, of boxes (B, M, 4) matched with the targets, (B,) each."""
        xp, ious = box_ops.namespace(boxes), self._overlaps(boxes, scales, rows)
        empty = (boxes[..., 2] <= boxes[..., 0])[..., None]
        return matched(xp.where(empty, -1.0, ious))

    def _repeats(self, boxes: Any, scales: Any, rows: np.ndarray | None) -> Any:
        """Return which boxes (B, 4) have an IoU of at least 0.5 with a recorded box, bool (B,)."""
        recorded = self.boxes if rows is None else self.boxes[rows]
        ious = box_ops.pixel_iou(box_ops.pixels(boxes, scales)[:, None], box_ops.pixels(recorded, scales[:, None]))
        return (ious >= SUCCESS_IOU).any(1)

    def _worth_of(self, scores: Any, repeated: Any) -> Any:
        o = self._options
        return box_ops.namespace(scores).where(repeated, -o.false_box_price, scores - o.nothing_score)


def matched(ious: Any) -> tuple[Any, Any]:
    """Match boxes with targets greedily, the highest IoU first, each at most once.

    Args:
        ious: IoUs (B, M, T), an array or a tensor; negative for pairs that cannot match.

    Returns:
        The sum of the IoUs of the pairs, and the number of pairs with an IoU of at least 0.5, (B,) each.

    >>> total, hits = matched(np.array([[[0.9, 0.8], [0.7, 0.2]]]))
    >>> total.round(3).tolist(), hits.tolist()
    ([1.1], [1.0])
    """
    xp, (count, boxes, targets) = box_ops.namespace(ious), ious.shape
    rows, box, target = _arange(ious, count), _arange(ious, boxes), _arange(ious, targets)
    total = hits = xp.zeros_like(ious[:, 0, 0])
    for _ in range(min(boxes, targets)):
        flat = ious.reshape(count, -1)
        best = flat.argmax(1)
        value = flat[rows, best]
        total, hits = total + box_ops.clamp(value, 0, 1), hits + (value >= SUCCESS_IOU)
        used = (box == (best // targets)[:, None])[:, :, None] | (target == (best % targets)[:, None])[:, None]
        ious = xp.where(used, -1.0, ious)
    return total, hits


def _f1(total: Any, boxes: Any, targets: Any) -> Any:
    """Return F1 (B,) from sums over matched pairs and the sizes of both sets; 1 if both are empty."""
    xp, size = box_ops.namespace(total), boxes + targets
    return xp.where(size == 0, 1.0, 2 * total / xp.where(size == 0, 1, size))


def _arange(like: Any, count: int) -> Any:
    return np.arange(count) if isinstance(like, np.ndarray) else torch.arange(count, device=like.device)


@lru_cache(2**14)
def _words(expression: str) -> tuple[float, float]:
    """Return whether an expression is in the plural, and the number of objects that it states, scaled; 0 if none."""
    stated = number(expression)
    return float(stated.plural), min((stated.count or 0) / COUNT_SCALE, 1.0)
