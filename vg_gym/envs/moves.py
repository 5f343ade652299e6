"""Moves of boxes: edges shifted by fractions of the sides, and jumps. Boxes are normalised ``xyxy``."""

from __future__ import annotations

from typing import Any

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym.runtime.lazy_imports import torch
from vg_gym.runtime.row_threads import over_rows

MIN_SIDE = 0.04
"""Shortest side of a box, as a fraction of the side of the image."""
CHANGE = 1e-6
"""Smallest change of a coordinate that counts in masks, as a fraction of the side of the image."""
OUT = np.array([-1, -1, 1, 1], dtype=np.float32)
"""Sign of the direction out of the box, for each edge."""
_SIDES = np.float32(MIN_SIDE), np.float32(1 - MIN_SIDE)
"""Shortest side of a box, and the largest coordinate at which a box of that side begins."""


def shift_edges(boxes: np.ndarray, deltas: np.ndarray) -> np.ndarray:
    """Move edges by ``deltas`` (..., 4), fractions of width and height; the result lies inside the image.

    A pure translation stops at the border, so that the box does not shrink.

    >>> box = np.array([0.25, 0.25, 0.75, 0.75], dtype=np.float32)
    >>> shift_edges(box, np.array([0.5, 0, 0, 0], dtype=np.float32)).tolist()
    [0.5, 0.25, 0.75, 0.75]
    """
    if isinstance(boxes, np.ndarray):
        from vg_gym.envs import step_loops as loops

        if boxes.shape != deltas.shape:
            boxes, deltas = np.broadcast_arrays(boxes, deltas)
        flat = (np.ascontiguousarray(array, dtype=np.float32).reshape(-1, 4) for array in (boxes, deltas))
        moved = np.empty((boxes.size // 4, 4), dtype=np.float32)
        over_rows(loops.shift_edges, len(moved), *flat, *_SIDES, moved)
        return moved.reshape(boxes.shape)
    low, high, first, second = boxes[..., :2], boxes[..., 2:], deltas[..., :2], deltas[..., 2:]
    extent = high - low
    move, other, together = first * extent, second * extent, first == second
    stopped = torch.minimum(torch.maximum(move, -low), 1 - high)
    move, other = torch.where(together, stopped, move), torch.where(together, stopped, other)
    return box_ops.fit_edges(low + move, high + other, min_side=MIN_SIDE)


def landings(proposals: Any, boxes: Any) -> Any:
    """Return the boxes after jumps from ``boxes`` (..., 4) to proposals (..., 5 or more); empty rows do nothing."""
    targets = box_ops.namespace(boxes).where(proposals[..., 4:5] > 0, proposals[..., :4], boxes)
    return box_ops.fit_edges(targets[..., :2], targets[..., 2:], min_side=MIN_SIDE)


def changed(boxes: np.ndarray, outcomes: np.ndarray) -> np.ndarray:
    """Return which ``outcomes`` (..., 4) differ from ``boxes``, bool (...)."""
    return np.abs(outcomes - boxes).max(axis=-1) > CHANGE
