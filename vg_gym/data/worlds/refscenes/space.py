"""Places, orders and relations of the things of a scene graph, each with a margin.

Every threshold has two values. A difference above the first is clear to any viewer, and nobody mentions a difference
below the second. Between the two an expression is ambiguous.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np

from vg_gym.data.worlds.refscenes.graph import Fit, Graph

LEAD = 0.09
"""Difference of two centres, as a fraction of the picture's side, from which one is clearly further to a side."""
DEPTH_RATIO = 1.15
"""Ratio of two distances from the camera from which one is clearly closer."""
SIZE_RATIO = 1.25
"""Ratio of two heights from which one is clearly larger."""
CLEAR_SIDE, POSSIBLE_SIDE = 0.36, 0.5
"""Distance of a centre from the border, as a fraction of the picture, up to which a thing is on that side."""
CLEAR_MIDDLE, POSSIBLE_MIDDLE = 0.09, 0.2
"""Distance of a centre from the middle, as a fraction of the picture, up to which a thing is in the middle."""
CLEAR_GAP, POSSIBLE_GAP = 0.09, 0.35
"""Gap between two boxes, as a fraction of the short side, up to which two things are next to each other."""
CLOSER_RATIO = 1.4
"""Ratio of two distances from an anchor from which one thing is clearly closer to it."""

RANKS = ("left", "right", "near", "far", "large", "small", "tall", "short")
"""Orders of the things of a picture."""
PLACES = ("left", "right", "middle", "front left", "front right", "back left", "back right")
"""Places in a picture; the last four are its corners."""
RELATIONS = ("left of", "right of", "in front of", "behind", "next to", "on", "under", "holding", "held by")
"""Relations of a thing to another; "under" is the inverse of "on": it has the other upon it."""

Rows = list[int]
"""For every thing the mask of others."""


def _once(function: Callable[[Graph, Any], Any]) -> Callable[[Graph, Any], Any]:
    """Return a function of a graph and a key that evaluates each key once for a graph."""

    @wraps(function)
    def remembered(graph: Graph, key: Any) -> Any:
        name = (function.__name__, key)
        if name not in graph.geometry:
            graph.geometry[name] = function(graph, key)
        return graph.geometry[name]

    return remembered


def centers(graph: Graph) -> np.ndarray:
    """Return the centres of the boxes as fractions of the picture's sides, float64 (N, 2)."""
    return (graph.boxes[:, :2] + graph.boxes[:, 2:]) / 2 / (graph.width, graph.height)


def _rows(flags: np.ndarray) -> Rows:
    """Return the rows of a boolean matrix as bit masks."""
    packed = np.packbits(flags, axis=1, bitorder="little")
    return [int.from_bytes(row.tobytes(), "little") for row in packed]


def _beyond(values: np.ndarray, margin: float) -> np.ndarray:
    """Return where the value of the row exceeds that of the column by a margin, bool (N, N)."""
    return values[:, None] - values[None, :] >= margin


@_once
def leads(graph: Graph, rank: str) -> Rows:
    """Return for every thing the mask of those that it clearly comes before in an order."""
    sign = -1.0 if rank in ("left", "near", "small", "short") else 1.0
    if rank in ("left", "right"):
        return _rows(_beyond(sign * centers(graph)[:, 0], LEAD))
    if rank in ("near", "far"):
        return _rows(_beyond(sign * np.log(np.maximum(graph.depth, 0.1)), np.log(DEPTH_RATIO)))
    heights = np.log([thing.height_m for thing in graph.things])
    sides = graph.boxes[:, 2:] - graph.boxes[:, :2]
    extents = np.log(np.maximum(sides.prod(1) ** 0.5 if rank in ("large", "small") else sides[:, 1], 1e-6))
    margin = np.log(SIZE_RATIO)
    return _rows(_beyond(sign * heights, margin) & _beyond(sign * extents, margin / 2))


@_once
def place(graph: Graph, name: str) -> Fit:
    """Return the things in a place of the picture."""
    x, y = centers(graph).T
    if name == "middle":
        return graph.flags(np.abs(x - 0.5) <= CLEAR_MIDDLE, np.abs(x - 0.5) <= POSSIBLE_MIDDLE)
    across = {"left": x, "right": 1 - x}[name.split()[-1]]
    clear, possible = across <= CLEAR_SIDE, across <= POSSIBLE_SIDE
    if name in ("left", "right"):
        return graph.flags(clear, possible)
    along = 1 - y if name.startswith("front") else y
    return graph.flags(clear & (along <= CLEAR_SIDE), possible & (along <= POSSIBLE_SIDE))


@_once
def relation(graph: Graph, name: str) -> tuple[Rows, Rows]:
    """Return for every anchor the masks of the things that are clearly, and possibly, in a relation to it."""
    clear, possible = _MATRICES[name](graph)
    return _rows(clear.T), _rows(possible.T)


Matrices = tuple[np.ndarray, np.ndarray]
"""Two boolean matrices (N, N): the thing of the row is clearly, and possibly, in a relation to that of the column."""


