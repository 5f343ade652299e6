"""Grammatical number of a referring expression: whether its words mean several objects, and how many.

The head noun is the last word before the first preposition, relative pronoun or participle. It is a plural if it ends
like one or is an irregular one. Numerals, quantifiers and plural articles before it decide first.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

NUMERALS = {name: value for value, name in enumerate("two three four five six seven eight nine ten".split(), 2)}
"""Numerals and the numbers that they state."""
COUNTS = {**NUMERALS, "both": 2, "twin": 2}
PLURALS = frozenset("all these those several many some every each everyone".split())
"""Words that make an expression a plural without stating a number."""
IRREGULAR = frozenset("people men women children kids feet teeth geese mice persons oxen".split())
"""Plurals that do not end in "s"."""
SINGULARS = frozenset(
    "pants jeans shorts trousers glasses sunglasses scissors binoculars headphones clothes overalls bus lens gas "
    "canvas christmas tennis species series sports news cactus octopus hippopotamus asparagus walrus this".split()
)
"""Nouns in "s" that mean one thing."""
_BREAKS = frozenset(
    "on in at with without of to from by under over above below left right near next nearest between behind beside "
    "before after around that which who whose is are inside outside against along across through farthest closest "
    "furthest for and".split()
)
"""Words that end the head of an expression."""
_POLITE = frozenset("please thanks".split())
"""Words of a request, which do not belong to the expression."""
_SINGULAR_ENDS = ("ss", "us", "is")


@dataclass(frozen=True)
class Number:
    """Number of an expression."""

    plural: bool
    """True if its words mean several objects."""
    count: int | None = None
    """Number of objects that it states."""


def number(expression: str) -> Number:
    """Return the grammatical number of a referring expression.

    >>> number("the two red circles above the cross"), number("the cross left of the circles")
    (Number(plural=True, count=2), Number(plural=False, count=None))
    >>> number("both cups").count, number("people in the back").plural, number("player 3").plural
    (2, True, False)
    """
    words = re.findall(r"[a-z]+|\d+", re.sub(r"['\u2019]s\b", "", expression.lower()))
    head = _head([word for word in words if word not in _POLITE])
    count = next((value for value in map(_value, ["", *head], head) if value), None)
    if count is not None:
        return Number(count > 1, count)
    return Number(any(word in PLURALS for word in head) or bool(head) and _is_plural(head[-1]))


def _head(words: list[str]) -> list[str]:
    """Return the words before the first break, without participles at their end."""
    end = next((place for place, word in enumerate(words) if place and word in _BREAKS), len(words))
    head = words[:end]
    while len(head) > 1 and head[-1].endswith(("ing", "ed")):
        head = head[:-1]
    return head


def _value(before: str, word: str) -> int | None:
    """Return the number of objects that a word states; None for other words, and for the digits of "player 3"."""
    if word.isdigit():
        counts = before in ("", "the", *PLURALS) and len(word) < 3
        return int(word) or None if counts else None
    return 1 if word == "one" else COUNTS.get(word)


def _is_plural(word: str) -> bool:
    if word in IRREGULAR:
        return True
    return len(word) > 2 and word.endswith("s") and not word.endswith(_SINGULAR_ENDS) and word not in SINGULARS
