"""Other ways to say an expression, for tests of robustness: without its article, in another order, with a typo, ...

Each is a pure function of the words and of a random generator, which only the typing error uses. The meaning stays the
same, except for the plural, which a writer may use by mistake.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from vg_gym.data.worlds.refscenes.typos import typo
from vg_gym.language.nouns import noun_phrase
from vg_gym.language.number import SINGULARS, number

_ARTICLES = re.compile(r"\b(?:the|an|a) ", re.IGNORECASE)
_OPENING = re.compile(r"^(?:the|an|a) ", re.IGNORECASE)
_CLAUSE = re.compile(r"^(?:that|which|who) ")
_ORDINAL = re.compile(r"^(?:of|from|in from) ")
"""Continuations that cannot stand in front: "the second chair from the left"."""
IRREGULAR_PLURALS = {"man": "men", "woman": "women", "child": "children", "person": "people", "foot": "feet",
                     "mouse": "mice", "goose": "geese", "sheep": "sheep", "scissors": "scissors"}  # fmt: skip
"""Noun -> its plural, where no rule makes it."""
SYNONYMS = {
    "to the left of": "left of", "left of": "to the left of", "to the right of": "right of",
    "right of": "to the right of", "nearest to": "closest to", "next to": "beside", "in front of": "before",
    "above": "over", "below": "under", "behind": "in back of", "leftmost": "furthest left",
    "rightmost": "furthest right", "topmost": "highest", "bottommost": "lowest", "largest": "biggest",
    "biggest": "largest", "smallest": "tiniest", "large": "big", "big": "large", "small": "little",
    "striped": "stripy", "checked": "plaid", "solid": "plain", "purple": "violet", "cyan": "turquoise",
    "gray": "grey", "tan": "beige", "circle": "disc", "crescent": "moon", "diamond": "rhombus", "ring": "hoop",
    "man": "guy", "guy": "man", "woman": "lady", "lady": "woman", "kid": "child", "child": "kid", "couch": "sofa",
    "sofa": "couch", "bike": "bicycle", "bicycle": "bike", "mug": "cup", "cup": "mug", "sneakers": "trainers",
    "pants": "trousers", "trousers": "pants", "jacket": "coat", "coat": "jacket", "hat": "cap", "cap": "hat",
    "wearing": "dressed in", "holding": "carrying", "standing": "upright", "sitting": "seated",
}  # fmt: skip
"""Words -> other words for the same, in RefShapes and in RefScenes."""
_SYNONYMS = re.compile(rf"\b(?:{'|'.join(sorted(SYNONYMS, key=len, reverse=True))})\b", re.IGNORECASE)

Phrasing = Callable[[str, np.random.Generator], str]
"""Function of the words and of a random generator."""


def without_article(text: str, rng: np.random.Generator) -> str:
    """Return an expression without its articles.

    >>> without_article("the cross left of the blue heart", np.random.default_rng(0))
    'cross left of blue heart'
    """
    return _ARTICLES.sub("", text)


def reordered(text: str, rng: np.random.Generator) -> str:
    """Return an expression with its place or relation in front, or, where it has none, its adjectives reversed.

    >>> reordered("the heart on the right", np.random.default_rng(0))
    'on the right, the heart'
    >>> reordered("the striped red star", np.random.default_rng(0))
    'the red striped star'
    """
    article, adjectives, noun, rest = _parts(text)
    if rest and not (_CLAUSE.match(rest) or _ORDINAL.match(rest)):
        return f"{rest}, {_joined(article, *adjectives, noun)}"
    return _joined(article, *reversed(adjectives), noun, rest)


def in_a_clause(text: str, rng: np.random.Generator) -> str:
    """Return an expression whose adjectives and place are said in a relative clause.

    >>> in_a_clause("the small cross left of the blue heart", np.random.default_rng(0))
    'the cross that is small and left of the blue heart'
    """
    article, adjectives, noun, rest = _parts(text)
    if _CLAUSE.match(rest) or not (adjectives or rest):
        return text
    return _joined(article, noun, "that is", " and ".join([*adjectives, *([rest] if rest else [])]))


def in_the_plural(text: str, rng: np.random.Generator) -> str:
    """Return an expression with its noun in the plural, although one thing is meant.

    >>> in_the_plural("the small cross left of the blue heart", np.random.default_rng(0))
    'the small crosses left of the blue heart'
    """
    article, adjectives, noun, rest = _parts(text)
    article = "the" if article else article
    return _joined(article, *adjectives, plural(noun), rest)


def in_other_words(text: str, rng: np.random.Generator) -> str:
    """Return an expression with each known word replaced by a synonym.

    >>> in_other_words("the large circle left of the purple ring", np.random.default_rng(0))
    'the big disc to the left of the violet hoop'
    """
    return _SYNONYMS.sub(lambda match: SYNONYMS[match.group().lower()], text)


def as_a_request(text: str, rng: np.random.Generator) -> str:
    """Return an expression as a request.

    >>> as_a_request("the red star", np.random.default_rng(0))
    'find the red star, please'
    """
    return f"find {text}, please"


PHRASINGS: dict[str, Phrasing] = {
    "no article": without_article,
    "order": reordered,
    "relative clause": in_a_clause,
    "plural": in_the_plural,
    "synonyms": in_other_words,
    "typo": typo,
    "request": as_a_request,
}
"""Name -> function."""


def plural(noun: str) -> str:
    """Return the plural of a noun.

    >>> plural("cross"), plural("puppy"), plural("woman"), plural("glasses")
    ('crosses', 'puppies', 'women', 'glasses')
    """
    if noun in IRREGULAR_PLURALS:
        return IRREGULAR_PLURALS[noun]
    if number(noun).plural or noun in SINGULARS:
        return noun
    if noun.endswith(("s", "x", "z", "ch", "sh")):
        return f"{noun}es"
    return f"{noun[:-1]}ies" if noun.endswith("y") and noun[-2:-1] not in "aeiou" else f"{noun}s"


def _parts(text: str) -> tuple[str, list[str], str, str]:
    """Return the article, the adjectives, the noun and the rest of an expression; its noun may be empty."""
    opening = _OPENING.match(text)
    article = opening.group().strip() if opening else ""
    after = text[len(opening.group()) :] if opening else text
    *adjectives, noun = noun_phrase(after.lower()).split() or [""]
    head = " ".join([*adjectives, noun])
    if not head or not after.lower().startswith(head):
        return article, [], after, ""
    return article, adjectives, noun, after[len(head) :].strip(" ,")


def _joined(*words: str) -> str:
    return " ".join(word for word in words if word)