def _attached(graph: Graph) -> np.ndarray:
    """Return where one of two things stands on the other or holds it, or they are the same, bool (N, N)."""
    attached = np.eye(len(graph.things), dtype=bool)
    for i, thing in enumerate(graph.things):
        for other in (thing.support, thing.holds):
            if other is not None:
                attached[i, other] = attached[other, i] = True
    return attached


def _beside(graph: Graph, sign: float) -> Matrices:
    """Return the matrices of "left of" (sign -1) and "right of" (sign 1)."""
    x = centers(graph)[:, 0]
    half = (graph.boxes[:, 2] - graph.boxes[:, 0]) / 2 / graph.width
    along = sign * (x[:, None] - x[None, :])
    y = centers(graph)[:, 1]
    across = np.abs(y[:, None] - y[None, :])
    clear = (along >= LEAD) & (along >= 0.8 * half[None, :]) & (across <= along + 0.25) & ~_attached(graph)
    return clear, (along > -0.01) & ~np.eye(len(x), dtype=bool)


def _aligned(graph: Graph) -> tuple[np.ndarray, np.ndarray]:
    """Return how far apart two centres are across the picture, and the sum of half the widths, float64 (N, N)."""
    x = (graph.boxes[:, 0] + graph.boxes[:, 2]) / 2
    half = (graph.boxes[:, 2] - graph.boxes[:, 0]) / 2
    return np.abs(x[:, None] - x[None, :]), half[:, None] + half[None, :]


def _depths(graph: Graph, sign: float) -> Matrices:
    """Return the matrices of "in front of" (sign -1) and "behind" (sign 1)."""
    depth = np.log(np.maximum(graph.depth, 0.1))
    along = sign * (depth[:, None] - depth[None, :])
    across, widths = _aligned(graph)
    clear = (along >= np.log(DEPTH_RATIO)) & (across <= 0.75 * widths) & ~_attached(graph)
    possible = (along > -0.04) & (across <= 1.4 * widths + 0.05)
    return clear, possible & ~np.eye(len(depth), dtype=bool)


def _near(graph: Graph) -> Matrices:
    """Return the matrices of "next to": side by side at a similar distance from the camera."""
    across, widths = _aligned(graph)
    depth = np.log(np.maximum(graph.depth, 0.1))
    apart = np.abs(depth[:, None] - depth[None, :])
    low, high = graph.boxes[:, 1], graph.boxes[:, 3]
    level = np.minimum(high[:, None], high[None, :]) - np.maximum(low[:, None], low[None, :])
    clear = (across - widths <= CLEAR_GAP) & (across >= 0.6 * widths) & (apart <= 0.12) & (level > 0)
    possible = (across - widths <= POSSIBLE_GAP) & (apart <= 0.5)
    return clear & ~_attached(graph), possible & ~np.eye(len(depth), dtype=bool)


def _links(graph: Graph, field: str) -> Matrices:
    """Return the matrices of an exact relation: ``support`` or ``holds``."""
    links = np.zeros((len(graph.things),) * 2, bool)
    for i, thing in enumerate(graph.things):
        other = getattr(thing, field)
        if other is not None:
            links[i, other] = True
    return links, links


def _turned(matrices: Matrices) -> Matrices:
    """Return the matrices of the inverse relation."""
    return matrices[0].T, matrices[1].T


_MATRICES: dict[str, Callable[[Graph], Matrices]] = {
    "left of": lambda graph: _beside(graph, -1),
    "right of": lambda graph: _beside(graph, 1),
    "in front of": lambda graph: _depths(graph, -1),
    "behind": lambda graph: _depths(graph, 1),
    "next to": _near,
    "on": lambda graph: _links(graph, "support"),
    "under": lambda graph: _turned(_links(graph, "support")),
    "holding": lambda graph: _links(graph, "holds"),
    "held by": lambda graph: _turned(_links(graph, "holds")),
}


@_once
def between(graph: Graph, pair: tuple[int, int]) -> Fit:
    """Return the things between two others, from left to right and at about their distance."""
    first, second = pair
    x, depth = centers(graph)[:, 0], np.log(np.maximum(graph.depth, 0.1))
    low, high = sorted((x[first], x[second]))
    near, far = sorted((depth[first], depth[second]))
    other = np.ones(len(x), bool)
    other[[first, second]] = False
    clear = (x >= low + 0.06) & (x <= high - 0.06) & (depth >= near - 0.15) & (depth <= far + 0.15)
    possible = (x >= low - 0.02) & (x <= high + 0.02) & (depth >= near - 0.6) & (depth <= far + 0.6)
    return graph.flags(clear & other, possible & other)


@_once
def closer(graph: Graph, anchor: int) -> Rows:
    """Return for every thing the mask of those that are clearly farther from an anchor, in space and in the picture."""
    positions = np.array([thing.position for thing in graph.things])
    space = np.linalg.norm(positions - positions[anchor], axis=1)
    middles = (graph.boxes[:, :2] + graph.boxes[:, 2:]) / 2
    plane = np.linalg.norm(middles - middles[anchor], axis=1)
    ratios = [np.log(np.maximum(distance, 1e-3)) for distance in (space, plane)]
    return _rows(_beyond(-ratios[0], np.log(CLOSER_RATIO)) & _beyond(-ratios[1], np.log(1.15)))
