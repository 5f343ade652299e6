"""Other words for what the language of RefShapes says: "a circle which is red" becomes "the red circle".

The built-in CLIP was trained on the texts of RefShapes (:mod:`vg_gym.data.worlds.refshapes.expressions`) alone: every
phrase has its article, and the words stand in one order. :func:`reword` brings a text into that form where it can
account for every word of it. Articles, requests ("find ... please"), counts and the verbs of relative clauses are
dropped, plurals become singulars, words and turns of phrase that mean the same are replaced, attributes may stand on
either side of the noun, and a place or relation may stand in front ("left of the heart, the cross"). A word with one
typing error is read as the only word of the language that it may be. Other texts stay as they are.
"""

from __future__ import annotations

import re
from functools import lru_cache

from vg_gym.data.worlds.refshapes.expressions import (
    _SUPERLATIVES,
    ANY_SHAPE,
    PLACES,
    SCENE_RELATIONS,
    Expression,
    NounPhrase,
)
from vg_gym.data.worlds.refshapes.scenes import COLORS, FILLS, SHAPES, SIZES

RULES = 3
"""Raise it when :func:`reword` changes: features of texts are kept under it."""
MIN_LETTERS = 4
"""Number of letters of the shortest word of the language that a mistyped word is read as."""
TEXTS = 2**14
"""Texts whose rewording is kept in memory."""
_SIDE = "left|right|top|bottom"

_TURNS = (
    (r"'s\b", " is"),
    (r"[^a-z0-9]+", " "),
    (r"\b(?:in|of|on|from) (?:the|this|that|an?) (?:whole )?(?:image|picture|photo|drawing|scene|frame)\b", ""),
    (r"\b(?:without|with no|has no) stripes\b|\b(?:not|un) ?striped\b|\bplain\b|\bfilled\b", "solid"),
    (r"\bstrip(?:es|y|ey)\b", "striped"),
    (r"\b(left|right)(?: hand)? side of\b", r"\1 of"),
    (r"\bon top of\b|\bhigher than\b|\bover\b", "above"),
    (r"\blower than\b|\bunder(?:neath)?\b|\bbeneath\b", "below"),
    (r"\b(?:upper|uppermost)\b", "top"),
    (r"\b(?:lower|lowermost)\b", "bottom"),
    (r"\b(?:cent(?:er|re)|middlemost)\b", "middle"),
    (rf"\b(?:far|very) ({_SIDE})\b|\b({_SIDE}) most\b|\bfurthest (?:to the )?({_SIDE})\b", r"\1\2\3most"),
    (r"\bhighest\b", "topmost"),
    (r"\blowest\b", "bottommost"),
    (r"\b(?:closest|nearest)(?: to)?\b|\bnext to\b|\b(?:close|near)(?: to)?\b|\bbeside\b", "nearest to"),
    (r"\bbig\b|\bhuge\b", "large"),
    (r"\blittle\b|\btiny\b", "small"),
    (r"\bmid(?:dle)? sized?\b", "medium"),
    (r"\btiniest\b|\blittlest\b", "smallest"),
    (r"\b(?:disc|disk)\b", "circle"),
    (r"\b(?:rhombus|lozenge)\b", "diamond"),
    (r"\bplus(?: sign)?\b", "cross"),
    (r"\b(?:half )?moon\b", "crescent"),
    (r"\bdo(?:ugh)?nut\b", "ring"),
    (r"\bviolet\b", "purple"),
    (r"\bturquoise\b", "cyan"),
)
"""(Pattern, what it is replaced by), over lower-case text, one after the other."""
_IN_FRONT = re.compile(
    r"((?:to the )?(?:left|right|above|over|below|under|nearest|closest|next|near|beside|on|in|at)\b[^,]*), "
    r"((?:the|an?) [^,]+)"
)
"""A place or relation, a comma, and the phrase that it belongs to."""
_REQUEST = re.compile(
    r"(?:(?:please|now|kindly|can you|could you|would you|i want(?: to see)?|i mean) )*"
    r"(?:(?:find|locate|show|give|select|pick|mark|detect|ground|segment|identify|box|look for|search for"
    r"|point (?:to|at)|click(?: on)?|where (?:is|are)|what is|(?:it|this|there) is|draw a box around)(?: me| us)? )?"
)
_THANKS = re.compile(r"(?: (?:please|thanks|thank you|for me|now))+$")
_SLOTS = {
    **{f"{shape}{ending}": ("shape", shape) for shape in (*SHAPES, ANY_SHAPE) for ending in ("", "s", "es")},
    **dict.fromkeys(("one", "object", "thing", "figure", "item"), ("shape", ANY_SHAPE)),
    **{word: ("color", word) for word in COLORS},
    **{word: ("fill", word) for word in FILLS},
    **{word: ("size", word) for word in SIZES},
    **{word: ("superlative", word) for word in _SUPERLATIVES},
    **{word: ("position", word) for word in ("left", "right", "top", "bottom", "middle")},
}
"""Word -> the part of a phrase that it fills, and what it says there."""
_PLACE_OF = {
    frozenset(): "", **{frozenset(word for word in place.split() if word in _SLOTS): place for place in PLACES}
}  # fmt: skip
"""The positions that a place names -> the place."""
_MEANINGLESS = {
    "a", "an", "the", "this", "that", "which", "who", "its", "is", "are", "has", "and", "with", "of", "in", "on", "at",
    "to", "very", "located", "placed", "positioned", "situated", "found", "lying", "sitting", "standing", "hand",
    "side", "corner", "part", "color", "colour", "colored", "coloured", "size", "sized", "pattern", "fill",
    "all", "both", "two", "three", "four", "five", "six", "several", "these", "those",
}  # fmt: skip
"""Words that may stand among the others."""
_RELATION = re.compile(rf"\b({'|'.join(SCENE_RELATIONS)})\b")
_RELATION_WORDS = {word for relation in SCENE_RELATIONS for word in relation.split()}
_LONG_WORDS = sorted(word for word in {*_SLOTS, *_MEANINGLESS, *_RELATION_WORDS} if len(word) >= MIN_LETTERS)


