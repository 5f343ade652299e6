"""Region features from dense features by summed-area tables (Crow, 1984), in O(1) per box.

A feature map is piecewise constant over its g x g cells. Its integral up to (x, y) is the bilinear interpolation of the
table, so box means are exact for boxes with fractional edges. Boxes are normalised ``xyxy``.

This module uses numpy and one table for each item of the batch. :mod:`vg_gym.clip.tables` does the same for many boxes
on few tables.
"""

from __future__ import annotations

import numpy as np

from vg_gym.boxes import namespace
from vg_gym.clip import kernels


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


def lattice_sums(table: np.ndarray, x: np.ndarray, y: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Return the sums over all boxes that combine a span in x with a span in y.

    The result is bit-identical to :func:`box_sum` and several times faster.

    Args:
        table: summed-area table of one image (g+1, g+1, C).
        x: left and right edges, normalised (2, W).
        y: top and bottom edges, normalised (2, H).
        out: output array, float64 (H, W, C); None: a new array.

    Returns:
        Sums in cells, float64 (H, W, C).
    """
    (ix, wx), (iy, wy) = _cell(x, len(table) - 1), _cell(y, len(table) - 1)
    sums = np.empty((y.shape[1], x.shape[1], table.shape[-1])) if out is None else out
    kernels.over_rows(kernels.lattice_sums, len(sums), np.ascontiguousarray(table), ix, wx, iy, wy, sums)
    return sums


def _cell(at: np.ndarray, grid: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the cell of a normalised coordinate and the position in the cell, 0 to 1."""
    place = np.clip(at, 0, 1) * np.float32(grid)
    cell = np.minimum(place.astype(np.intp), grid - 1)
    return cell, place - cell


def _integral(table: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the integrals in cells (B, N, C) over [0, x] x [0, y] for normalised x, y (B, N)."""
    (ix, wx), (iy, wy) = _cell(x, table.shape[1] - 1), _cell(y, table.shape[1] - 1)
    wx, wy = wx[..., None], wy[..., None]
    row = np.arange(len(table))[:, None]
    top = table[row, iy, ix] * (1 - wx) + table[row, iy, ix + 1] * wx
    bottom = table[row, iy + 1, ix] * (1 - wx) + table[row, iy + 1, ix + 1] * wx
    return top * (1 - wy) + bottom * wy


def box_sum(table: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Return the sums over boxes (B, 4) or (B, N, 4) in cells, (B, C) or (B, N, C), from tables (B, g+1, g+1, C)."""
    if boxes.ndim == 2:
        return box_sum(table, boxes[:, None])[:, 0]
    x1, y1, x2, y2 = np.moveaxis(boxes, -1, 0)
    both = _integral(table, x2, y2) + _integral(table, x1, y1)
    return both - _integral(table, x1, y2) - _integral(table, x2, y1)


def box_cells(boxes: np.ndarray, grid: int) -> np.ndarray:
    """Return the area in cells (...,) of the part of each box (..., 4) inside the image, at least 1e-6."""
    inside = np.clip(boxes, 0, 1) * np.float32(grid)
    return np.maximum((inside[..., 2] - inside[..., 0]) * (inside[..., 3] - inside[..., 1]), np.float32(1e-6))


def box_mean(table: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Return the means over the part of each box inside the image, in the shapes of :func:`box_sum`."""
    return box_sum(table, boxes) / box_cells(boxes, table.shape[1] - 1)[..., None]
