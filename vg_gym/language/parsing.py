"""Parser of referring expressions.

It uses one small grammar, from left to right::

    expression = phrase [relation expression]
    phrase     = words, with any number of superlatives among them

:mod:`vg_gym.language.vocabulary` lists the relations and superlatives. A relation needs words on both sides, and an
article alone does not count: "the nearest cup" is one phrase, "the cup nearest the cat" is two.

Two functions use the same cuts:

- :func:`noun_phrases` cuts at the first relation of any kind and returns the head and the anchor as texts for CLIP.
- :func:`parse` cuts at the relations that boxes can decide, and removes the superlatives from the phrases between
  them. Words that boxes cannot decide ("in the yellow coat") stay in the phrase, which CLIP reads.

ReCLIP (Subramanian et al., ACL 2022) uses spaCy's dependency parser. This grammar covers the relations of ReCLIP's
rules without one, and misreads longer sentences.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from vg_gym.language.places import without_superlatives
from vg_gym.language.vocabulary import (
    OF_AN_AGENT,
    OVER_ITSELF,
    PLACED,
    RELATIONS,
    SCENES,
    UNPLACEABLE,
    VIEWER,
    Relation,
)

PHRASE_RULES = 2
"""Version of :func:`noun_phrases`; increase it with every change of the cuts, on which feature stores depend."""
ARTICLES = ("", "a", "an", "the")
"""Texts before a relation that are not a head."""
UNNAMED = (*ARTICLES, "one", "the one")
"""Remains of a phrase that states only the place of the object."""
COPULA = re.compile(r"\s(?:(?:that|which|who)(?: is| are|'s)?|is|are)$", re.IGNORECASE)
"""End of a head whose relative clause continues with words of place: "the cup that is" left of the plate."""
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
    """Relation between head and anchor."""
    anchor: str
    """Text after the relation."""


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

    @property
    def plain(self) -> bool:
        """True if the expression has neither superlatives nor a relation."""
        return not self.superlatives and self.relation is None


def cuts(text: str) -> Iterator[Cut]:
    """Yield every cut of a text at a relation, from left to right; "a near b near c" has two.

    >>> [(cut.head, cut.relation.name, cut.anchor) for cut in cuts("a man in a red coat next to a dog")]
    [('a man', 'in', 'a red coat next to a dog'), ('a man in a red coat', 'near', 'a dog')]
    """
    for match in _RELATION.finditer(text):
        head = COPULA.sub("", ADVERB.sub("", text[: match.start()].strip()))
        anchor = text[match.end() :].strip()
        if head.lower() not in ARTICLES and anchor:
            yield Cut(head, RELATIONS[int(match.lastindex or 0) - 1], anchor)


def noun_phrases(expression: str) -> tuple[str, str]:
    """Return (head, anchor) of an expression, cut at its first relation; without a relation the anchor is empty.

    >>> noun_phrases("the small cross left of the blue heart")
    ('the small cross', 'the blue heart')
    >>> noun_phrases("the largest star")
    ('the largest star', '')
    """
    text = " ".join(expression.split())
    cut = next(cuts(text), None)
    return (cut.head, cut.anchor) if cut else (expression.strip(), "")


def parse(expression: str) -> Parsed:
    """Separate the relations and superlatives that boxes can decide from the lower-case phrases of an expression.

    >>> parse("the small cross left of the blue heart")
    Parsed(phrase='the small cross', superlatives=(), relation='left of', anchor=Parsed(phrase='the blue heart', \
superlatives=(), relation=None, anchor=None))
    >>> parse("the leftmost ring in the box")
    Parsed(phrase='ring in the box', superlatives=('left',), relation=None, anchor=None)
    """
    text = " ".join(expression.lower().split())
    cut = next(filter(_decided_by_boxes, cuts(text)), None)
    if cut is None:
        return Parsed(*_phrase(text))
    return Parsed(*_phrase(cut.head), cut.relation.name, parse(cut.anchor))


def _decided_by_boxes(cut: Cut) -> bool:
    """Return whether the boxes of two objects decide the relation of a cut; words may only look like a relation."""
    name, head, anchor = cut.relation.name, cut.head, cut.anchor
    if not cut.relation.over_boxes or re.match(UNPLACEABLE, anchor):
        return False
    if name in ("left of", "right of"):
        return not re.match(rf"(?:the |a )?(?:\w+ )?(?:{SCENES})\b", anchor)
    if name == "near":
        made_by = re.search(OF_AN_AGENT, head) and not re.search(PLACED, head)
        return not made_by and not re.match(VIEWER, anchor)
    if name in ("above", "below"):
        inner = re.search(r"\b(?:with|holding|wearing|carrying|having)\b", head)
        return not inner and not re.search(OVER_ITSELF, head) and not re.match("(?:his|her|its|their) ", anchor)
    return True


def _phrase(text: str) -> tuple[str, tuple[str, ...]]:
    """Return the part of a phrase that CLIP reads, and the names of its superlatives."""
    words, names = without_superlatives(text)
    words = re.sub(COPULA, "", words) if names else words
    return ("object" if words in UNNAMED else words), names
