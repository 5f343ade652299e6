"""Parser of referring expressions.

It uses one small grammar, from left to right::

    expression = phrase [relation expression]
    phrase     = words, with any number of superlatives and at most one ordinal among them

:mod:`vg_gym.language.vocabulary` lists the relations and superlatives. A relation needs words on both sides, and an
article alone does not count: "the nearest cup" is one phrase, "the cup nearest the cat" is two.

Two functions use the same cuts:

- :func:`noun_phrases` cuts at the first relation that boxes can decide, otherwise at the first of any kind, and returns
  the head and the anchor as texts for CLIP.
- :func:`parse` cuts at the relations that boxes can decide, and removes superlatives, ordinals and scenery from the
  phrases between them. Words that boxes cannot decide ("in the yellow coat") stay in the phrase, which CLIP reads.

:mod:`vg_gym.language.attachment` tells a relation from words that look like one, and :mod:`vg_gym.language.places`
does so for places. ReCLIP (Subramanian et al., ACL 2022) uses spaCy's dependency parser; this grammar does without
one. It keeps one relation of the target, and drops others that "and" joins.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from vg_gym.language.attachment import relates
from vg_gym.language.places import take_out_places, without_scenery
from vg_gym.language.vocabulary import RELATIONS, Relation

PHRASE_RULES = 3
"""Version of :func:`noun_phrases`; increase it with every change of the cuts, on which feature stores depend."""
ARTICLES = ("", "a", "an", "the")
"""Texts before a relation that are not a head."""
UNNAMED = (*ARTICLES, "one", "the one")
"""Remains of a phrase that states only the place of the object."""
COPULA = re.compile(
    r"\s(?:(?:(?:that|which|who)(?: is| are|'s| ' s)?|is|are)"
    r"(?: (?:located|situated|positioned|placed|kept|found|seen))?(?: the)?"
    r"|located|situated|positioned|placed|and|but|,)$",
    re.IGNORECASE,
)
"""End of a head whose relative clause continues with words of place: "the cup that is" left of the plate."""
OPENING = re.compile(r"^(?:there|this|it|that) (?:is|was|are) (?=\w)")
"""Beginning of a sentence: "there is" a cup."""
ADVERB = re.compile(
    r"(?<! the)(?<! on)(?<! to)(?<! at)(?<! far)(?<! top)(?<!bottom) (?:right|just|directly)$", re.IGNORECASE
)
"""Adverb before a relation that belongs to it: "the cup right" next to the plate, but not "on the right" next to it."""

_RELATION = re.compile(rf"(?<!\S)(?:{'|'.join(f'({r.pattern})' for r in RELATIONS)})(?!\S)", re.IGNORECASE)


@dataclass(frozen=True)
class Cut:
    """A text that is cut in two at a relation."""

    head: str
    """Text before the relation."""
    relation: Relation
    """Relation that the words between head and anchor may express."""
    anchor: str
    """Text after the relation."""
    words: str
    """Words of the relation, in lower case."""

    @property
    def over_boxes(self) -> bool:
        """True if the boxes of two objects decide this relation; words may only look like one."""
        head, anchor = self.head.lower(), self.anchor.lower()
        return self.relation.over_boxes and relates(self.relation.name, self.words, head, anchor)


@dataclass(frozen=True)
class Parsed:
    """A parsed expression: a phrase for CLIP, and superlatives and a relation for boxes."""

    phrase: str
    """Phrase for CLIP."""
    superlatives: tuple[str, ...] = ()
    """Names of the superlatives that were removed from the phrase."""
    relation: str | None = None
    """Name of the relation to the anchor."""
    anchor: Parsed | None = None
    """Expression of the anchor."""
    ordinal: tuple[int, str] | None = None
    """Number and the superlative from which it counts: ``(2, "left")`` is the second from the left."""

    @property
    def plain(self) -> bool:
        """True if the expression has neither superlatives, nor an ordinal, nor a relation."""
        return not self.superlatives and self.relation is None and self.ordinal is None


def cuts(text: str) -> Iterator[Cut]:
    """Yield every cut of a text at a relation, from left to right; "a near b near c" has two.

    >>> [(cut.head, cut.relation.name, cut.anchor) for cut in cuts("a man in a red coat next to a dog")]
    [('a man', 'inside', 'a red coat next to a dog'), ('a man in a red coat', 'near', 'a dog')]
    """
    for match in _RELATION.finditer(text):
        head = COPULA.sub("", ADVERB.sub("", text[: match.start()].strip()))
        anchor = text[match.end() :].strip()
        if head.lower() not in ARTICLES and anchor:
            yield Cut(head, RELATIONS[int(match.lastindex or 0) - 1], anchor, match.group().lower())


def noun_phrases(expression: str) -> tuple[str, str]:
    """Return (head, anchor) of an expression, cut at its first relation; without a relation the anchor is empty.

    >>> noun_phrases("the small cross left of the blue heart")
    ('the small cross', 'the blue heart')
    >>> noun_phrases("the largest star")
    ('the largest star', '')
    """
    text = _spaced(expression)
    cut = next((cut for cut in cuts(text) if cut.over_boxes), None) or next(cuts(text), None)
    return (cut.head, cut.anchor) if cut else (expression.strip(), "")


def _spaced(text: str) -> str:
    """Return a text with single spaces, also before its punctuation marks, and without marks at its end."""
    return " ".join(re.sub(r"(?<=[^\W\d])([,.;:!?]+)(?=\s|$)", r" \1", text).split()).rstrip(" .,;!")


def _trimmed(text: str) -> str:
    """Return a head without its opening and without words at its end that led to what was taken out."""
    while (shorter := COPULA.sub("", text).strip()) != text:
        text = shorter
    return OPENING.sub("", text)


def parse(expression: str) -> Parsed:
    """Separate relations, superlatives and ordinals, which boxes can decide, from the lower-case phrases around them.

    >>> parse("the small cross left of the blue heart")
    Parsed(phrase='the small cross', superlatives=(), relation='left of', anchor=Parsed(phrase='the blue heart', \
superlatives=(), relation=None, anchor=None, ordinal=None), ordinal=None)
    >>> parse("the second man in red from the left")
    Parsed(phrase='man in red', superlatives=(), relation=None, anchor=None, ordinal=(2, 'left'))
    """
    text = _spaced(expression.lower())
    cut = next((cut for cut in cuts(text) if cut.over_boxes), None)
    placed = take_out_places(_trimmed(cut.head) if cut else text)
    words = without_scenery(_trimmed(placed.words))
    phrase = "object" if words in UNNAMED else words
    relation, anchor = (cut.relation.name, parse(cut.anchor)) if cut else (None, None)
    return Parsed(phrase, placed.superlatives, relation, anchor, placed.ordinal)
