"""The language of RefShapes: referring expressions with a meaning that can be checked.

There are four kinds, as in the usual taxonomy of referring expressions:

- attribute: "the striped red star", "the blue shape"
- location: "the leftmost ring", "the heart on the right", "the star in the top left corner"
- size: "the largest star", "the small red cross"
- relation: "the cross left of the blue heart", "the star nearest to the white ring"

An :class:`Expression` is a small syntax tree with a ``text``, and :func:`read_expression` turns the text back into
the tree. :meth:`Expression.referents` evaluates it against a scene. Vague words stay vague: an object that an
expression *might* refer to ("on the left", just left of the middle) counts as a referent. An expression with exactly
one referent that it refers to :meth:`~Expression.clearly` is therefore unambiguous for any sensible reader.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache, partial

import numpy as np

from vg_gym.data.worlds.refshapes.scenes import COLORS, FILLS, SHAPES, SIZES, Scene, Shape
from vg_gym.errors import VGGymError

KINDS = ("attribute", "location", "size", "relation")
"""Kinds of expressions."""
ANY_SHAPE = "shape"
"""The noun that fits every shape."""


@dataclass(frozen=True)
class NounPhrase:
    """Attributes that an object must have; None allows any value, and the noun "shape" fits every shape."""

    shape: str = ANY_SHAPE
    """One of :data:`~vg_gym.data.worlds.refshapes.scenes.SHAPES`, or "shape"."""
    color: str | None = None
    """A key of :data:`~vg_gym.data.worlds.refshapes.scenes.COLORS`."""
    fill: str | None = None
    """One of :data:`~vg_gym.data.worlds.refshapes.scenes.FILLS`."""
    size: str | None = None
    """A key of :data:`~vg_gym.data.worlds.refshapes.scenes.SIZES`."""

    @property
    def text(self) -> str:
        """The words, without an article: "small striped red star"."""
        return " ".join(word for word in (self.size, self.fill, self.color, self.shape) if word)

    def fits(self, item: Shape) -> bool:
        """Return whether the object has all attributes."""
        return (
            (self.shape == item.shape or self.shape == ANY_SHAPE)
            and (self.color == item.color or self.color is None)
            and (self.fill == item.fill or self.fill is None)
            and (self.size == item.size or self.size is None)
        )


Ranking = tuple[Callable[[Shape], float], float]
"""Key by which a superlative ranks objects, and the margin: with a closer rival it is ambiguous."""
_SUPERLATIVES: dict[str, tuple[str, Ranking]] = {
    "leftmost": ("location", (lambda s: -s.center[0], 0.08)),
    "rightmost": ("location", (lambda s: s.center[0], 0.08)),
    "topmost": ("location", (lambda s: -s.center[1], 0.08)),
    "bottommost": ("location", (lambda s: s.center[1], 0.08)),
    "largest": ("size", (lambda s: float(np.log(s.side)), 0.12)),
    "biggest": ("size", (lambda s: float(np.log(s.side)), 0.12)),
    "smallest": ("size", (lambda s: -float(np.log(s.side)), 0.12)),
}

# A place is a depth, the distance of the centre to the region's border: clear from 0.08 on, possible down to -0.08.
_VAGUE = 0.08
PLACES: dict[str, Callable[[Shape], float]] = {
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

# A direction is a unit vector (x, y) from the anchor to the object.
DIRECTIONS = {"left of": (-1, 0), "right of": (1, 0), "above": (0, -1), "below": (0, 1)}
_NEAREST = "nearest to"
_NEAREST_RATIO = 1.3
SCENE_RELATIONS = (*DIRECTIONS, _NEAREST)
"""All relations of the language."""


@dataclass(frozen=True)
class Expression:
    """A referring expression: a noun phrase with at most one of superlative, place, and relation to an anchor."""

    head: NounPhrase
    """Noun phrase of the target."""
    superlative: str | None = None
    """E.g. "leftmost", "largest"."""
    place: str | None = None
    """E.g. "on the left"."""
    relation: str | None = None
    """Relation of the target to the anchor, one of :data:`SCENE_RELATIONS`."""
    anchor: NounPhrase | None = None
    """Noun phrase of the anchor."""

    @property
    def kind(self) -> str:
        """Kind of the expression, one of :data:`KINDS`."""
        if self.relation:
            return "relation"
        if self.superlative:
            return _SUPERLATIVES[self.superlative][0]
        if self.place:
            return "location"
        return "size" if self.head.size else "attribute"

    @property
    def text(self) -> str:
        """English text: "the small cross left of the blue heart"."""
        words = ["the", self.superlative, self.head.text, self.place, self.relation]
        text = " ".join(word for word in words if word)
        return f"{text} the {self.anchor.text}" if self.anchor else text

    def referents(self, scene: Scene) -> list[int]:
        """Return the indices of all possible targets; an unambiguous expression has exactly one."""
        return [i for i, margin in self.margins(scene) if margin > -1]

    def clearly(self, scene: Scene) -> list[int]:
        """Return the indices of the certain targets."""
        return [i for i, margin in self.margins(scene) if margin >= 1]

    def margins(self, scene: Scene) -> list[tuple[int, float]]:
        """Return (index, margin) of the objects that fit the head: >= 1 is clearly a target, <= -1 clearly not."""
        fitting = [i for i, item in enumerate(scene) if self.head.fits(item)]
        if self.superlative:
            rank, unit = _SUPERLATIVES[self.superlative][1]
            return _rivals([(i, rank(scene[i])) for i in fitting], unit)
        if self.place:
            return [(i, PLACES[self.place](scene[i]) / _VAGUE) for i in fitting]
        if self.relation and self.anchor:
            return self._relation_margins(scene, fitting)
        return [(i, 1.0) for i in fitting]

    def _relation_margins(self, scene: Scene, fitting: list[int]) -> list[tuple[int, float]]:
        anchors = [i for i, item in enumerate(scene) if self.anchor and self.anchor.fits(item)]
        if len(anchors) != 1:  # with an ambiguous anchor everything is possible and nothing is clear
            return [(i, 0.0) for i in fitting]
        at = scene[anchors[0]].center
        others = [i for i in fitting if i != anchors[0]]
        offsets = [(i, scene[i].center[0] - at[0], scene[i].center[1] - at[1]) for i in others]
        if self.relation == _NEAREST:
            return _rivals([(i, -float(np.log(np.hypot(dx, dy)))) for i, dx, dy in offsets], np.log(_NEAREST_RATIO))
        ux, uy = DIRECTIONS[str(self.relation)]
        return [(i, _direction_margin(dx * ux + dy * uy, abs(dx * uy + dy * ux))) for i, dx, dy in offsets]


def _rivals(ranks: list[tuple[int, float]], unit: float) -> list[tuple[int, float]]:
    """Return the margins of a superlative: the lead over the best rival, in units of the smallest clear lead."""
    margins = []
    for i, value in ranks:
        best = max((other for j, other in ranks if j != i), default=-np.inf)
        margins.append((i, min(1.0, (value - best) / unit)))
    return margins


def _direction_margin(along: float, across: float) -> float:
    """Return the margin of a direction: 1 if the offset is long and mostly along it, -1 only if it points backwards."""
    if along >= 0.1 and across <= along:
        return 1.0
    return 0.0 if along > -0.02 else -1.0


_NOUN_PHRASE = (
    rf"(?:(?P<{{0}}size>{'|'.join(SIZES)}) )?(?:(?P<{{0}}fill>{'|'.join(FILLS)}) )?"
    rf"(?:(?P<{{0}}color>{'|'.join(COLORS)}) )?(?P<{{0}}shape>{'|'.join((*SHAPES, ANY_SHAPE))})"
)
_GRAMMAR = re.compile(
    rf"the (?:(?P<superlative>{'|'.join(_SUPERLATIVES)}) )?{_NOUN_PHRASE.format('head_')}"
    rf"(?: (?P<place>{'|'.join(PLACES)})"
    rf"| (?P<relation>{'|'.join(SCENE_RELATIONS)}) the {_NOUN_PHRASE.format('anchor_')})?"
)


def read_expression(text: str) -> Expression:
    """Read a text of this language as an expression.

    Raises:
        VGGymError: the text does not belong to the language.
    """
    match = _GRAMMAR.fullmatch(text.strip().lower())
    if match is None:
        raise VGGymError(f"not a RefShapes expression: {text!r}; e.g. 'the small cross left of the blue heart'")
    parts = match.groupdict()

    def phrase(role: str) -> NounPhrase:
        return NounPhrase(*(parts[f"{role}_{part}"] for part in ("shape", "color", "fill", "size")))

    anchor = phrase("anchor") if parts["relation"] else None
    return Expression(phrase("head"), parts["superlative"], parts["place"], parts["relation"], anchor)


def vocabulary() -> tuple[str, ...]:
    """Return all words of the language, sorted."""
    phrases = [*_SUPERLATIVES, *PLACES, *SCENE_RELATIONS]
    words = {word for phrase in phrases for word in phrase.split()}
    return tuple(sorted(words | {"the", ANY_SHAPE, *SHAPES, *COLORS, *FILLS, *SIZES}))


Modifiers = tuple[str | None, str | None, str | None, NounPhrase | None]
"""Modifiers of a noun phrase: superlative, place, relation, anchor."""
_NOTHING: list[Modifiers] = [(None, None, None, None)]
_RANKED: dict[str, list[Modifiers]] = {
    kind: [(word, None, None, None) for word, (k, _) in _SUPERLATIVES.items() if k == kind] for kind in KINDS
}
_PLACED: list[Modifiers] = [(None, place, None, None) for place in PLACES]


@dataclass(frozen=True)
class _Choices:
    """Lazy sequence of expressions: every noun phrase of ``heads`` with every entry of ``modifiers``."""

    heads: Sequence[NounPhrase]
    modifiers: Sequence[Modifiers]
    size: str | None = None
    """Size word of all noun phrases."""

    def __len__(self) -> int:
        return len(self.heads) * len(self.modifiers)

    def __getitem__(self, number: int) -> Expression:
        first, second = divmod(number, len(self.modifiers))
        head = self.heads[first]
        return Expression(replace(head, size=self.size) if self.size else head, *self.modifiers[second])


def _candidates(
    item: Shape, kind: str, crowd: Sequence[NounPhrase], anchors: Sequence[NounPhrase]
) -> tuple[_Choices, ...]:
    """Return the expressions of one kind that describe an object, including ambiguous ones.

    Every word is needed: a location, size word or relation is used only where the noun phrase alone fits several
    objects.

    Args:
        item: the object.
        kind: kind of the expressions.
        crowd: noun phrases of the object that fit several objects.
        anchors: unique names of other objects.
    """
    if kind == "attribute":
        return (_Choices(_heads(item.shape, item.color, item.fill), _NOTHING),)
    if kind == "relation":
        return (_Choices(crowd, [(None, None, word, anchor) for word in SCENE_RELATIONS for anchor in anchors]),)
    if kind == "location":
        return _Choices(crowd, _RANKED[kind]), _Choices(crowd, _PLACED)
    return _Choices(crowd, _RANKED[kind]), _Choices((*crowd, NounPhrase()), _NOTHING, item.size)


def _chosen(choices: Sequence[_Choices], number: int) -> Expression:
    """Return the expression with a number that counts through all choices."""
    for part in choices:
        if number < len(part):
            return part[number]
        number -= len(part)
    raise IndexError(number)


def unambiguous(expression: Expression, scene: Scene, target: int) -> bool:
    """Return whether an expression clearly refers to the target and to no other object."""
    margins = expression.margins(scene)
    return all((margin >= 1) if i == target else (margin <= -1) for i, margin in margins) and bool(margins)


def sample_expressions(scene: Scene, kind: str, rng: np.random.Generator, count: int) -> list[tuple[int, Expression]]:
    """Sample up to ``count`` different unambiguous expressions of a kind, each with the index of its target.

    Objects take turns in random order, so that the first expressions have different targets.

    Args:
        scene: the objects.
        kind: one of :data:`KINDS`.
        rng: random generator of the order.
        count: maximum number of expressions.
    """
    queues, (crowds, names) = [], objects_and_names(scene)
    for target in rng.permutation(len(scene)).tolist():
        anchors = [name for i, name in enumerate(names) if i != target and name is not None]
        choices = _candidates(scene[target], kind, crowds[target], anchors)
        order = rng.permutation(sum(map(len, choices)))
        queues.append((target, map(partial(_chosen, choices), order.tolist())))
    samples: list[tuple[int, Expression]] = []
    while queues and len(samples) < count:
        target, remaining = queues.pop(0)
        hit = next((e for e in remaining if unambiguous(e, scene, target)), None)
        if hit is not None:
            samples.append((target, hit))
            queues.append((target, remaining))
    return samples


@cache
def _heads(shape: str, color: str, fill: str) -> tuple[NounPhrase, ...]:
    """Return all noun phrases without size words that fit an object and name at least one attribute."""
    named = itertools.product((shape, ANY_SHAPE), (None, color), (None, fill))
    return tuple(NounPhrase(*words) for words in named if words != (ANY_SHAPE, None, None))


@lru_cache(maxsize=1)
def objects_and_names(scene: Scene) -> tuple[list[list[NounPhrase]], list[NounPhrase | None]]:
    """Return for every object its noun phrases that fit several objects, and its unique name or None.

    The name is the shortest noun phrase with a shape that fits this object alone. The result for the last scene is
    cached, since the four kinds of expressions of a scene are sampled one after the other.
    """
    phrases = [_heads(item.shape, item.color, item.fill) for item in scene]
    counts = Counter(itertools.chain.from_iterable(phrases))
    crowds, names = [], []
    for heads in phrases:
        crowds.append([head for head in heads if counts[head] > 1])
        unique = (head for head in heads if head.shape != ANY_SHAPE and counts[head] == 1)
        names.append(min(unique, key=lambda head: len(head.text), default=None))
    return crowds, names
