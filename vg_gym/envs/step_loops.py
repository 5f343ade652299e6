"""Compiled loops of :mod:`vg_gym.envs.moves` and :mod:`vg_gym.envs.rewards`, named after their functions."""

from __future__ import annotations

import numba
import numpy as np

from vg_gym.boxes import PIXEL_PARTS, ROUNDING
from vg_gym.clip.kernels import DOUBLE, HALF, ONE, OPTIONS, REAL, ZERO, kernel


@kernel(REAL[:, ::1], REAL[:, ::1], REAL, REAL, REAL[:, ::1])
def shift_edges(first, last, boxes, deltas, shortest, end, out):
    """Move the edges of some boxes.

    Args:
        first: first row.
        last: end of the rows, exclusive.
        boxes: normalised boxes (B, 4).
        deltas: moves of the edges in sides of the box (B, 4).
        shortest: shortest side of a box.
        end: largest coordinate at which a box of that side begins.
        out: moved boxes (B, 4), written.
    """
    for b in range(first, last):
        for axis in range(2):
            low, high, delta, other = boxes[b, axis], boxes[b, axis + 2], deltas[b, axis], deltas[b, axis + 2]
            move, stretch = delta * (high - low), other * (high - low)
            if delta == other:  # both edges move by the same amount, and stop together at the border
                move = stretch = min(max(move, -low), ONE - high)
            low, high = min(max(low + move, ZERO), ONE), min(max(high + stretch, ZERO), ONE)
            if high - low < shortest:
                low, high = min(low, high), max(low, high)
                if high - low < shortest:
                    low = min(max((low + high - shortest) * HALF, ZERO), end)
                    high = low + shortest
            out[b, axis], out[b, axis + 2] = low, high


@numba.njit(**OPTIONS)
def _pixel(coordinate, scale):
    """Convert a normalised coordinate to pixels; see :func:`vg_gym.boxes.pixels`."""
    value = numba.float64(coordinate) * scale
    near = np.rint(value * PIXEL_PARTS) / PIXEL_PARTS
    return near if abs(value - near) <= scale * ROUNDING else value


@kernel(REAL[:, ::1], REAL[:, ::1], REAL[:, ::1], DOUBLE[::1])
def target_iou(first, last, boxes, targets, scales, out):
    """Compute the IoUs of some boxes with their targets, in pixels.

    Args:
        first: first row.
        last: end of the rows, exclusive.
        boxes: normalised boxes (B, 4).
        targets: normalised boxes (B, 4); NaN for rows without a target.
        scales: (W, H, W, H) of the images (B, 4).
        out: IoUs float64 (B,), written.
    """
    for b in range(first, last):
        if np.isnan(targets[b, 0]):
            out[b] = np.nan
            continue
        overlap, size, other = 1.0, 1.0, 1.0
        for axis in range(2):
            scale = numba.float64(scales[b, axis])
            low, high = _pixel(boxes[b, axis], scale), _pixel(boxes[b, axis + 2], scale)
            start, end = _pixel(targets[b, axis], scale), _pixel(targets[b, axis + 2], scale)
            overlap *= max(min(high, end) - max(low, start), 0.0)
            size *= max(high - low, 0.0)
            other *= max(end - start, 0.0)
        union = size + other - overlap
        out[b] = overlap / union if union > 0 else 0.0
