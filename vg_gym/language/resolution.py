"""Resolution of superlatives and relations with boxes (after ReCLIP, Subramanian et al., ACL 2022).

CLIP gives the probability that a proposal fits a phrase. The superlatives and relations that
:func:`vg_gym.language.parsing.parse` separates then constrain its place by soft logic over the proposals' boxes.
"""

from __future__ import annotations

from collections.abc import Callable
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

    @classmethod
    def of(cls, boxes: np.ndarray) -> Geometry:
        """Return the geometry of boxes (P, 4)."""
        x, y = (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2
        return cls(x, y, box_ops.area(boxes), (boxes[:, 0].min() + boxes[:, 2].max()) / 2)


RANKS: dict[str, Callable[[Geometry], np.ndarray]] = {
    "left": lambda g: -g.x,
    "right": lambda g: g.x,
    "top": lambda g: -g.y,
    "bottom": lambda g: g.y,
    "middle": lambda g: -np.abs(g.x - g.middle),
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


HOLDS: dict[str, Callable[[Geometry], np.ndarray]] = {
    "left of": lambda g: _towards(-_apart(g.x), _apart(g.y)),
    "right of": lambda g: _towards(_apart(g.x), _apart(g.y)),
    "above": lambda g: _towards(-_apart(g.y), _apart(g.x)),
    "below": lambda g: _towards(_apart(g.y), _apart(g.x)),
    "near": _near,
    "larger": lambda g: (g.area[:, None] > g.area[None]).astype(float),
    "smaller": lambda g: (g.area[:, None] < g.area[None]).astype(float),
}
"""Relation -> values (P, P) in [0, 1]: how well it holds between proposal i and anchor j."""


def resolve(parsed: Parsed, boxes: np.ndarray, logits: Phrases) -> np.ndarray:
    """Return how well each proposal fits the expression, (P,) in [0, 1].

    A proposal's membership in a phrase is its CLIP probability divided by the largest one. A superlative requires that
    no other member lies further out. A relation requires that a probable anchor lies in its direction.

    Args:
        parsed: parsed expression.
        boxes: boxes of the proposals (P, 4) in any unit; P is at least 1.
        logits: function that returns CLIP's logits of a phrase.
    """
    raw, geometry = logits(parsed.phrase), Geometry.of(boxes)
    member = np.exp(raw - raw.max())
    value = member
    for name in parsed.superlatives:
        rank = RANKS[name](geometry)
        beaten = rank[None] > rank[:, None] + 1e-6
        value = value * np.where(beaten, 1 - member[None], 1.0).prod(axis=1)
    if parsed.relation and parsed.anchor:
        anchor = resolve(parsed.anchor, boxes, logits)
        value = value * (HOLDS[parsed.relation](geometry) * anchor[None]).max(axis=1)
    return value
