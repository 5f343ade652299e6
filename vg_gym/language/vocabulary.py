"""The words that say where an object is: relations between two objects, and superlatives.

Patterns are regular expressions over lower-case words with single spaces. Of two relations that begin at the same word
the one listed first is read, so longer ones come first.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Relation:
    """What links the object that is meant to another one, its anchor."""

    name: str
    """Its canonical name, e.g. ``near`` for "next to"."""
    pattern: str
    """All its forms, without capturing groups."""
    over_boxes: bool = False
    """Whether the boxes of two objects tell if it holds (:mod:`vg_gym.language.resolution`)."""


@dataclass(frozen=True)
class Superlative:
    """What singles an object out among all that fit the rest of the phrase."""

    name: str
    """Its canonical name, e.g. ``left`` for "on the far left"."""
    pattern: str
    """All its forms, without capturing groups."""


_ON = "(?:sitting |standing )?on"
_NEAREST = "(?:nearest|closest)(?: to|(?= (?:the|an?) ))"
"""Without "to" it is a relation before an article alone: "nearest the camera", but "on the closest motorcycle"."""

RELATIONS = (
    Relation("left of", f"(?:(?:to|{_ON}) the )?left of", over_boxes=True),
    Relation("right of", f"(?:(?:to|{_ON}) the )?right of", over_boxes=True),
    Relation("above", f"above|over|{_ON} top of", over_boxes=True),
    Relation("below", "below|under|beneath|underneath", over_boxes=True),
    Relation("near", f"next to|near(?: to)?|{_NEAREST}|close to|beside|by", over_boxes=True),
    Relation("larger", "(?:larger|bigger|taller) than", over_boxes=True),
    Relation("smaller", "(?:smaller|shorter) than", over_boxes=True),
    Relation("in front of", "in front of"),
    Relation("behind", "behind"),
    Relation("between", "between"),
    Relation("on", _ON),
    Relation("in", "in|inside"),
    Relation("at", "at"),
    Relation("with", "with"),
    Relation("of", "of"),
    Relation("wearing", "wearing"),
    Relation("holding", "holding"),
    Relation("riding", "riding"),
    Relation("eating", "eating"),
    Relation("carrying", "carrying"),
    Relation("facing", "facing"),
)
"""All relations that are understood."""

_PLACE = "(?:(?:on|in|to|at|from) )?(?:the )?(?:far |very )?{}(?:[- ]?most)?(?: (?:hand )?(?:side|corner))?"

SUPERLATIVES = (
    Superlative("left", _PLACE.format("left")),
    Superlative("right", _PLACE.format("right")),
    Superlative("top", _PLACE.format("(?:top|upper)")),
    Superlative("bottom", _PLACE.format("(?:bottom|lower)")),
    Superlative("middle", _PLACE.format("(?:middle|center|centre)")),
    Superlative("largest", "largest|biggest"),
    Superlative("smallest", "smallest|tiniest"),
)
"""All superlatives that are understood, in the order in which they are taken out of a phrase."""
