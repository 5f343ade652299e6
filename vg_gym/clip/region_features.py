"""Region features from dense features by summed-area tables (Crow, 1984), in O(1) per box.

A feature map is piecewise constant over its g x g cells. Its integral up to (x, y) is the bilinear interpolation of the
table. So the sum over a box with fractional edges is exactly a weighted sum of 16 rows of the table, four at each
corner. Boxes are normalised ``xyxy``.

:func:`box_sum` is for many boxes of one image, in float64. :func:`table_sums` and :func:`table_scores` are for the
steps of the environment: few boxes of many images, in float32.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numba
import numpy as np

from vg_gym.boxes import namespace
from vg_gym.clip.kernels import DOUBLE, HALF, ONE, OPTIONS, REAL, TINY, WHOLE, ZERO, kernel, over_rows
from vg_gym.runtime.lazy_imports import torch

_TABLES, _SLOTS = REAL[:, :, :, ::1], numba.int32[::1]
_SUM = 0
"""Code of this mode in torch."""


def dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the inner products (...,) of broadcast vectors (..., D); arrays or tensors."""
    return np.vecdot(a, b) if namespace(a) is np else (a * b).sum(-1)


def l2_normalize(x: np.ndarray, eps: float = 1e-8) -> np.ndarray:
    """Scale vectors (..., D) to length 1; a zero vector stays zero. Accepts arrays or tensors."""
    length = namespace(x).sqrt(dot(x, x))
    return x / (np.maximum(length, eps) if isinstance(x, np.ndarray) else length.clip(eps))[..., None]


def summed_area(maps: np.ndarray) -> np.ndarray:
    """Return the summed-area tables, float32 (..., g+1, g+1, C), of maps (..., g, g, C)."""
    table = np.zeros((*maps.shape[:-3], maps.shape[-3] + 1, maps.shape[-2] + 1, maps.shape[-1]), dtype=np.float32)
    # These contiguous additions, line by line, are several times faster than numpy's cumsum along an outer axis.
    for y in range(maps.shape[-3]):
        np.add(table[..., y, 1:, :], maps[..., y, :, :], out=table[..., y + 1, 1:, :])
    for x in range(maps.shape[-2]):
        after = table[..., x + 1, :]
        np.add(after, table[..., x, :], out=after)
    return table


@numba.njit(**OPTIONS)
def _integral(table, row, column, y, x, c):
    """Return the integral of feature ``c`` up to the position (x, y) in a cell; see :func:`box_sum`."""
    top = table[row, column, c] * (1 - x) + table[row, column + 1, c] * x
    bottom = table[row + 1, column, c] * (1 - x) + table[row + 1, column + 1, c] * x
    return top * (1 - y) + bottom * y


