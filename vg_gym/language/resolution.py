"""Superlatives and relations of an expression, decided over boxes (after ReCLIP, Subramanian et al., ACL 2022).

CLIP says how likely each proposal is what a phrase names. The words that :func:`vg_gym.language.parsing.parse` takes
out say where it must be, by soft logic over the proposals' boxes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym.language.parsing import Parsed

Phrases = Callable[[str], np.ndarray]
"""A phrase to the logits (P,) of the proposals."""


class Geometry(NamedTuple):
    """What superlatives and relations read of P boxes."""

    x: np.ndarray
    """Horizontal centres (P,)."""
    y: np.ndarray
    """Vertical centres (P,), downwards."""
    area: np.ndarray
    """Areas (P,)."""
    middle: float
    """Horizontal middle of all boxes together."""

    @classmethod
    def of(cls, boxes: np.ndarray) -> Geometry:
        """The geometry of boxes (P, 4)."""
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
"""Superlative -> a number (P,) that is greatest for the box that is meant."""


def _near(g: Geometry) -> np.ndarray:
    reach = np.median(np.sqrt(g.area)) + 1e-6
    near = np.exp(-np.hypot(_apart(g.x), _apart(g.y)) / reach)
    np.fill_diagonal(near, 0)
    return near


def _apart(values: np.ndarray) -> np.ndarray:
    """Differences (P, P): of proposal i less that of anchor j."""
    return values[:, None] - values[None]


def _towards(along: np.ndarray, across: np.ndarray) -> np.ndarray:
    """How well a direction holds: the better, the less the boxes are apart across it."""
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
"""Relation -> (P, P) in [0, 1]: how well proposal i stands in it to anchor j."""


def resolve(parsed: Parsed, boxes: np.ndarray, logits: Phrases) -> np.ndarray:
    """How well each proposal is what the expression means: (P,) in [0, 1].

    A proposal's membership in a phrase is its CLIP probability over that of the best one. A superlative asks that no
    other member lies further out; a relation, that the anchor, wherever it probably is, lies on the right side.

    Args:
        parsed: the expression.
        boxes: proposals (P, 4), any unit; P is at least 1.
        logits: gives CLIP's logits of a phrase.
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
