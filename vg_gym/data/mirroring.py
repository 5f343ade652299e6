"""Mirrored words: what an expression becomes when its image is mirrored left to right."""

from __future__ import annotations

import re

MIRRORED = {"left": "right", "right": "left", "leftmost": "rightmost", "rightmost": "leftmost"}
"""Words that are swapped in the expressions of a mirrored image."""
_SIDES = re.compile(rf"\b({'|'.join(MIRRORED)})\b", re.IGNORECASE)
_ADVERB = re.compile(
    r"(?<!\bthe )(?<!\bon )(?<!\bat )(?<!\bfar )(?<!\bfrom )(?<!ing )"
    r"\bright(?= (?:next to|behind|in front of|beside)\b)",
    re.IGNORECASE,
)
"""The adverb of "right next to the car", which names no side."""


def mirror_words(expression: str) -> str:
    """Return the expression for the mirrored image, with left and right swapped.

    >>> mirror_words("the leftmost star right of the ring")
    'the rightmost star left of the ring'
    >>> mirror_words("the dog right behind the cow on the right")
    'the dog right behind the cow on the left'
    """
    adverbs = {match.start() for match in _ADVERB.finditer(expression)}
    return _SIDES.sub(
        lambda match: match.group() if match.start() in adverbs else MIRRORED[match.group().lower()], expression
    )
