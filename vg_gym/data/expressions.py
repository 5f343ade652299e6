"""The language of RefShapes: referring expressions with a meaning that can be checked.

Four kinds, after the taxonomy usual for referring expressions:

- attribute: "the striped red star", "the blue shape"
- location: "the leftmost ring", "the heart on the right", "the star in the top left corner"
- size: "the largest star", "the small red cross"
- relation: "the cross left of the blue heart", "the star nearest to the white ring"

An :class:`Expression` is a small syntax tree with a ``text``, and :func:`parse` turns the text back into the tree.
:meth:`Expression.referents` evaluates it against a scene. Words that are vague in life are vague here: an object that
*might* be meant ("on the left", just left of the middle) counts as a referent, so an expression with exactly one
referent that is :meth:`~Expression.clearly` meant is unambiguous for any sensible reader.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache, partial

import numpy as np

from vg_gym.data.scenes import COLORS, FILLS, SHAPES, SIZES, Scene, Shape
from vg_gym.errors import VGGymError

KINDS = ("attribute", "location", "size", "relation")
"""Kinds of expression."""
ANY_SHAPE = "shape"
"""The noun that fits every shape."""


@dataclass(frozen=True)
class NounPhrase:
    """Attributes that an object must have; ``None`` leaves one open, and the noun "shape" fits every shape."""

    shape: str = ANY_SHAPE
    """One of :data:`~vg_gym.data.scenes.SHAPES`, or "shape"."""
    color: str | None = None
    """A key of :data:`~vg_gym.data.scenes.COLORS`."""
    fill: str | None = None
    """One of :data:`~vg_gym.data.scenes.FILLS`."""
    size: str | None = None
    """A key of :data:`~vg_gym.data.scenes.SIZES`."""

    @property
    def text(self) -> str:
        """The words, without an article: "small striped red star"."""
        return " ".join(word for word in (self.size, self.fill, self.color, self.shape) if word)

    def fits(self, item: Shape) -> bool:
        """Whether the object has all the attributes."""
        return (
            (self.shape == item.shape or self.shape == ANY_SHAPE)
            and (self.color == item.color or self.color is None)
            and (self.fill == item.fill or self.fill is None)
            and (self.size == item.size or self.size is None)
        )


Ranking = tuple[Callable[[Shape], float], float]
"""The number by which a superlative ranks objects, and the margin: a closer rival makes it ambiguous."""
_SUPERLATIVES: dict[str, tuple[str, Ranking]] = {
    "leftmost": ("location", (lambda s: -s.center[0], 0.08)),
    "rightmost": ("location", (lambda s: s.center[0], 0.08)),
    "topmost": ("location", (lambda s: -s.center[1], 0.08)),
    "bottommost": ("location", (lambda s: s.center[1], 0.08)),
    "largest": ("size", (lambda s: float(np.log(s.side)), 0.12)),
    "biggest": ("size", (lambda s: float(np.log(s.side)), 0.12)),
    "smallest": ("size", (lambda s: -float(np.log(s.side)), 0.12)),
}

# A place is a depth: how far inside the region the centre lies. Clear from 0.08 on, possible down to -0.08.
_VAGUE = 0.08
_PLACES: dict[str, Callable[[Shape], float]] = {
    "on the left": lambda s: 0.42 - s.center[0],
    "on the right": lambda s: s.center[0] - 0.58,
    "at the top": lambda s: 0.42 - s.center[1],
    "at the bottom": lambda s: s.center[1] - 0.58,
    "in the middle": lambda s: 0.25 - max(abs(s.center[0] - 0.5), abs(s.center[1] - 0.5)),
    "in the top left corner": lambda s: 0.42 - max(s.center[0], s.center[1]),
    "in the top right corner": lambda s: 0.42 - max(1 - s.center[0], s.center[1]),
    "in the bottom left corner": lambda s: 0.42 - max(s.center[0], 1 - s.center[1]),
    "in the bottom right corner": lambda s: 0.42 - max(1 - s.center[0], 1 - s.center[1]),
}

# A direction is a unit vector: (along, across) of the way from anchor to object.
_DIRECTIONS = {"left of": (-1, 0), "right of": (1, 0), "above": (0, -1), "below": (0, 1)}
_NEAREST = "nearest to"
_NEAREST_RATIO = 1.3
RELATIONS = (*_DIRECTIONS, _NEAREST)
"""All relations of the language."""


@dataclass(frozen=True)
class Expression:
    """A referring expression: a noun phrase, narrowed by at most one of superlative, place, relation + anchor."""

    head: NounPhrase
    """What is meant."""
    superlative: str | None = None
    """E.g. "leftmost", "largest"."""
    place: str | None = None
    """E.g. "on the left"."""
    relation: str | None = None
    """One of :data:`RELATIONS`, to the anchor."""
    anchor: NounPhrase | None = None
    """The object that the relation leads to."""

    @property
    def kind(self) -> str:
        """One of :data:`KINDS`."""
        if self.relation:
            return "relation"
        if self.superlative:
            return _SUPERLATIVES[self.superlative][0]
        if self.place:
            return "location"
        return "size" if self.head.size else "attribute"

    @property
    def text(self) -> str:
        """The English: "the small cross left of the blue heart"."""
        words = ["the", self.superlative, self.head.text, self.place, self.relation]
        text = " ".join(word for word in words if word)
        return f"{text} the {self.anchor.text}" if self.anchor else text

    def referents(self, scene: Scene) -> list[int]:
        """Indices of all objects that might be meant; unambiguous means exactly one."""
        return [i for i, margin in self.margins(scene) if margin > -1]

    def clearly(self, scene: Scene) -> list[int]:
        """Indices of the objects that are certainly meant."""
        return [i for i, margin in self.margins(scene) if margin >= 1]

    def margins(self, scene: Scene) -> list[tuple[int, float]]:
        """(index, margin) of the objects that fit the head: >= 1 clearly meant, <= -1 clearly not."""
        fitting = [i for i, item in enumerate(scene) if self.head.fits(item)]
        if self.superlative:
            rank, unit = _SUPERLATIVES[self.superlative][1]
            return _rivals([(i, rank(scene[i])) for i in fitting], unit)
        if self.place:
            return [(i, _PLACES[self.place](scene[i]) / _VAGUE) for i in fitting]
        if self.relation and self.anchor:
            return self._relation_margins(scene, fitting)
        return [(i, 1.0) for i in fitting]

    def _relation_margins(self, scene: Scene, fitting: list[int]) -> list[tuple[int, float]]:
        anchors = [i for i, item in enumerate(scene) if self.anchor and self.anchor.fits(item)]
        if len(anchors) != 1:  # an ambiguous anchor makes everything possible and nothing clear
            return [(i, 0.0) for i in fitting]
        at = scene[anchors[0]].center
        others = [i for i in fitting if i != anchors[0]]
        offsets = [(i, scene[i].center[0] - at[0], scene[i].center[1] - at[1]) for i in others]
        if self.relation == _NEAREST:
            return _rivals([(i, -float(np.log(np.hypot(dx, dy)))) for i, dx, dy in offsets], np.log(_NEAREST_RATIO))
        ux, uy = _DIRECTIONS[str(self.relation)]
        return [(i, _direction_margin(dx * ux + dy * uy, abs(dx * uy + dy * ux))) for i, dx, dy in offsets]


def _rivals(ranks: list[tuple[int, float]], unit: float) -> list[tuple[int, float]]:
    """Margins of a superlative: the lead over the best rival, in units of the least lead that is clear."""
    margins = []
    for i, value in ranks:
        best = max((other for j, other in ranks if j != i), default=-np.inf)
        margins.append((i, min(1.0, (value - best) / unit)))
    return margins


def _direction_margin(along: float, across: float) -> float:
    """Clear if mostly along the direction and not close; impossible only if clearly not along it."""
    if along >= 0.1 and across <= along:
        return 1.0
    return 0.0 if along > -0.02 else -1.0


_NOUN_PHRASE = (
    rf"(?:(?P<{{0}}size>{'|'.join(SIZES)}) )?(?:(?P<{{0}}fill>{'|'.join(FILLS)}) )?"
    rf"(?:(?P<{{0}}color>{'|'.join(COLORS)}) )?(?P<{{0}}shape>{'|'.join((*SHAPES, ANY_SHAPE))})"
)
_GRAMMAR = re.compile(
    rf"the (?:(?P<superlative>{'|'.join(_SUPERLATIVES)}) )?{_NOUN_PHRASE.format('head_')}"
    rf"(?: (?P<place>{'|'.join(_PLACES)})| (?P<relation>{'|'.join(RELATIONS)}) the {_NOUN_PHRASE.format('anchor_')})?"
)


def parse(text: str) -> Expression:
    """The expression that a text of this language means.

    Raises:
        VGGymError: the text is not of the language.
    """
    match = _GRAMMAR.fullmatch(text.strip().lower())
    if match is None:
        raise VGGymError(f"not a RefShapes expression: {text!r}; e.g. 'the small cross left of the blue heart'")
    found = match.groupdict()

    def phrase(role: str) -> NounPhrase:
        return NounPhrase(*(found[f"{role}_{part}"] for part in ("shape", "color", "fill", "size")))

    anchor = phrase("anchor") if found["relation"] else None
    return Expression(phrase("head"), found["superlative"], found["place"], found["relation"], anchor)


def vocabulary() -> tuple[str, ...]:
    """Every word of the language, sorted."""
    phrases = [*_SUPERLATIVES, *_PLACES, *RELATIONS]
    words = {word for phrase in phrases for word in phrase.split()}
    return tuple(sorted(words | {"the", ANY_SHAPE, *SHAPES, *COLORS, *FILLS, *SIZES}))


Rest = tuple[str | None, str | None, str | None, NounPhrase | None]
"""What may narrow a noun phrase: superlative, place, relation, anchor."""
_NOTHING: list[Rest] = [(None, None, None, None)]
_RANKED: dict[str, list[Rest]] = {
    kind: [(word, None, None, None) for word, (k, _) in _SUPERLATIVES.items() if k == kind] for kind in KINDS
}
_PLACED: list[Rest] = [(None, place, None, None) for place in _PLACES]


@dataclass(frozen=True)
class _Choices:
    """Expressions that are made only where they are looked at: each of some noun phrases with each of some rests."""

    heads: Sequence[NounPhrase]
    rests: Sequence[Rest]
    size: str | None = None
    """Size word of all noun phrases."""

    def __len__(self) -> int:
        return len(self.heads) * len(self.rests)

    def __getitem__(self, number: int) -> Expression:
        first, second = divmod(number, len(self.rests))
        head = self.heads[first]
        return Expression(replace(head, size=self.size) if self.size else head, *self.rests[second])


def _candidates(
    item: Shape, kind: str, crowd: Sequence[NounPhrase], anchors: Sequence[NounPhrase]
) -> tuple[_Choices, ...]:
    """Expressions of one kind that describe an object, ambiguous ones included.

    Every word earns its place: a location, size word or relation is used only where the noun phrase alone fits
    several objects.

    Args:
        item: the object.
        kind: of expression.
        crowd: its noun phrases that fit several objects.
        anchors: what other objects are called, those that have a name of their own.
    """
    if kind == "attribute":
        return (_Choices(_heads(item.shape, item.color, item.fill), _NOTHING),)
    if kind == "relation":
        return (_Choices(crowd, [(None, None, word, anchor) for word in RELATIONS for anchor in anchors]),)
    if kind == "location":
        return _Choices(crowd, _RANKED[kind]), _Choices(crowd, _PLACED)
    return _Choices(crowd, _RANKED[kind]), _Choices((*crowd, NounPhrase()), _NOTHING, item.size)


def _chosen(choices: Sequence[_Choices], number: int) -> Expression:
    """The expression with a number, counted through all choices."""
    for part in choices:
        if number < len(part):
            return part[number]
        number -= len(part)
    raise IndexError(number)


def unambiguous(expression: Expression, scene: Scene, target: int) -> bool:
    """Whether the object, and no other, is meant, and clearly."""
    margins = expression.margins(scene)
    return all((margin >= 1) if i == target else (margin <= -1) for i, margin in margins) and bool(margins)


def sample_expressions(scene: Scene, kind: str, rng: np.random.Generator, count: int) -> list[tuple[int, Expression]]:
    """Up to ``count`` different unambiguous expressions of a kind, each with the index of what it means.

    Objects take turns, in random order, so that the first expressions mean different objects.

    Args:
        scene: the objects.
        kind: one of :data:`KINDS`.
        rng: decides the order.
        count: most expressions.
    """
    queues, (crowds, names) = [], _about(scene)
    for target in rng.permutation(len(scene)).tolist():
        anchors = [name for i, name in enumerate(names) if i != target and name is not None]
        choices = _candidates(scene[target], kind, crowds[target], anchors)
        order = rng.permutation(sum(map(len, choices)))
        queues.append((target, map(partial(_chosen, choices), order.tolist())))
    found: list[tuple[int, Expression]] = []
    while queues and len(found) < count:
        target, options_left = queues.pop(0)
        hit = next((e for e in options_left if unambiguous(e, scene, target)), None)
        if hit is not None:
            found.append((target, hit))
            queues.append((target, options_left))
    return found


@cache
def _heads(shape: str, color: str, fill: str) -> tuple[NounPhrase, ...]:
    """All noun phrases that fit an object and name at least one attribute; no size words."""
    named = itertools.product((shape, ANY_SHAPE), (None, color), (None, fill))
    return tuple(NounPhrase(*words) for words in named if words != (ANY_SHAPE, None, None))


@lru_cache(maxsize=1)
def _about(scene: Scene) -> tuple[list[list[NounPhrase]], list[NounPhrase | None]]:
    """For every object its noun phrases that fit several, and its name: the shortest that fits it alone, shape named.

    A noun phrase without a size word fits the objects that have it among their own. The last scene is kept, of which
    one kind of expression is asked after the other.
    """
    phrases = [_heads(item.shape, item.color, item.fill) for item in scene]
    counts = Counter(itertools.chain.from_iterable(phrases))
    crowds, names = [], []
    for heads in phrases:
        crowds.append([head for head in heads if counts[head] > 1])
        unique = (head for head in heads if head.shape != ANY_SHAPE and counts[head] == 1)
        names.append(min(unique, key=lambda head: len(head.text), default=None))
    return crowds, names
