"""Compiled loops of :mod:`vg_gym.clip.region_features`, named after the functions that call them."""

from __future__ import annotations

import numba
import numpy as np

from vg_gym.clip.kernels import DOUBLE, HALF, ONE, OPTIONS, REAL, TINY, WHOLE, ZERO, kernel

_TABLES, _SLOTS, _ROWS = REAL[:, :, :, ::1], numba.int32[::1], REAL[:, ::1]


@numba.njit(**OPTIONS)
def _integral(table, row, column, y, x, c):
    """Return the integral of feature ``c`` up to the position (x, y) in a cell."""
    top = table[row, column, c] * (1 - x) + table[row, column + 1, c] * x
    bottom = table[row + 1, column, c] * (1 - x) + table[row + 1, column + 1, c] * x
    return top * (1 - y) + bottom * y


@kernel(_TABLES, WHOLE[:, ::1], DOUBLE[:, ::1], DOUBLE[:, ::1])
def box_sum(first, last, tables, cells, shares, out):
    """Compute the sums of some of N boxes.

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
def table_sums(first, last, tables, slots, boxes, out):
    """Compute the sums of some rows.

    Args:
        first: first row.
        last: end of the rows, exclusive.
        tables: summed-area tables (T, g+1, g+1, D).
        slots: index of the table of each row (B,).
        boxes: normalised boxes (B, K, 4).
        out: sums (B, K, D), written.
    """
    for b in range(first, last):
        for k in range(boxes.shape[1]):
            _add_corners(tables[slots[b]], boxes[b, k], out[b, k])


@kernel(_TABLES, _SLOTS, _ROWS, _ROWS, REAL, REAL, _ROWS, REAL[::1], fastmath={"contract", "reassoc"})
def table_scores(first, last, tables, slots, boxes, texts, size, weight, regions, scores):
    """Compute the features and scores of some rows.

    Args:
        first: first row.
        last: end of the rows, exclusive.
        tables: summed-area tables (T, g+1, g+1, D).
        slots: index of the table of each row (B,).
        boxes: normalised boxes (B, 4).
        texts: unit embeddings (B, D).
        size: ratio of the outer sides of the ring to the sides of the box.
        weight: weight of the ring's cosine; 0: no ring.
        regions: unit features of the boxes (B, D), written.
        scores: scores (B,), written.
    """
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
