"""Resolution of superlatives, ordinals and relations with boxes (after ReCLIP, Subramanian et al., ACL 2022).

CLIP gives the probability that a proposal fits a phrase. The superlatives and relations that
:func:`vg_gym.language.parsing.parse` separates then constrain its place by soft logic over the proposals' boxes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym.language.parsing import Parsed

Phrases = Callable[[str], np.ndarray]
"""Function from a phrase to the logits (P,) of the proposals."""


class Geometry(NamedTuple):
    """Measures of P boxes for superlatives and relations."""

    x: np.ndarray
    """Horizontal centres (P,)."""
    y: np.ndarray
    """Vertical centres (P,), which increase downwards."""
    area: np.ndarray
    """Areas (P,)."""
    middle: float
    """Horizontal middle of the union of all boxes."""
    nearness: np.ndarray
    """Nearness to the viewer (P,) in [0, 2]: position of the lower edge in the union of all boxes, from top to bottom,
    plus the side of the box relative to the largest one. On flat ground, nearer objects are lower and larger."""
    boxes: np.ndarray
    """Boxes (P, 4)."""

    @classmethod
    def of(cls, boxes: np.ndarray) -> Geometry:
        """Return the geometry of boxes (P, 4)."""
        x, y = (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2
        area, top = box_ops.area(boxes), boxes[:, 1].min()
        low = (boxes[:, 3] - top) / (boxes[:, 3].max() - top + 1e-9)
        nearness = low + np.sqrt(area / (area.max() + 1e-9))
        return cls(x, y, area, (boxes[:, 0].min() + boxes[:, 2].max()) / 2, nearness, boxes)


RANKS: dict[str, Callable[[Geometry], np.ndarray]] = {
    "left": lambda g: -g.x,
    "right": lambda g: g.x,
    "top": lambda g: -g.y,
    "bottom": lambda g: g.y,
    "middle": lambda g: -np.abs(g.x - g.middle),
    "front": lambda g: g.nearness,
    "back": lambda g: -g.nearness,
    "largest": lambda g: g.area,
    "smallest": lambda g: -g.area,
}
"""Superlative -> values (P,), of which the largest belongs to the described box."""


def _near(g: Geometry) -> np.ndarray:
    reach = np.median(np.sqrt(g.area)) + 1e-6
    near = np.exp(-np.hypot(_apart(g.x), _apart(g.y)) / reach)
    np.fill_diagonal(near, 0)
    return near


def _apart(values: np.ndarray) -> np.ndarray:
    """Return differences (P, P), the value of proposal i minus that of anchor j."""
    return values[:, None] - values[None]


def _towards(along: np.ndarray, across: np.ndarray) -> np.ndarray:
    """Return how well a direction holds, in [0, 1]; offsets across it reduce the value."""
    return np.where(along > 0, along / (along + np.abs(across) + 1e-9), 0.0)


def _nearer(g: Geometry) -> np.ndarray:
    """Return how well "in front of" holds: the proposal is beside or over the anchor, and its lower edge is lower."""
    lower, gap = g.boxes[:, 3], _gaps(g.boxes)
    reach = np.sqrt(g.area)[:, None] + np.sqrt(g.area)[None] + 1e-9
    values = 0.5 + 0.5 * np.tanh(4 * _apart(lower) / reach)
    values = values * np.exp(-2 * gap / reach)
    np.fill_diagonal(values, 0)
    return values


def _gaps(boxes: np.ndarray) -> np.ndarray:
    """Return the horizontal distances (P, P) between boxes, 0 where they overlap."""
    return np.maximum(
        0, np.maximum(boxes[:, None, 0], boxes[None, :, 0]) - np.minimum(boxes[:, None, 2], boxes[None, :, 2])
    )


def _covered(inner: np.ndarray, outer: np.ndarray) -> np.ndarray:
    """Return the share (P, Q) of boxes (P, 4) that lies in boxes (Q, 4)."""
    low, high = np.maximum(inner[:, None, :2], outer[None, :, :2]), np.minimum(inner[:, None, 2:], outer[None, :, 2:])
    shares = np.maximum(high - low, 0).prod(axis=2) / (box_ops.area(inner)[:, None] + 1e-9)
    return np.minimum(shares, 1)


def _on(g: Geometry) -> np.ndarray:
    """Return how well "on" holds: the lower half of the proposal meets the anchor, whichever covers the other more."""
    lower = g.boxes.copy()
    lower[:, 1] = g.y
    values = np.maximum(_covered(lower, g.boxes), _covered(g.boxes, lower).T)
    np.fill_diagonal(values, 0)
    return values


def _inside(g: Geometry) -> np.ndarray:
    values = _covered(g.boxes, g.boxes)
    np.fill_diagonal(values, 0)
    return values


HOLDS: dict[str, Callable[[Geometry], np.ndarray]] = {
    "left of": lambda g: _towards(-_apart(g.x), _apart(g.y)),
    "right of": lambda g: _towards(_apart(g.x), _apart(g.y)),
    "in front of": _nearer,
    "behind": lambda g: _nearer(g).T,
    "above": lambda g: _towards(-_apart(g.y), _apart(g.x)),
    "below": lambda g: _towards(_apart(g.y), _apart(g.x)),
    "near": _near,
    "larger": lambda g: (g.area[:, None] > g.area[None]).astype(float),
    "smaller": lambda g: (g.area[:, None] < g.area[None]).astype(float),
    "on": _on,
    "inside": _inside,
}
"""Relation -> values (P, P) in [0, 1]: how well it holds between proposal i and anchor j; "between" has two anchors."""


def between(g: Geometry) -> np.ndarray:
    """Return how well proposal i lies between anchors j and k, (P, P, P) in [0, 1]: 1 on the line that joins them."""
    centers = np.stack([g.x, g.y], axis=1)
    away = centers[None] - centers[:, None]
    away = away / (np.linalg.norm(away, axis=2, keepdims=True) + 1e-9)
    return np.clip(-np.einsum("ijd,ikd->ijk", away, away), 0, 1)


def resolve(parsed: Parsed, boxes: np.ndarray, logits: Phrases) -> np.ndarray:
    """Return how well each proposal fits the expression, (P,) in [0, 1].

    A proposal's membership in a phrase is its CLIP probability divided by the largest one. A superlative requires that
    no other member lies further out, an ordinal that so many do. A relation requires that a probable anchor lies in its
    direction.

    Args:
        parsed: parsed expression.
        boxes: boxes of the proposals (P, 4) in any unit; P is at least 1.
        logits: function that returns CLIP's logits of a phrase.
    """
    raw, geometry = logits(parsed.phrase), Geometry.of(boxes)
    member = np.exp(raw - raw.max())
    value = member
    for name in parsed.superlatives:
        value = value * _singled_out(RANKS[name](geometry), member, 1)
    if parsed.ordinal:
        number, name = parsed.ordinal
        value = value * _singled_out(RANKS[name](geometry), member, number)
    if parsed.relation and parsed.anchor:
        value = value * related(parsed.relation, parsed.anchor, geometry, lambda anchor: resolve(anchor, boxes, logits))
    return value


def _singled_out(rank: np.ndarray, member: np.ndarray, number: int) -> np.ndarray:
    """Return the probability (P,) that exactly ``number - 1`` members lie further out than each proposal."""
    beaten = rank[None] > rank[:, None] + 1e-6
    if number == 1:
        return np.where(beaten, 1 - member[None], 1.0).prod(axis=1)
    counts = np.zeros((len(rank), number))
    counts[:, 0] = 1
    for rival in range(len(rank)):
        chance = np.where(beaten[:, rival], member[rival], 0.0)[:, None]
        counts = counts * (1 - chance) + np.pad(counts, ((0, 0), (1, 0)))[:, :-1] * chance
    return counts[:, -1]


def related(
    relation: str,
    anchor: Parsed,
    geometry: Geometry,
    members: Callable[[Parsed], np.ndarray],
    holds: Mapping[str, Callable[[Geometry], np.ndarray]] = HOLDS,
) -> np.ndarray:
    """Return how well a relation holds between each proposal and its most probable anchor (P,).

    Args:
        relation: name of the relation.
        anchor: expression of the anchor, or of both anchors of "between".
        geometry: geometry of the proposals.
        members: function that returns how well each proposal fits an expression (P,).
        holds: how well a relation holds between two proposals.
    """
    if relation != "between":
        return (holds[relation](geometry) * members(anchor)[None]).max(axis=1)
    one, _, other = anchor.phrase.partition(" and ")
    first = members(replace(anchor, phrase=one))
    second = members(replace(anchor, phrase=other)) if other else first
    return (between(geometry) * first[None, :, None] * second[None, None]).max(axis=(1, 2))
