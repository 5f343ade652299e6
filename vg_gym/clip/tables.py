"""Summed-area tables for many boxes on few tables, on any device; the arithmetic of :mod:`vg_gym.clip.dense`.

A sum over a box is a weighted sum of 16 rows of a table, four at each corner. Torch's embedding bag does just that,
gather and sum fused, for all boxes at once. Values on a lattice of points are its bilinear grid sampling. Boxes are
arrays or tensors, tables tensors; results are of the kind of the boxes.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch

from vg_gym.boxes import clamp, namespace

_SUM, _BILINEAR, _BORDER = 0, 0, 1
"""Torch's own numbers of these modes."""
_SIGNS = np.array([[-1], [-1], [1], [1]], dtype=np.float32)
"""Of x1, y1, x2, y2: the integral up to x2 minus that up to x1."""


def table_sums(tables: torch.Tensor, slots: Any, boxes: Any) -> Any:
    """Feature sums over boxes, in cells.

    Args:
        tables: summed-area tables (T, g+1, g+1, D) float32.
        slots: (B,) int32: the table of each item.
        boxes: (B, K, 4) normalised, inside the image.

    Returns:
        (B, K, D).
    """
    xp, lines, dim = namespace(boxes), tables.shape[1], tables.shape[3]
    edges = (boxes * (lines - 1))[..., None]
    below = clamp(xp.floor(edges), 0, lines - 2)
    beyond = edges - below
    signs = _SIGNS if xp is np else _signs_on(boxes.device)
    weights = xp.concatenate([1 - beyond, beyond], axis=-1) * signs
    near = below.astype(np.int32) if xp is np else below.int()  # 32 bits reach 7 million images, in half the memory
    near = xp.concatenate([near, near + 1], axis=-1)
    rows = (near[..., 1::2, :] + slots[:, None, None, None] * lines) * lines
    index = rows[..., :, :, None, None] + near[..., None, None, 0::2, :]
    weights = weights[..., 1::2, :][..., :, :, None, None] * weights[..., None, None, 0::2, :]
    bags = torch.as_tensor(index.reshape(-1)), _bags(boxes.shape[0] * boxes.shape[1], tables.device)
    flat = torch.as_tensor(weights.reshape(-1))
    sums = torch.embedding_bag(tables.view(-1, dim), *bags, False, _SUM, False, flat)[0].view(*boxes.shape[:2], dim)
    return sums.numpy() if xp is np else sums


def lattice_values(tables: Any, x: Any, y: Any) -> Any:
    """A table's values at the crossings of lines; lines outside the image count as its border.

    Args:
        tables: (B, M, g+1, g+1).
        x: (B, K, P) columns, normalised.
        y: (B, K, Q) rows.

    Returns:
        (B, M, K, Q, P), of the kind of ``x``.
    """
    xp, (batch, count, across), down = namespace(x), x.shape, y.shape[2]
    points = xp.empty((batch, count, down, across, 2), **_like(x))
    points[..., 0], points[..., 1] = (2 * x - 1)[:, :, None], (2 * y - 1)[..., None]
    points = torch.as_tensor(points.reshape(batch, count * down, across, 2))
    values = torch.grid_sampler(torch.as_tensor(tables), points, _BILINEAR, _BORDER, True)
    values = values.view(batch, -1, count, down, across)
    return values.numpy() if xp is np else values


def _like(array: Any) -> dict[str, Any]:
    return {"dtype": array.dtype} if isinstance(array, np.ndarray) else {"dtype": array.dtype, "device": array.device}


@lru_cache
def _signs_on(device: torch.device) -> torch.Tensor:
    return torch.from_numpy(_SIGNS).to(device)


@lru_cache(maxsize=64)
def _bags(count: int, device: torch.device) -> torch.Tensor:
    return torch.arange(0, 16 * count, 16, device=device, dtype=torch.int32)
