"""Region features from dense features by summed-area tables (Crow, 1984): O(1) a box, numpy only.

A feature map is piecewise constant over its g x g cells; its integral up to (x, y) is the bilinear interpolation of the
table, so box means are exact for boxes with fractional edges. Boxes here are normalised ``xyxy``.
"""

from __future__ import annotations

import numpy as np


def unit(x: np.ndarray, eps: float = 1e-8) -> np.ndarray:
    """Vectors (..., D) scaled to length 1; a zero vector stays zero."""
    return x / np.maximum(np.sqrt(np.einsum("...d,...d->...", x, x)), eps)[..., None]


def summed_area(maps: np.ndarray) -> np.ndarray:
    """Summed-area tables, float32 (..., g+1, g+1, C), of maps (..., g, g, C)."""
    table = np.zeros((*maps.shape[:-3], maps.shape[-3] + 1, maps.shape[-2] + 1, maps.shape[-1]), dtype=np.float32)
    # Line by line: numpy's cumsum along an outer axis is several times slower than these contiguous additions.
    for y in range(maps.shape[-3]):
        np.add(table[..., y, 1:, :], maps[..., y, :, :], out=table[..., y + 1, 1:, :])
    for x in range(maps.shape[-2]):
        table[..., :, x + 1, :] += table[..., :, x, :]
    return table


def _integral(table: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Integrals (B, N, C), in cells, over [0, x] x [0, y] for normalised x, y (B, N)."""
    grid = table.shape[1] - 1
    fx, fy = np.clip(x, 0, 1) * np.float32(grid), np.clip(y, 0, 1) * np.float32(grid)
    ix, iy = np.minimum(fx.astype(np.intp), grid - 1), np.minimum(fy.astype(np.intp), grid - 1)
    wx, wy = (fx - ix)[..., None], (fy - iy)[..., None]
    row = np.arange(len(table))[:, None]
    top = table[row, iy, ix] * (1 - wx) + table[row, iy, ix + 1] * wx
    bottom = table[row, iy + 1, ix] * (1 - wx) + table[row, iy + 1, ix + 1] * wx
    return top * (1 - wy) + bottom * wy


def box_sum(table: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Sums over boxes in cells: tables (B, g+1, g+1, C), boxes (B, 4) or (B, N, 4) -> (B, C) or (B, N, C)."""
    if boxes.ndim == 2:
        return box_sum(table, boxes[:, None])[:, 0]
    x1, y1, x2, y2 = np.moveaxis(boxes, -1, 0)
    both = _integral(table, x2, y2) + _integral(table, x1, y1)
    return both - _integral(table, x1, y2) - _integral(table, x2, y1)


def box_cells(boxes: np.ndarray, grid: int) -> np.ndarray:
    """Area (...,) in cells of the part of each box (..., 4) inside the image, at least 1e-6."""
    inside = np.clip(boxes, 0, 1) * np.float32(grid)
    return np.maximum((inside[..., 2] - inside[..., 0]) * (inside[..., 3] - inside[..., 1]), np.float32(1e-6))


def box_mean(table: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Means over the part of each box inside the image; shapes as :func:`box_sum`."""
    return box_sum(table, boxes) / box_cells(boxes, table.shape[1] - 1)[..., None]


def _edge_weights(low: np.ndarray, high: np.ndarray, cells: int, grid: int) -> np.ndarray:
    """Interpolation weights (B, K, cells+1, grid+1) of evenly spaced window lines into a table's lines."""
    lines = low[..., None] + (high - low)[..., None] * np.linspace(0, 1, cells + 1, dtype=np.float32)
    lines = np.clip(lines, 0, 1) * np.float32(grid)
    return np.maximum(1 - np.abs(lines[..., None] - np.arange(grid + 1, dtype=np.float32)), 0)


def grid_mean(table: np.ndarray, windows: np.ndarray, cells: int) -> np.ndarray:
    """Area averages on a small grid inside windows that may leave the image, where the map counts as 0.

    Args:
        table: summed-area tables (B, g+1, g+1, C).
        windows: (B, K, 4) normalised boxes.
        cells: G, cells per side of the small grid.

    Returns:
        (B, K, G, G, C) float32, row (y) first.
    """
    grid = table.shape[1] - 1
    wx = _edge_weights(windows[..., 0], windows[..., 2], cells, grid)
    wy = _edge_weights(windows[..., 1], windows[..., 3], cells, grid)
    wx, wy = np.diff(wx, axis=-2), np.diff(wy, axis=-2)
    # Stacked matmuls: one small product per item, so that a row does not depend on the batch it is in.
    batch, count = windows.shape[:2]
    channels = table.shape[-1]
    rows = wy.reshape(batch, count * cells, grid + 1) @ table.reshape(batch, grid + 1, -1)
    rows = rows.reshape(batch, count, cells, grid + 1, channels)
    sums = np.moveaxis(np.moveaxis(rows, -1, -2) @ np.swapaxes(wx, -1, -2)[:, :, None], -2, -1)
    extent = (windows[..., 2:] - windows[..., :2]) * np.float32(grid / cells)
    area = np.maximum(extent[..., 0] * extent[..., 1], np.float32(1e-6))
    return (sums / area[..., None, None, None]).astype(np.float32)
