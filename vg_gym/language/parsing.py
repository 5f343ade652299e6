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
"""Raise it when :func:`noun_phrases` cuts expressions differently: feature stores hold what the phrases led to."""
ARTICLES = ("", "a", "an", "the")
"""What stands before a relation without being a head."""
UNNAMED = (*ARTICLES, "one", "the one")
"""What may be left of a phrase that says only where the object is."""
COPULA = re.compile(r"\s(?:(?:that|which|who)(?: is| are|'s)?|is|are)$", re.IGNORECASE)
"""Of a relative clause, what stands before the words of place: "the cup that is" left of the plate."""
ADVERB = re.compile(
    r"(?<! the)(?<! on)(?<! to)(?<! at)(?<! far)(?<! top)(?<!bottom) (?:right|just|directly)$", re.IGNORECASE
)
"""What stands before a relation and belongs to it: "the cup right" next to the plate, but "on the right" next to it."""

_RELATION = re.compile(rf"(?<!\S)(?:{'|'.join(f'({r.pattern})' for r in RELATIONS)})(?!\S)", re.IGNORECASE)


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
        head = COPULA.sub("", ADVERB.sub("", text[: match.start()].strip()))
        anchor = text[match.end() :].strip()
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
    cut = next(filter(_decided_by_boxes, cuts(text)), None)
    if cut is None:
        return Parsed(*_phrase(text))
    return Parsed(*_phrase(cut.head), cut.relation.name, parse(cut.anchor))


def _decided_by_boxes(cut: Cut) -> bool:
    """Whether a cut is at a relation that the boxes of two objects decide, and not at words that look like one."""
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
    """What CLIP reads of a phrase, and the names of its superlatives."""
    rest, names = without_superlatives(text)
    rest = re.sub(COPULA, "", rest) if names else rest
    return ("object" if rest in UNNAMED else rest), names
