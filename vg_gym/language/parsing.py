"""Referring expressions taken apart.

One small grammar, read from left to right::

    expression = phrase [relation expression]
    phrase     = words, among them any number of superlatives

Relations and superlatives are those of :mod:`vg_gym.language.vocabulary`. A relation needs words on both sides, and
an article alone is none: "the nearest cup" is one phrase, "the cup nearest the cat" is two.

Two views of the same cuts:

- :func:`noun_phrases` cuts at the first relation, whatever it is: the head and the anchor, as texts for CLIP.
- :func:`parse` cuts at the relations that boxes can decide, and takes the superlatives out of the phrases between;
  what boxes cannot decide ("in the yellow coat") stays in the phrase, which CLIP reads.

ReCLIP (Subramanian et al., ACL 2022) uses spaCy's dependency parser; this grammar covers the relations that ReCLIP's
rules know without one, and misreads longer sentences.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from vg_gym.language.vocabulary import RELATIONS, SUPERLATIVES, Relation

PHRASE_RULES = 1
"""Raise it when :func:`noun_phrases` cuts expressions differently: feature stores hold what the phrases led to."""
ARTICLES = ("", "a", "an", "the")
"""What stands before a relation without being a head."""
UNNAMED = (*ARTICLES, "one", "the one")
"""What may be left of a phrase that says only where the object is."""

_RELATION = re.compile(rf"(?<!\S)(?:{'|'.join(f'({r.pattern})' for r in RELATIONS)})(?!\S)", re.IGNORECASE)
_SUPERLATIVES = {s.name: re.compile(rf"\b(?:{s.pattern})\b") for s in SUPERLATIVES}


@dataclass(frozen=True)
class Cut:
    """A text cut in two at a relation."""

    head: str
    """What stands before the relation."""
    relation: Relation
    """The relation between the two."""
    anchor: str
    """What stands after it."""


@dataclass(frozen=True)
class Parsed:
    """An expression taken apart: what CLIP reads, and what the boxes decide."""

    phrase: str
    """What CLIP reads."""
    superlatives: tuple[str, ...] = ()
    """Names of the superlatives that were in the phrase."""
    relation: str | None = None
    """Name of the relation to the anchor."""
    anchor: Parsed | None = None
    """The expression that the relation leads to."""

    @property
    def plain(self) -> bool:
        """Whether nothing was taken out."""
        return not self.superlatives and self.relation is None


def cuts(text: str) -> Iterator[Cut]:
    """Every way to cut a text at a relation, from left to right; cuts of "a near b near c" are two.

    >>> [(cut.head, cut.relation.name, cut.anchor) for cut in cuts("a man in a red coat next to a dog")]
    [('a man', 'in', 'a red coat next to a dog'), ('a man in a red coat', 'near', 'a dog')]
    """
    for match in _RELATION.finditer(text):
        head, anchor = text[: match.start()].strip(), text[match.end() :].strip()
        if head.lower() not in ARTICLES and anchor:
            yield Cut(head, RELATIONS[int(match.lastindex or 0) - 1], anchor)


def noun_phrases(expression: str) -> tuple[str, str]:
    """(head, anchor) of an expression, cut at its first relation; without one the anchor is empty.

    >>> noun_phrases("the small cross left of the blue heart")
    ('the small cross', 'the blue heart')
    >>> noun_phrases("the largest star")
    ('the largest star', '')
    """
    text = " ".join(expression.split())
    cut = next(cuts(text), None)
    return (cut.head, cut.anchor) if cut else (expression.strip(), "")


def parse(expression: str) -> Parsed:
    """Take relations and superlatives that boxes can decide out of an expression; phrases are lower-case.

    >>> parse("the small cross left of the blue heart")
    Parsed(phrase='the small cross', superlatives=(), relation='left of', anchor=Parsed(phrase='the blue heart', \
superlatives=(), relation=None, anchor=None))
    >>> parse("the leftmost ring in the box")
    Parsed(phrase='ring in the box', superlatives=('left',), relation=None, anchor=None)
    """
    text = " ".join(expression.lower().split())
    cut = next((cut for cut in cuts(text) if cut.relation.over_boxes), None)
    if cut is None:
        return Parsed(*_without_superlatives(text))
    return Parsed(*_without_superlatives(cut.head), cut.relation.name, parse(cut.anchor))


def _without_superlatives(text: str) -> tuple[str, tuple[str, ...]]:
    """What is left of a phrase, and the names of the superlatives taken out of it."""
    found = []
    for name, pattern in _SUPERLATIVES.items():
        rest, count = pattern.subn(" ", text)
        if count:
            found.append(name)
            text = " ".join(rest.split())
    return ("object" if text in UNNAMED else text), tuple(found)
