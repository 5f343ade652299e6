"""Memberships: how well each box fits an expression, without comparison; the best one tells if anything is meant.

The softmax over proposals tells which box fits best, not whether one fits. Here every word of a phrase competes with
the other words of its group: a box is a "red star" as far as CLIP prefers "red star" to "blue star", "green star" ...
and to "red ring", "red heart" ... Relations, places and sizes are decided by the boxes. No number is fitted to boxes or
to expressions: the groups are lists of words, and the temperature is CLIP's own.

The built-in CLIP reads drawn shapes (:data:`DRAWN`), whose words of place and size are absolute; other CLIPs read
photographs, in which "large" and "on the left" compare with other objects.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise

import numpy as np
from scipy.special import expit, logsumexp

from vg_gym import boxes as box_ops
from vg_gym.clip.encoder import ClipEncoder
from vg_gym.clip.scores import negative_prompts
from vg_gym.data.worlds.refshapes.scenes import COLORS, FILLS, SHAPES, SIZES
from vg_gym.language.parsing import Parsed, parse
from vg_gym.language.resolution import HOLDS, Geometry, related

Logits = Callable[[str], np.ndarray]
"""Function from a text to CLIP's logits (P,) of P boxes, with the logit scale."""
PHOTO_COLORS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white", "gray")
"""Colours in photographs."""
PEOPLE = (("man", "woman", "boy", "girl"), ("men", "women", "boys", "girls"))
"""Kinds of people in photographs."""
PLACE_SOFTNESS = 0.04
"""Distance to the border of a place at which a membership is 0.73, as a share of the image's side."""
SIZE_SOFTNESS = 0.03
"""Logarithm of the ratio of a side to the smallest or largest side of a size word at which a membership is 0.73."""


@dataclass(frozen=True)
class Lexicon:
    """Words that a CLIP tells apart, and what its words of size and place mean."""

    groups: tuple[tuple[str, ...], ...]
    """Groups of words that exclude each other."""
    others: tuple[str, ...] = ()
    """Texts that compete with a phrase that lacks a word of a group; empty: every box fits such a phrase."""
    sides: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Word of size -> logarithms of the smallest and the largest side (square root of area) as a share of the image's.
    """
    places: bool = False
    """True if "on the left" means the left half of the image."""


def _sides() -> dict[str, tuple[float, float]]:
    """Return the sides of RefShapes' words of size; the border of two words lies between their ranges."""
    ranges = list(SIZES.values())
    borders = [-np.inf, *(np.log(low * high) / 2 for (_, low), (high, _) in pairwise(ranges)), np.inf]
    return dict(zip(SIZES, pairwise(borders), strict=True))


DRAWN = Lexicon((SHAPES, tuple(COLORS), FILLS), sides=_sides(), places=True)
_DEPTHS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "left": lambda x, y: 0.5 - x,
    "right": lambda x, y: x - 0.5,
    "top": lambda x, y: 0.5 - y,
    "bottom": lambda x, y: y - 0.5,
    "middle": lambda x, y: 0.25 - np.maximum(np.abs(x - 0.5), np.abs(y - 0.5)),
}
"""Place -> distance of centres (x, y) to its border, in sides of the image, positive inside."""


_FULL_DIRECTIONS = ("left of", "right of", "above", "below")
_HOLDS: dict[str, Callable[[Geometry], np.ndarray]] = {
    **HOLDS,
    **{name: lambda g, name=name: np.minimum(1.0, 2 * HOLDS[name](g)) for name in _FULL_DIRECTIONS},  # type: ignore[misc]
    "near": lambda g: 1.0 - np.eye(len(g.x)),
}
"""Relations as in :data:`HOLDS`; a direction holds fully up to 45 degrees, and of any other boxes one is nearest."""


def lexicon_of(clip: ClipEncoder) -> Lexicon:
    """Return the lexicon of a CLIP: drawn shapes for the built-in one; colours, people and things for others."""
    if clip.knows_shapes_alone:
        return DRAWN
    return Lexicon((PHOTO_COLORS, *PEOPLE), tuple(negative_prompts(clip)))


def memberships(expression: str, boxes: np.ndarray, logits: Logits, lexicon: Lexicon) -> np.ndarray:
    """Return how well each box fits an expression, (P,) in [0, 1]; the largest tells whether anything is meant.

    Args:
        expression: expression in the words of the CLIP (:meth:`~vg_gym.clip.encoder.ClipEncoder.reword`), singular.
        boxes: ``xyxy`` boxes, normalised by the image, (P, 4); P is at least 1.
        logits: function that returns CLIP's logits of a text.
        lexicon: words of the CLIP.
    """
    parsed = parse(expression)
    values = phrase_memberships(parsed.phrase, boxes, logits, lexicon)
    if lexicon.places and not re.search(r"most\b", expression):
        values = values * _inside(parsed, boxes)
    if parsed.relation and parsed.anchor:
        members = partial(_anchors, boxes=boxes, logits=logits, lexicon=lexicon)
        values = values * related(parsed.relation, parsed.anchor, Geometry.of(boxes), members, _HOLDS)
    return values


def phrase_memberships(phrase: str, boxes: np.ndarray, logits: Logits, lexicon: Lexicon) -> np.ndarray:
    """Return how well each box fits a phrase without places and relations, (P,) in [0, 1]; see :func:`memberships`.

    Args:
        phrase: words of the phrase.
        boxes: normalised boxes (P, 4).
        logits: CLIP's logits (P,) of a text for these boxes.
        lexicon: words that exclude each other.
    """
    words = phrase.split()
    sizes = [word for word in words if word in lexicon.sides]
    words = [word for word in words if word not in sizes]
    phrase_logits, values = logits(" ".join(words)), np.ones(len(boxes))
    for texts in _alternatives(words, lexicon):
        values = values * expit(phrase_logits - logsumexp([logits(text) for text in texts], axis=0))
    side = np.log(box_ops.area(boxes).clip(1e-9)) / 2
    for low, high in (lexicon.sides[word] for word in sizes):
        values = values * expit((side - low) / SIZE_SOFTNESS) * expit((high - side) / SIZE_SOFTNESS)
    return values


def _anchors(anchor: Parsed, boxes: np.ndarray, logits: Logits, lexicon: Lexicon) -> np.ndarray:
    """Return how well each box fits an anchor (P,), whose superlatives only choose among those that do."""
    return phrase_memberships(anchor.phrase, boxes, logits, lexicon)


def _alternatives(words: Sequence[str], lexicon: Lexicon) -> list[list[str]]:
    """Return the texts that compete with a phrase, one list for each word that has a group.

    >>> _alternatives("the striped star".split(), Lexicon((("star", "ring"), ("solid", "striped"))))
    [['the solid star'], ['the striped ring']]
    """
    lists = [
        [" ".join([*words[:at], other, *words[at + 1 :]]) for other in group if other != word]
        for at, word in enumerate(words)
        for group in lexicon.groups
        if word in group
    ]
    return lists or ([list(lexicon.others)] if lexicon.others else [])


def _inside(parsed: Parsed, boxes: np.ndarray) -> np.ndarray:
    """Return how far the centres of boxes lie inside the places that an expression names, (P,) in [0, 1]."""
    x, y = (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2
    depths = [_DEPTHS[name](x, y) for name in parsed.superlatives if name in _DEPTHS]
    return np.prod([np.ones(len(boxes)), *(expit(depth / PLACE_SOFTNESS) for depth in depths)], axis=0)
