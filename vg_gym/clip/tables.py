"""Summed-area tables for many boxes on few tables, on any device; the arithmetic of :mod:`vg_gym.clip.dense`.

A sum over a box is a weighted sum of 16 rows of a table, four at each corner. Torch's embedding bag does just that,
gather and sum fused, for all boxes at once; for a single box, too, it takes less time than numpy's gather alone. Values
on a lattice of points are its bilinear grid sampling. Boxes are arrays or tensors, tables of features tensors; results
are of the kind of the boxes.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch

from vg_gym.boxes import namespace

_SUM, _BILINEAR, _BORDER = 0, 0, 1
"""Torch's own numbers of these modes."""


def table_sums(tables: torch.Tensor, slots: Any, boxes: Any) -> Any:
    """Feature sums over boxes, in cells.

    Args:
        tables: summed-area tables (T, g+1, g+1, D) float32.
        slots: (B,) int32: the table of each item.
        boxes: (B, K, 4) normalised, inside the image.

    Returns:
        (B, K, D).
    """
    xp, lines, dim, (batch, count, _) = namespace(boxes), tables.shape[1], tables.shape[3], boxes.shape
    c = _constants(lines, None if isinstance(boxes, np.ndarray) else boxes.device)
    edges = boxes * c.grid
    below = xp.minimum(xp.floor(edges), c.last)
    cells, beyond = below.astype(np.int32) if xp is np else below.int(), edges - below
    weights = beyond[..., None] * c.slopes + c.starts
    near = cells[..., None] * c.strides + c.steps  # 32 bits reach 7 million images, in half the memory
    columns, rows = near[..., None, None, 0::2, :], near[..., 1::2, :, None, None]
    rows += (slots * lines**2)[:, None, None, None, None, None]
    weights = weights[..., 1::2, :, None, None] * weights[..., None, None, 0::2, :]
    return _bag_sums(tables.view(-1, dim), rows + columns, weights, 16).reshape(batch, count, dim)


def lattice_values(tables: Any, lines: Any) -> Any:
    """A table's values at the crossings of columns and rows, by bilinear sampling, all maps of an item at once.

    Args:
        tables: (B, M, g+1, g+1), of the kind of the lines.
        lines: (B, 2, K, P) columns and rows, normalised; those outside the image count as its border.

    Returns:
        (B, M, K, P, P).
    """
    batch, _, count, number = lines.shape
    shape, at = (batch, count, number, number, 2), lines + lines - 1
    points: Any = np.empty(shape, at.dtype) if isinstance(at, np.ndarray) else at.new_empty(shape)
    points[..., 0], points[..., 1] = at[:, 0, :, None], at[:, 1, :, :, None]
    points = points.reshape(batch, count * number, number, 2)
    shape = (batch, -1, count, number, number)
    if isinstance(lines, np.ndarray):
        values = torch.grid_sampler(torch.from_numpy(tables), torch.from_numpy(points), _BILINEAR, _BORDER, True)
        return values.numpy().reshape(shape)
    return torch.grid_sampler(tables, points, _BILINEAR, _BORDER, True).view(shape)


class _Constants(NamedTuple):
    """Numbers of tables with g+1 lines, for left, top, right and bottom edges."""

    grid: Any
    """g."""
    last: Any
    """The last line that has another behind it."""
    slopes: Any
    """With :attr:`starts`, the weights (4, 2) of the lines beside an edge, from how far beyond the first it is."""
    starts: Any
    strides: Any
    """How far apart lines are in the table (4, 1), in rows."""
    steps: Any
    """From the first line beside an edge to both (4, 2)."""


@lru_cache
def _constants(lines: int, device: torch.device | None) -> _Constants:
    """Arrays where the device is None, else tensors."""
    sign = np.array([[-1], [-1], [1], [1]], dtype=np.float32)  # the integral up to x2 minus that up to x1
    strides = np.array([[1], [lines], [1], [lines]], dtype=np.int32)
    weights = sign * np.array([-1, 1], dtype=np.float32), sign * np.array([1, 0], dtype=np.float32)
    ends = (np.array(number, dtype=np.float32) for number in (lines - 1, lines - 2))
    arrays = (*ends, *weights, strides, strides * np.array([0, 1], dtype=np.int32))
    return _Constants(*(arrays if device is None else (torch.from_numpy(array).to(device) for array in arrays)))


def _bag_sums(rows: torch.Tensor, index: Any, weights: Any, size: int) -> Any:
    """Weighted sums (N, D) of ``size`` rows (R, D) each, by index and weight (N * size in all)."""
    if isinstance(weights, np.ndarray):
        return _bag_sums(rows, torch.from_numpy(index.reshape(-1)), torch.from_numpy(weights.reshape(-1)), size).numpy()
    bags = _bags(index.numel() // size, size, rows.device)
    return torch.embedding_bag(rows, index.reshape(-1), bags, False, _SUM, False, weights.reshape(-1))[0]


@lru_cache(maxsize=64)
def _bags(count: int, size: int, device: torch.device) -> torch.Tensor:
    return torch.arange(0, size * count, size, device=device, dtype=torch.int32)
