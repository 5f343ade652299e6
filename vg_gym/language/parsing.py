"""Superlatives and relations of an expression, resolved over boxes (after ReCLIP, Subramanian et al., ACL 2022).

The grammar, matched on lower-case words from left to right::

    expression  = phrase [relation ["the"] expression]
    phrase      = words, among them any number of superlatives
    relation    = "(to the) left of" | "(to the) right of" | "above" | "over" | "on top of" | "below" | "under" |
                  "beneath" | "next to" | "near (to)" | "nearest to" | "closest to" | "beside" |
                  "larger / bigger / taller than" | "smaller / shorter than"
    superlative = "leftmost" | "far left" | "on / to / at the left (side)" | "left", and so for right, top, bottom,
                  "middle" | "center" | "largest" | "biggest" | "smallest" | "tiniest"

What the grammar does not know stays in the phrase, which CLIP reads. CLIP says how likely each proposal is what a
phrase names; the words taken out say where it must be, by soft logic over the proposals' boxes. ReCLIP uses a
dependency parser of spaCy; this covers the relations that its rules know without one, and misreads longer sentences.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Phrases = Callable[[str], np.ndarray]
"""A phrase to the logits (P,) of the proposals."""

_PLACE = (
    r"(?:(?:on|in|to|at|from)\s+)?(?:the\s+)?(?:far\s+|very\s+)?{}(?:[- ]?most)?(?:\s+(?:hand\s+)?(?:side|corner))?"
)
_SUPERLATIVES: dict[str, str] = {
    "left": _PLACE.format("left"),
    "right": _PLACE.format("right"),
    "top": _PLACE.format("(?:top|upper)"),
    "bottom": _PLACE.format("(?:bottom|lower)"),
    "middle": _PLACE.format("(?:middle|center|centre)"),
    "largest": r"(?:largest|biggest)",
    "smallest": r"(?:smallest|tiniest)",
}
_RELATIONS: dict[str, str] = {
    "left of": r"(?:(?:to|on)\s+the\s+)?left\s+of",
    "right of": r"(?:(?:to|on)\s+the\s+)?right\s+of",
    "above": r"(?:above|over|on\s+top\s+of)",
    "below": r"(?:below|under|beneath|underneath)",
    "near": r"(?:next\s+to|near(?:\s+to)?|nearest(?:\s+to)?|closest\s+to|close\s+to|beside|by)",
    "larger": r"(?:larger|bigger|taller)\s+than",
    "smaller": r"(?:smaller|shorter)\s+than",
}
_RELATION = re.compile("|".join(rf"\b(?P<r{i}>{p})\b" for i, p in enumerate(_RELATIONS.values())))


@dataclass(frozen=True)
class Parsed:
    """An expression taken apart: what CLIP reads, and what the boxes decide."""

    phrase: str
    superlatives: tuple[str, ...] = ()
    relation: str | None = None
    anchor: Parsed | None = None

    @property
    def plain(self) -> bool:
        """Whether nothing was taken out."""
        return not self.superlatives and self.relation is None


def parse(expression: str) -> Parsed:
    """Take an expression apart.

    >>> parse("the small cross left of the blue heart")
    Parsed(phrase='the small cross', superlatives=(), relation='left of', anchor=Parsed(phrase='the blue heart', \
superlatives=(), relation=None, anchor=None))
    >>> parse("the leftmost ring").superlatives
    ('left',)
    """
    text = " ".join(expression.lower().split())
    found = _RELATION.search(text)
    if found and text[: found.start()].strip() and text[found.end() :].strip():
        relation = list(_RELATIONS)[int(str(found.lastgroup)[1:])]
        head = parse(text[: found.start()])
        return Parsed(head.phrase, head.superlatives, relation, parse(text[found.end() :]))
    superlatives = []
    rest = text
    for name, pattern in _SUPERLATIVES.items():
        shorter = re.sub(rf"\b{pattern}\b", " ", rest)
        if shorter != rest:
            superlatives.append(name)
            rest = shorter
    phrase = " ".join(rest.split())
    return Parsed(phrase if phrase not in ("", "the", "a", "one", "the one") else "object", tuple(superlatives))


def resolve(parsed: Parsed, boxes: np.ndarray, logits: Phrases) -> np.ndarray:
    """How well each proposal is what the expression means: (P,) in [0, 1].

    A proposal's membership in a phrase is its CLIP probability over that of the best one. A superlative asks that no
    other member lies further out; a relation, that the anchor, wherever it probably is, lies on the right side.

    Args:
        parsed: the expression.
        boxes: proposals (P, 4), any unit.
        logits: what CLIP says of a phrase.
    """
    raw = logits(parsed.phrase)
    member = np.exp(raw - raw.max())
    value = member
    for name in parsed.superlatives:
        rank = _rank(name, boxes)
        beaten = rank[None] > rank[:, None] + 1e-6
        value = value * np.where(beaten, 1 - member[None], 1.0).prod(axis=1)
    if parsed.relation and parsed.anchor:
        anchor = resolve(parsed.anchor, boxes, logits)
        holds = _holds(parsed.relation, boxes)
        value = value * (holds * anchor[None]).max(axis=1)
    return value


def _rank(superlative: str, boxes: np.ndarray) -> np.ndarray:
    """A number that is greatest for the box that the superlative means."""
    x, y, area = _measures(boxes)
    middle = np.abs(x - (boxes[:, 0].min() + boxes[:, 2].max()) / 2)
    numbers = {
        "left": -x, "right": x, "top": -y, "bottom": y, "middle": -middle, "largest": area, "smallest": -area
    }  # fmt: skip
    return numbers[superlative]


def _holds(relation: str, boxes: np.ndarray) -> np.ndarray:
    """(P, P) in [0, 1]: whether proposal i stands in the relation to anchor j."""
    x, y, area = _measures(boxes)
    side = np.sqrt(area)
    dx, dy = x[:, None] - x[None], y[:, None] - y[None]
    if relation == "near":
        reach = np.median(side) + 1e-6
        near = np.exp(-np.hypot(dx, dy) / reach)
        np.fill_diagonal(near, 0)
        return near
    # A direction counts the more, the less the boxes are apart across it.
    along = {"left of": -dx, "right of": dx, "above": -dy, "below": dy}.get(relation)
    if along is None:
        return (area[:, None] > area[None] if relation == "larger" else area[:, None] < area[None]).astype(float)
    across = np.abs(dy if relation in ("left of", "right of") else dx)
    return np.where(along > 0, along / (along + across + 1e-9), 0.0)


def _measures(boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    x, y = (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2
    return x, y, (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
