"""Summed-area tables for many boxes on few tables, on any device; the arithmetic of :mod:`vg_gym.clip.dense`.

A sum over a box is a weighted sum of 16 rows of a table, four at each corner. Torch's embedding bag does just that,
gather and sum fused, for all boxes at once; for a single box, too, it takes less time than numpy's gather alone. Values
on a lattice of points are its bilinear grid sampling. Boxes are arrays or tensors, tables of features tensors; results
are of the kind of the boxes.
"""

from __future__ import annotations

from functools import lru_cache, partial
from threading import get_ident
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
    r = _room(batch, count, lines, None if xp is np else boxes.device)
    xp.multiply(boxes, r.constants.grid, out=r.edges)
    xp.floor(r.edges, out=r.below)
    xp.minimum(r.below, r.constants.last, out=r.below)
    r.cells[...] = r.below  # whole numbers of 32 bits, which reach 7 million images in half the memory
    xp.subtract(r.edges, r.below, out=r.edges)
    xp.multiply(r.beyond, r.constants.slopes, out=r.weights)
    xp.add(r.weights, r.constants.starts, out=r.weights)
    xp.multiply(r.down, r.across, out=r.products)
    xp.multiply(r.cells, r.constants.strides, out=r.cells)
    xp.multiply(slots, lines**2, out=r.first)
    xp.add(r.rows, r.first_of_each, out=r.rows)
    xp.add(r.rows_of_corners, r.columns_of_corners, out=r.corners)
    xp.add(r.spread_corners, r.constants.steps, out=r.index)
    found = torch.embedding_bag(tables.view(-1, dim), r.flat_index, r.bags, False, _SUM, False, r.flat_products)[0]
    return (found.numpy() if xp is np else found).reshape(batch, count, dim)


def lattice_values(tables: Any, lines: Any) -> Any:
    """A table's values at the crossings of columns and rows, by bilinear sampling, all maps of an item at once.

    Args:
        tables: (B, M, g+1, g+1), of the kind of the lines.
        lines: (B, 2, K, P) columns and rows, normalised; those outside the image count as its border.

    Returns:
        (B, M, K, P, P).
    """
    (batch, _, count, number), xp = lines.shape, namespace(lines)
    r = _lattice(batch, count, number, None if xp is np else lines.device)
    xp.add(lines, lines, out=r.at)
    xp.subtract(r.at, r.one, out=r.at)
    r.across[...], r.down[...] = r.columns, r.rows
    maps = torch.from_numpy(tables) if xp is np else tables
    sampled = torch.grid_sampler(maps, r.points, _BILINEAR, _BORDER, True)
    values: Any = sampled.numpy() if xp is np else sampled
    return values.reshape(batch, -1, count, number, number)


class _Lattice:
    """Room for the points of :func:`lattice_values` (B, 2, K, P), as :class:`_Room`."""

    def __init__(self, batch: int, count: int, number: int, device: torch.device | None):
        make: Any = partial(torch.empty, dtype=torch.float32, device=device)
        at, points = make(batch, 2, count, number), make(batch, count, number, number, 2)
        self.points: torch.Tensor = points.view(batch, count * number, number, 2)
        """Where to sample, x and y in [-1, 1], a tensor; the rest are arrays where there is no device."""
        parts: Any = (at, points, torch.ones((), device=device))
        self.at, shown, self.one = (part.numpy() for part in parts) if device is None else parts
        self.across, self.down = shown[..., 0], shown[..., 1]
        self.columns, self.rows = self.at[:, 0, :, None], self.at[:, 1, :, :, None]


class Constants(NamedTuple):
    """Numbers of tables with g+1 lines, for left, top, right and bottom edges."""

    grid: Any
    """g."""
    last: Any
    """The last line that has another behind it."""
    slopes: Any
    """With :attr:`starts`, the weights (4, 2) of the lines beside an edge, from how far beyond the first it is."""
    starts: Any
    strides: Any
    """How far apart lines are in the table (4,), in rows."""
    steps: Any
    """From the first row beside a corner to all four (2, 1, 2), in rows: down, then across."""