@kernel(_TABLES, WHOLE[:, ::1], DOUBLE[:, ::1], DOUBLE[:, ::1])
def _box_sum(first, last, tables, cells, shares, out):
    """Compute :func:`box_sum` of some of N boxes.

    Args:
        first: first box.
        last: end of the boxes, exclusive.
        tables: summed-area tables (B, g+1, g+1, C), each of N / B boxes that follow each other.
        cells: cells in which the edges of the boxes lie (N, 4).
        shares: positions of the edges in their cells, in [0, 1] (N, 4).
        out: sums float64 (N, C), written.
    """
    for n in range(first, last):
        table, (left, top, right, bottom), (x1, y1, x2, y2) = tables[n * len(tables) // len(out)], cells[n], shares[n]
        for c in range(table.shape[2]):
            both = _integral(table, bottom, right, y2, x2, c) + _integral(table, top, left, y1, x1, c)
            out[n, c] = both - _integral(table, bottom, left, y2, x1, c) - _integral(table, top, right, y1, x2, c)


def box_sum(tables: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Return the sums over boxes (B, 4) or (B, N, 4) in cells, float64 (B, C) or (B, N, C).

    Args:
        tables: summed-area tables, float32 (B, g+1, g+1, C).
        boxes: normalised boxes; only their parts inside the image count.
    """
    flat, grid = boxes.reshape(-1, 4), tables.shape[1] - 1
    places = np.clip(flat, 0, 1) * np.float32(grid)
    cells = np.clip(places.astype(np.int64), 0, grid - 1)
    sums = np.empty((len(flat), tables.shape[-1]))
    shares = np.ascontiguousarray(places - cells)
    over_rows(_box_sum, len(flat), np.ascontiguousarray(tables), np.ascontiguousarray(cells), shares, sums)
    return sums.reshape(*boxes.shape[:-1], -1)


def box_cells(boxes: np.ndarray, grid: int) -> np.ndarray:
    """Return the area in cells (...,) of the part of each box (..., 4) inside the image, at least 1e-6."""
    inside = np.clip(boxes, 0, 1) * np.float32(grid)
    return np.maximum((inside[..., 2] - inside[..., 0]) * (inside[..., 3] - inside[..., 1]), np.float32(1e-6))


def box_mean(tables: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Return the means over the part of each box inside the image, in the shapes of :func:`box_sum`."""
    return box_sum(tables, boxes) / box_cells(boxes, tables.shape[1] - 1)[..., None]


@numba.njit(**OPTIONS, fastmath={"contract"})
def _add_corners(table, edges, total):
    """Sum features (D,) over a box from 16 entries of a summed-area table (g+1, g+1, D), four at each corner."""
    cells, dim = table.shape[0] - 1, table.shape[2]
    for d in range(dim):
        total[d] = ZERO
    for down in range(2):
        y = edges[1 + 2 * down] * np.float32(cells)
        row = max(min(int(y), cells - 1), 0)
        below = y - np.float32(row)
        for across in range(2):
            x = edges[2 * across] * np.float32(cells)
            column = max(min(int(x), cells - 1), 0)
            beyond = x - np.float32(column)
            sign = ONE if down == across else -ONE
            above_left, above_right = sign * (ONE - below) * (ONE - beyond), sign * (ONE - below) * beyond
            below_left, below_right = sign * below * (ONE - beyond), sign * below * beyond
            for d in range(dim):
                total[d] += (
                    above_left * table[row, column, d]
                    + above_right * table[row, column + 1, d]
                    + below_left * table[row + 1, column, d]
                    + below_right * table[row + 1, column + 1, d]
                )


@kernel(_TABLES, _SLOTS, REAL[:, :, ::1], REAL[:, :, ::1], fastmath={"contract"})
def _table_sums(first, last, tables, slots, boxes, out):
    """Compute :func:`table_sums` of some rows in ``out`` (B, K, D)."""
    for b in range(first, last):
        for k in range(boxes.shape[1]):
            _add_corners(tables[slots[b]], boxes[b, k], out[b, k])


def table_sums(tables: Any, slots: Any, boxes: Any) -> Any:
    """Return feature sums over boxes, in cells.

    Tensors use torch's embedding bag, which fuses gather and sum.

    Args:
        tables: summed-area tables, float32 (T, g+1, g+1, D).
        slots: index of the table of each item, int32 (B,).
        boxes: normalised boxes inside the image, (B, K, 4); all three are arrays, or all are tensors.

    Returns:
        Sums (B, K, D).
    """
    (batch, count, _), dim = boxes.shape, tables.shape[3]
    if isinstance(boxes, np.ndarray):
        sums = np.empty((batch, count, dim), dtype=np.float32)
        over_rows(_table_sums, batch, tables, slots, np.ascontiguousarray(boxes), sums)
        return sums
    lines = tables.shape[1]
    signs, steps = _corners(lines, boxes.device)
    edges = boxes * (lines - 1)
    below = edges.floor().clip(max=lines - 2)
    beyond = edges - below
    weights = torch.stack([1 - beyond, beyond], dim=-1) * signs
    columns, rows = below[..., 0::2].int(), below[..., 1::2].int() * lines + (slots * lines**2)[:, None, None]
    corners = rows[..., :, None, None, None] + columns[..., None, None, :, None] + steps
    shares = weights[..., 1::2, :, None, None] * weights[..., None, None, 0::2, :]
    index, shares = corners.reshape(-1), shares.reshape(-1)
    bags = torch.arange(0, len(index), 16, device=index.device, dtype=index.dtype)
    summed = torch.embedding_bag(tables.view(-1, dim), index, bags, False, _SUM, False, shares)[0]
    return summed.view(batch, count, dim)


@lru_cache
def _corners(lines: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the signs of the edges (4, 1) and the offsets from the first of a corner's four rows to all, (2, 1, 2)."""
    signs = torch.tensor([[-1.0], [-1.0], [1.0], [1.0]], device=device)  # the integral up to x2 minus that up to x1
    return signs, torch.tensor([[[0, 1]], [[lines, lines + 1]]], dtype=torch.int32, device=device)


_ROWS = REAL[:, ::1]


@kernel(_TABLES, _SLOTS, _ROWS, _ROWS, REAL, REAL, _ROWS, REAL[::1], fastmath={"contract", "reassoc"})
def _table_scores(first, last, tables, slots, boxes, texts, size, weight, regions, scores):
    """Compute :func:`table_scores` of some rows in ``regions`` (B, D) and ``scores`` (B,)."""
    dim, both = tables.shape[3], 2 if weight > ZERO else 1
    sums, edges = np.empty((2, dim), np.float32), np.empty(4, np.float32)
    for b in range(first, last):
        scores[b] = ZERO
        for edge in range(4):
            edges[edge] = boxes[b, edge]
        for k in range(both):
            if k == 1:
                for axis in range(2):
                    middle = (boxes[b, axis] + boxes[b, axis + 2]) * HALF
                    half = (boxes[b, axis + 2] - boxes[b, axis]) * (size * HALF)
                    edges[axis], edges[axis + 2] = max(middle - half, ZERO), min(middle + half, ONE)
            _add_corners(tables[slots[b]], edges, sums[k])
            squares, product = ZERO, ZERO
            for d in range(dim):
                value = sums[k, d] - np.float32(k) * sums[0, d]  # the ring is the wider box minus the box
                squares += value * value
                product += value * texts[b, d]
            length = max(np.sqrt(squares), TINY)
            scores[b] += product / length if k == 0 else -weight * (product / length)
            if k == 0:
                for d in range(dim):
                    regions[b, d] = min(max(sums[0, d] / length, -ONE), ONE)


def table_scores(
    tables: np.ndarray, slots: np.ndarray, boxes: np.ndarray, texts: np.ndarray, size: float, weight: float
) -> tuple[np.ndarray, np.ndarray]:
    """Compute the scores ``cosine`` and ``context`` of :mod:`vg_gym.clip.scores` in one pass.

    Args:
        tables: summed-area tables, float32 (T, g+1, g+1, D).
        slots: index of each row's table, int32 (B,).
        boxes: normalised boxes (B, 4).
        texts: unit embeddings (B, D).
        size: ratio of the outer sides of the ring to the sides of the box.
        weight: weight of the ring's cosine; 0: scores without a ring.

    Returns:
        Unit features of the boxes in [-1, 1], (B, D), and the cosine of each box minus ``weight`` times that of its
        ring, (B,).
    """
    regions, scores = np.empty_like(texts), np.empty(len(boxes), dtype=np.float32)
    ring = np.float32(size), np.float32(weight)
    over_rows(_table_scores, len(boxes), tables, slots, np.ascontiguousarray(boxes), texts, *ring, regions, scores)
    return regions, scores
