"""The words that describe the place of an object: relations between two objects, and superlatives.

Patterns are regular expressions over lower-case words with single spaces. If two relations begin at the same word, the
first one in the list wins, so longer ones come first.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Relation:
    """A relation of the target to another object, its anchor."""

    name: str
    """Canonical name, e.g. ``near`` for "next to"."""
    pattern: str
    """Pattern of all forms, without capturing groups."""
    over_boxes: bool = False
    """True if the boxes of two objects decide the relation (:mod:`vg_gym.language.resolution`)."""


@dataclass(frozen=True)
class Superlative:
    """A superlative, which selects one object among all that fit the rest of the phrase."""

    name: str
    """Canonical name, e.g. ``left`` for "on the far left"."""
    forms: tuple[str, ...]
    """Words that express the superlative."""
    of_place: bool = True
    """True for words of place (:mod:`vg_gym.language.places`)."""


_SIDE = (
    "(?:(?:(?:to|on|in|at|off to) (?:the |its |his |her )?)?(?:(?:far|immediate|upper|top|lower|bottom|back) )?"
    "{}(?:[- ]hand)?(?: side)?) of"
)
_NEAREST = "(?:nearest|closest)(?: to|(?= (?:the|an?) ))"
"""Without "to" it is a relation only before an article: "nearest the camera", but not "on the closest motorcycle"."""
_FASTENED = "(?:strapped|attached|fastened|tied) (?:to|on|onto)|hanging (?:from|off(?: of)?)"

RELATIONS = (
    Relation("left of", _SIDE.format("left"), over_boxes=True),
    Relation("right of", _SIDE.format("right"), over_boxes=True),
    Relation("between", "(?:in ?)?between|in the middle of(?= (?:the )?two\\b)", over_boxes=True),
    Relation("in front of", "in ?(?:the )?front of", over_boxes=True),
    Relation("behind", "(?:in )?behind(?: of)?|in back of", over_boxes=True),
    Relation("above", "above|over|(?:on (?:the )?|on)top of|atop", over_boxes=True),
    Relation("below", "below|under|beneath|underneath", over_boxes=True),
    Relation(
        "near",
        f"next to(?! (?:the )?last)|near ?by|near(?: to)?|{_NEAREST}|close to|beside|along ?side(?: of)?|adjacent to|by"
        "|at|against",
        over_boxes=True,
    ),
    Relation("larger", "(?:larger|bigger|taller) than", over_boxes=True),
    Relation("smaller", "(?:smaller|shorter) than", over_boxes=True),
    Relation("on", f"(?:{_FASTENED})|on(?:to)?|upon", over_boxes=True),
    Relation("inside", "(?<!the )inside(?: of)?|within|in", over_boxes=True),
    Relation("with", "with"),
    Relation("of", "of"),
    Relation("wearing", "wearing"),
    Relation("holding", "holding"),
    Relation("riding", "riding"),
    Relation("eating", "eating"),
    Relation("carrying", "carrying"),
    Relation("facing", "facing"),
)
"""All known relations."""

SUPERLATIVES = (
    Superlative("left", ("left",)),
    Superlative("right", ("right",)),
    Superlative("top", ("top", "upper", "highest")),
    Superlative("bottom", ("bottom", "lower", "lowest")),
    Superlative("middle", ("middle", "center", "centre")),
    Superlative("front", ("front", "foreground")),
    Superlative("back", ("back", "background", "rear")),
    Superlative("largest", ("largest", "biggest", "tallest"), of_place=False),
    Superlative("smallest", ("smallest", "tiniest", "shortest"), of_place=False),
)
"""All known superlatives, in the order of a parsed expression."""

ORDINALS = ("first|1st", "second|2nd", "third|3rd", "fourth|4th", "fifth|5th", "sixth|6th")
"""Forms of the ordinals, from 1 on."""
