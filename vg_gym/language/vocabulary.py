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


_ON = "(?:sitting |standing )?on"
_SIDE = f"(?:(?:to|{_ON}|in|at) (?:the )?)?(?:(?:far|immediate|upper|top|lower|bottom) )?{{}}(?:[- ]hand)?(?: side)? of"
_NEAREST = "(?:nearest|closest)(?: to|(?= (?:the|an?) ))"
"""Without "to" it is a relation only before an article: "nearest the camera", but not "on the closest motorcycle"."""

RELATIONS = (
    Relation("left of", _SIDE.format("left"), over_boxes=True),
    Relation("right of", _SIDE.format("right"), over_boxes=True),
    Relation("above", f"above|over|{_ON} top of", over_boxes=True),
    Relation("below", "below|under|beneath|underneath", over_boxes=True),
    Relation("near", f"next to(?! (?:the )?last)|near(?: to)?|{_NEAREST}|close to|beside|by", over_boxes=True),
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
"""All known relations."""

SUPERLATIVES = (
    Superlative("left", ("left",)),
    Superlative("right", ("right",)),
    Superlative("top", ("top", "upper")),
    Superlative("bottom", ("bottom", "lower")),
    Superlative("middle", ("middle", "center", "centre")),
    Superlative("largest", ("largest", "biggest"), of_place=False),
    Superlative("smallest", ("smallest", "tiniest"), of_place=False),
)
"""All known superlatives, in the order of a parsed expression."""

SCENES = (
    "picture|image|photo|photograph|pic|frame|screen|shot|scene|view|row|line|group|pack|herd|flock|bunch|crowd|pair|"
    "trio|stack|pile|two|three|four|others|room|kitchen|court|field"
)
"""Nouns that a place lies *in*: "on the left of the row" is a superlative, "on the left of the bus" a relation."""
NOT_PLACED_BEFORE = (
    "in|on|at|of|to|by|next|near|behind|beside|above|below|under|before|after|where|with|up|out|over|there|now|and|is|"
    "handed|hand|hands|arm|leg|foot|feet|paw|eye|ear|shoulder|sleeve|pocket|glove|knee|wrist|elbow|thumb|finger|wing|lip|half|face|facing|"
    "aged|age|eastern|hat|knot|coat|angle|handle|alone|open|turn"
)
"""Words before which the first word of a phrase is not a place: "right in front of", "left hand of", "a top hat"."""
UNPLACEABLE = (
    r"(?:it|itself|him|himself|herself|them|themselves|each other|one another|her$|there|here|me|us|you|to|middle"
    r"|cent(?:er|re))\b"
)
"""Anchors that are not another object: "a car with two cats underneath it", "sitting by itself", "bending over to"."""
VIEWER = r"(?:the |a )?(?:cameras?|camera ?man|viewers?|photographers?|lens|front|foreground)\b"
"""Anchors that stand for the viewer of the image; they have a place but not a box, so that "near" cannot be decided."""
OVER_ITSELF = r"\b(?:ben[dt]|lean|reach|look|jump|hunch|step|climb|stoop)\w*$|^(?:(?:an?|the) )?left$"
"""Words before "over" that describe an action, not a place; "left over" describes food."""
OF_AN_AGENT = (
    r"\b(?:\w{3,}(?<!e)ed|used|worn|held|led|made|drawn|shown|thrown|flown|ridden|eaten|driven|taken|written|hidden"
    r"|cut|hit|built|caught|fed|blown|torn|bitten)$"
)
"""Verbs before "by" that describe what somebody does to the object: "ridden by a woman"."""
PLACED = r"\b(?:parked|located|seated|placed|positioned|situated|planted|stationed)$"
"""Verbs in "-ed" after which "by" is a relation."""
