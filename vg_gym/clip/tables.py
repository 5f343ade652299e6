"""Summed-area tables for many boxes on few tables, on any device, with the arithmetic of :mod:`vg_gym.clip.dense`.

A sum over a box is a weighted sum of 16 rows of a table, four at each corner. Arrays use one compiled loop. Tensors use
torch's embedding bag, which fuses gather and sum, and its bilinear grid sampling for a lattice of points. Tables, boxes
and results are all arrays or all tensors.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from vg_gym.clip import kernels
from vg_gym.runtime.lazy_imports import torch

_SUM, _BILINEAR, _BORDER = 0, 0, 1
"""Codes of these modes in torch."""


def table_sums(tables: Any, slots: Any, boxes: Any) -> Any:
    """Return feature sums over boxes, in cells.

    All arguments are arrays or all are tensors.

    Args:
        tables: summed-area tables, float32 (T, g+1, g+1, D).
        slots: index of the table of each item, int32 (B,).
        boxes: normalised boxes inside the image, (B, K, 4).

    Returns:
        Sums (B, K, D).
    """
    (batch, count, _), dim = boxes.shape, tables.shape[3]
    if isinstance(boxes, np.ndarray):
        sums = np.empty((batch, count, dim), dtype=np.float32)
        kernels.over_rows(kernels.sum_boxes, batch, tables, slots, np.ascontiguousarray(boxes), sums)
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


def lattice_values(tables: torch.Tensor, lines: torch.Tensor) -> torch.Tensor:
    """Sample tables bilinearly at the crossings of columns and rows, for all maps of an item at once.

    Args:
        tables: summed-area tables (B, M, g+1, g+1).
        lines: normalised columns and rows (B, 2, K, P); those outside the image are moved to its border.

    Returns:
        Values (B, M, K, P, P).
    """
    batch, _, count, number = lines.shape
    across, down = torch.broadcast_tensors(2 * lines[:, 0, :, None] - 1, 2 * lines[:, 1, :, :, None] - 1)
    points = torch.stack([across, down], dim=-1).view(batch, count * number, number, 2)
    sampled = torch.grid_sampler(tables, points, _BILINEAR, _BORDER, True)
    return sampled.view(batch, -1, count, number, number)