@lru_cache(TEXTS)
def reword(text: str) -> str:
    """The expression of RefShapes that says the same, or the text as it is where there is none.

    >>> reword("Find a circle which is red, please!"), reword("star with stripes to the left of blue heart")
    ('the red circle', 'the striped star left of the blue heart')
    >>> reword("the two red stars on the left")
    'the red star on the left'
    >>> reword("left of the blue haert, the corss")
    'the cross left of the blue heart'
    >>> reword("the man in the red coat"), reword("the circle and the star")
    ('the man in the red coat', 'the circle and the star')
    """
    plain = text.lower()
    if front := _IN_FRONT.fullmatch(plain):
        plain = f"{front[2]} {front[1]}"
    for pattern, replacement in _TURNS:
        plain = re.sub(pattern, replacement, plain)
    plain = _THANKS.sub("", _REQUEST.sub("", " ".join(plain.split()), count=1))
    pieces = _RELATION.split(" ".join(map(_mended, plain.split())))  # phrases, and between them relations
    for at in range(0, len(pieces), 2):
        phrase = _phrase(pieces[at])
        if phrase is None:
            return text
        pieces[at] = phrase
    return " ".join(pieces)


def _mended(word: str) -> str:
    """Return a word of the language, the only one that is one typing error away from another word, or the word."""
    if word in _SLOTS or word in _MEANINGLESS or word in _RELATION_WORDS:
        return word
    meant = [other for other in _LONG_WORDS if abs(len(other) - len(word)) <= 1 and _one_error(word, other)]
    return meant[0] if len(meant) == 1 else word


def _one_error(word: str, other: str) -> bool:
    """Return whether one letter was left out, added or replaced, or two neighbours were exchanged.

    >>> [_one_error(word, "circle") for word in ("cirle", "cirrcle", "cirxle", "cricle", "square")]
    [True, True, True, True, False]
    """
    start = next((i for i, (a, b) in enumerate(zip(word, other, strict=False)) if a != b), min(len(word), len(other)))
    a, b = word[start:], other[start:]
    return a[1:] == b or a == b[1:] or a[1:] == b[1:] or (a[:2] == b[:2][::-1] and a[2:] == b[2:])


def _phrase(words: str) -> str | None:
    """The phrase of RefShapes that some words, none of them a relation, say; None where they say more, or no phrase."""
    slots: dict[str, set[str]] = {}
    for word in words.split():
        if word in _SLOTS:
            slot, meaning = _SLOTS[word]
            slots.setdefault(slot, set()).add(meaning)
        elif word not in _MEANINGLESS:
            return None
    place = _PLACE_OF.get(frozenset(slots.pop("position", ())))
    shapes = slots.get("shape", set())
    slots["shape"] = shapes - {ANY_SHAPE} if len(shapes) > 1 else shapes
    if place is None or not shapes or any(len(meanings) > 1 for meanings in slots.values()):
        return None
    parts = {slot: meaning for slot, (meaning,) in slots.items()}
    superlative = parts.pop("superlative", None)
    return Expression(NounPhrase(**parts), superlative, place).text
