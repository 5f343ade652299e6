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

import numpy as np

from vg_gym.boxes import namespace
from vg_gym.runtime.lazy_imports import torch
from vg_gym.runtime.row_threads import over_rows

_SUM = 0
"""Code of this mode in torch."""
NUMPY_BOXES = 8192
"""Number of boxes that a process sums in numpy before it compiles a loop, which takes seconds; an image that CLIP scans
has 2,304 boxes."""
_boxes_until_loop = [NUMPY_BOXES]


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


def box_sum(tables: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Return the sums over boxes (B, 4) or (B, N, 4) in cells, float64 (B, C) or (B, N, C).

    Args:
        tables: summed-area tables, float32 (B, g+1, g+1, C).
        boxes: normalised boxes; only their parts inside the image count.
    """
    flat, grid = boxes.reshape(-1, 4), tables.shape[1] - 1
    places = np.clip(flat, 0, 1) * np.float32(grid)
    cells = np.clip(places.astype(np.int64), 0, grid - 1)
    shares = np.ascontiguousarray(places - cells)
    _boxes_until_loop[0] -= len(flat)
    sums = (_sums_of_many if _boxes_until_loop[0] < 0 else _sums_of_few)(tables, cells, shares)
    return sums.reshape(*boxes.shape[:-1], -1)


def _sums_of_many(tables: np.ndarray, cells: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Return the sums float64 (N, C) over boxes by their edges: cells (N, 4) and positions in these cells (N, 4)."""
    from vg_gym.clip import region_loops as loops

    sums = np.empty((len(cells), tables.shape[-1]))
    over_rows(loops.box_sum, len(cells), np.ascontiguousarray(tables), np.ascontiguousarray(cells), shares, sums)
    return sums


def _sums_of_few(tables: np.ndarray, cells: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Compute :func:`_sums_of_many` in numpy, equal to the bit and ten times slower, without compilation."""
    (left, top, right, bottom), (x1, y1, x2, y2) = cells.T, shares.T[..., None]
    table = np.arange(len(cells)) * len(tables) // max(1, len(cells))

    def integral(row: np.ndarray, column: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        above = tables[table, row, column] * (1 - x) + tables[table, row, column + 1] * x
        below = tables[table, row + 1, column] * (1 - x) + tables[table, row + 1, column + 1] * x
        return above * (1 - y) + below * y

    both = integral(bottom, right, y2, x2) + integral(top, left, y1, x1)
    return both - integral(bottom, left, y2, x1) - integral(top, right, y1, x2)


def box_cells(boxes: np.ndarray, grid: int) -> np.ndarray:
    """Return the area in cells (...,) of the part of each box (..., 4) inside the image, at least 1e-6."""
    inside = np.clip(boxes, 0, 1) * np.float32(grid)
    return np.maximum((inside[..., 2] - inside[..., 0]) * (inside[..., 3] - inside[..., 1]), np.float32(1e-6))


def box_mean(tables: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Return the means over the part of each box inside the image, in the shapes of :func:`box_sum`."""
    return box_sum(tables, boxes) / box_cells(boxes, tables.shape[1] - 1)[..., None]


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
        from vg_gym.clip import region_loops as loops

        sums = np.empty((batch, count, dim), dtype=np.float32)
        over_rows(loops.table_sums, batch, tables, slots, np.ascontiguousarray(boxes), sums)
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
    from vg_gym.clip import region_loops as loops

    regions, scores = np.empty_like(texts), np.empty(len(boxes), dtype=np.float32)
    ring = np.float32(size), np.float32(weight)
    over_rows(loops.table_scores, len(boxes), tables, slots, np.ascontiguousarray(boxes), texts, *ring, regions, scores)
    return regions, scores