@lru_cache
def constants(lines: int, device: torch.device | None) -> Constants:
    """Of tables with so many lines; arrays where the device is None, else tensors."""
    sign = np.array([[-1], [-1], [1], [1]], dtype=np.float32)  # the integral up to x2 minus that up to x1
    strides, steps = np.array([1, lines, 1, lines]), np.array([[[0, 1]], [[lines, lines + 1]]])
    weights = sign * np.array([-1, 1], dtype=np.float32), sign * np.array([1, 0], dtype=np.float32)
    ends = (np.array(number, dtype=np.float32) for number in (lines - 1, lines - 2))
    arrays = (*ends, *weights, strides.astype(np.int32), steps.astype(np.int32))
    return Constants(*(arrays if device is None else (torch.from_numpy(array).to(device) for array in arrays)))


class _Room:
    """What :func:`table_sums` writes to on its way, and views of it; for few boxes, making these took half of its time.

    Args:
        batch: B.
        count: K.
        lines: g + 1.
        device: of tensors; None for arrays.
    """

    def __init__(self, batch: int, count: int, lines: int, device: torch.device | None):
        self.constants = constants(lines, device)
        shapes = {"edges": (4,), "below": (4,), "weights": (4, 2), "products": (2, 2, 2, 2)}
        whole = {"cells": (4,), "corners": (2, 2), "index": (2, 2, 2, 2)}
        make: Any = np.empty if device is None else partial(torch.empty, device=device)
        kinds = (np.float32, np.int32) if device is None else (torch.float32, torch.int32)
        for kind, parts in zip(kinds, (shapes, whole), strict=True):
            vars(self).update({name: make((batch, count, *shape), dtype=kind) for name, shape in parts.items()})
        self.first = make((batch,), dtype=kinds[1])
        self.first_of_each, self.beyond = self.first[:, None, None], self.edges[..., None]
        self.down, self.across = self.weights[:, :, 1::2, :, None, None], self.weights[:, :, None, None, 0::2, :]
        self.rows = self.cells[:, :, 1::2]
        self.rows_of_corners, self.columns_of_corners = self.rows[..., None], self.cells[:, :, None, 0::2]
        self.spread_corners = self.corners[:, :, :, None, :, None]
        flat: Any = (self.index.reshape(-1), self.products.reshape(-1))
        self.flat_index: torch.Tensor = torch.from_numpy(flat[0]) if device is None else flat[0]
        self.flat_products: torch.Tensor = torch.from_numpy(flat[1]) if device is None else flat[1]
        self.bags = _bags(batch * count, 16, device)

    constants: Constants
    edges: Any
    """Edges in cells (B, K, 4), then how far each is beyond the line before it."""
    below: Any
    """Those lines (B, K, 4); :attr:`cells`: the same, int32, then in rows of the tables."""
    weights: Any
    """Of the lines before and behind each edge (B, K, 4, 2)."""
    products: Any
    """Weights of 16 rows (B, K, 2, 2, 2, 2): top or bottom, line before or behind it; left or right, likewise."""
    cells: Any
    corners: Any
    """First rows beside the corners (B, K, 2, 2)."""
    index: Any
    """All rows, as :attr:`products`."""


SMALL = 4096
"""Boxes, or windows, up to which the room for them is kept for the next call."""


def _room(batch: int, count: int, lines: int, device: torch.device | None) -> _Room:
    """Room in memory is kept, for each thread its own; a device gives it in no time."""
    if batch * count <= SMALL and (device is None or device.type == "cpu"):
        return _kept_room(batch, count, lines, device, get_ident())
    return _Room(batch, count, lines, device)


@lru_cache(maxsize=16)
@torch.inference_mode(False)  # or it could only be used where there is no gradient
def _kept_room(batch: int, count: int, lines: int, device: torch.device | None, thread: int) -> _Room:
    return _Room(batch, count, lines, device)


def _lattice(batch: int, count: int, number: int, device: torch.device | None) -> _Lattice:
    """As :func:`_room`."""
    if batch * count <= SMALL and (device is None or device.type == "cpu"):
        return _kept_lattice(batch, count, number, device, get_ident())
    return _Lattice(batch, count, number, device)


@lru_cache(maxsize=16)
@torch.inference_mode(False)
def _kept_lattice(batch: int, count: int, number: int, device: torch.device | None, thread: int) -> _Lattice:
    return _Lattice(batch, count, number, device)


@lru_cache(maxsize=64)
def _bags(count: int, size: int, device: torch.device | None) -> torch.Tensor:
    return torch.arange(0, size * count, size, device=device, dtype=torch.int32)
