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
    forms: tuple[str, ...]
    """The words that stand for it."""
    of_place: bool = True
    """Whether they are words of place (:mod:`vg_gym.language.places`)."""


_ON = "(?:sitting |standing )?on"
_SIDE = f"(?:(?:to|{_ON}|in|at) (?:the )?)?(?:(?:far|immediate|upper|top|lower|bottom) )?{{}}(?:[- ]hand)?(?: side)? of"
_NEAREST = "(?:nearest|closest)(?: to|(?= (?:the|an?) ))"
"""Without "to" it is a relation before an article alone: "nearest the camera", but "on the closest motorcycle"."""

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
"""All relations that are understood."""

SUPERLATIVES = (
    Superlative("left", ("left",)),
    Superlative("right", ("right",)),
    Superlative("top", ("top", "upper")),
    Superlative("bottom", ("bottom", "lower")),
    Superlative("middle", ("middle", "center", "centre")),
    Superlative("largest", ("largest", "biggest"), of_place=False),
    Superlative("smallest", ("smallest", "tiniest"), of_place=False),
)
"""All superlatives that are understood, in the order in which they are named."""

SCENES = (
    "picture|image|photo|photograph|pic|frame|screen|shot|scene|view|row|line|group|pack|herd|flock|bunch|crowd|pair|"
    "trio|stack|pile|two|three|four|others|room|kitchen|court|field"
)
"""What an object is left, right or at the top *in*: "on the left of the row" names a place, "of the bus" a relation."""
NOT_PLACED_BEFORE = (
    "in|on|at|of|to|by|next|near|behind|beside|above|below|under|before|after|where|with|up|out|over|there|now|and|is|"
    "handed|hand|hands|arm|leg|foot|feet|paw|eye|ear|shoulder|sleeve|pocket|glove|knee|wrist|elbow|thumb|finger|wing|lip|half|face|facing|"
    "aged|age|eastern|hat|knot|coat|angle|handle|alone|open|turn"
)
"""Before these, a word that begins a phrase is no place: "right in front of", "the left hand of", "a top hat"."""
UNPLACEABLE = (
    r"(?:it|itself|him|himself|herself|them|themselves|each other|one another|her$|there|here|me|us|you|to|middle"
    r"|cent(?:er|re))\b"
)
"""Anchors that are no other object: "a car with two cats underneath it", "sitting by itself", "bending over to"."""
VIEWER = r"(?:the |a )?(?:cameras?|camera ?man|viewers?|photographers?|lens|front|foreground)\b"
"""Who is near to these is near to whoever looks at the picture."""
OVER_ITSELF = r"\b(?:ben[dt]|lean|reach|look|jump|hunch|step|climb|stoop)\w*$"
"""Before "over", verbs of what somebody does, not of where they are."""
OF_AN_AGENT = (
    r"\b(?:\w{3,}(?<!e)ed|used|worn|held|led|made|drawn|shown|thrown|flown|ridden|eaten|driven|taken|written|hidden)$"
)
"""Before "by", verbs of what somebody does to the object: "ridden by a woman"."""
PLACED = r"\b(?:parked|located|seated|placed|positioned|situated|planted|stationed)$"
"""Of the verbs in "-ed", those after which "by" is a relation."""
