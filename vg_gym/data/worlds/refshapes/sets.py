"""Expressions of ``refshapes-any`` that mean none or several of the objects of a scene.

Scenes come in pairs: a scene, and the same scene with one object erased. Each of the two pictures has two expressions
that mean one object, one that means several, and one that means nothing. The words of an erased object mean it in the
first picture and nothing in the second, so that neither the words nor the picture alone tell whether something is
meant. The other expressions that mean nothing are those of another scene, or have one attribute changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from vg_gym.data.worlds.refshapes.expressions import (
    ANY_SHAPE,
    DIRECTIONS,
    KINDS,
    PLACES,
    Expression,
    NounPhrase,
    objects_and_names,
    sample_expressions,
)
from vg_gym.data.worlds.refshapes.scenes import COLORS, FILLS, SHAPES, Level, Scene, sample_scene

NONE, MANY = "none", "many"
"""Kinds of expressions beside those that mean one object."""
MAX_TARGETS = 4
"""Largest number of objects that an expression means."""
COUNTS = {2: "two", 3: "three", 4: "four"}
"""Words for the number of objects; half of the plural expressions state it."""
PLURAL_SHARE = 2 / 3
"""Share of plurals among expressions that come from another scene. It makes plurals as frequent among expressions that
mean nothing as among the others."""
GENERIC_SHARE = 0.4
"""Share of the expressions with the noun "shape" that are used: most scenes have an object that they mean, so that the
word would tell that something is meant."""
SUPERLATIVE_SHARE = 0.5
"""The same for superlatives."""
COLORLESS_SHARE = 0.55
"""The same for expressions without a colour."""
ATTEMPTS = 40
"""Number of plural expressions that are tried for a scene before another scene is drawn."""


@dataclass(frozen=True)
class Reference:
    """A text with its meaning in a scene."""

    targets: tuple[int, ...]
    """Indices of the objects that it means."""
    expression: Expression
    """Its syntax tree; a plural has that of its singular."""
    kind: str
    """Kind of the text: one of :data:`KINDS`, :data:`NONE` or :data:`MANY`."""
    text: str


def sample_references(rng: np.random.Generator, level: Level, biased: bool) -> tuple[Scene, list[Reference]] | None:
    """Return a scene and a reference of each of :data:`KINDS`; None if the scene does not admit them."""
    scene = sample_scene(rng, level, biased)
    expressions = [sample_expressions(scene, kind, rng, 1) for kind in KINDS]
    return (scene, [_one(*options[0]) for options in expressions]) if all(expressions) else None


def sample_pair(rng: np.random.Generator, level: Level) -> tuple[tuple[Scene, list[Reference]], ...] | None:
    """Return a scene and the same without one object, each with four references; None if the scene does not admit them.

    Args:
        rng: random generator of the scene and its expressions.
        level: difficulty of the scene.
    """
    scene, other = sample_scene(rng, level, False), sample_scene(rng, level, False)
    kinds = [KINDS[i] for i in rng.permutation(len(KINDS))]
    erasable = _erasable(scene, kinds[0], rng)
    if erasable is None:
        return None
    target, words = erasable
    rest = scene[:target] + scene[target + 1 :]
    singles = [_single(place, kind, rng) for place, kind in ((scene, kinds[1]), (rest, kinds[2]), (rest, kinds[3]))]
    several = [_many(scene, rng), _many(rest, rng)]
    empty = _empty(scene, other, str(rng.choice(KINDS)), rng)
    if empty is None or None in singles or None in several:
        return None
    # RefShapes.means_one relies on the order: two that mean one object, then none, then several.
    first = [_one(target, words), singles[0], empty, several[0]]
    second = [singles[1], singles[2], Reference((), words, NONE, words.text), several[1]]
    return (scene, first), (rest, second)  # type: ignore[return-value]


def is_empty(expression: Expression, scene: Scene) -> bool:
    """Return whether an expression clearly means nothing in a scene; an anchor that is not there is enough."""
    if expression.anchor and not any(expression.anchor.fits(item) for item in scene):
        return True
    return not expression.referents(scene)


def meant(expression: Expression, scene: Scene) -> tuple[int, ...]:
    """Return the objects that an expression clearly means; none if it is unclear about one of them."""
    margins = expression.margins(scene)
    clear = all(margin >= 1 or margin <= -1 for _, margin in margins)
    return tuple(i for i, margin in margins if margin >= 1) if clear else ()


def plural(expression: Expression, count: int | None = None) -> str:
    """Return the plural of a text: "the two small crosses on the left".

    >>> plural(Expression(NounPhrase("cross", "red"), place="on the left"), 2)
    'the two red crosses on the left'
    """
    words = expression.head.text.split()
    words[-1] += "es" if words[-1].endswith("ss") else "s"
    phrase = " ".join(["the", *([COUNTS[count]] if count else []), *words])
    tail = [expression.place, expression.relation and f"{expression.relation} the {expression.anchor.text}"]  # type: ignore[union-attr]
    return " ".join([phrase, *(part for part in tail if part)])


def _one(target: int, expression: Expression) -> Reference:
    return Reference((target,), expression, expression.kind, expression.text)


def _single(scene: Scene, kind: str, rng: np.random.Generator) -> Reference | None:
    """Return a reference to one object; the forms that rarely mean nothing are thinned out."""
    for target, expression in sample_expressions(scene, kind, rng, 8):
        if rng.random() < _share_used(expression):
            return _one(target, expression)
    return None


def _share_used(expression: Expression) -> float:
    """Return the probability with which an expression of one object is used."""
    share = GENERIC_SHARE if expression.head.shape == ANY_SHAPE else 1.0
    share *= SUPERLATIVE_SHARE if expression.superlative else 1.0
    return share * (COLORLESS_SHARE if expression.head.color is None else 1.0)


def _erasable(scene: Scene, kind: str, rng: np.random.Generator) -> tuple[int, Expression] | None:
    """Return an object and an expression that means it, and nothing once the object is erased."""
    for target, expression in sample_expressions(scene, kind, rng, 4 * len(scene)):
        rest = scene[:target] + scene[target + 1 :]
        if len(rest) > 2 and is_empty(expression, rest):
            return target, expression
    return None


def _many(scene: Scene, rng: np.random.Generator) -> Reference | None:
    """Return a reference to two to four objects."""
    for expression in _plural_expressions(scene, rng):
        targets = meant(expression, scene)
        if 2 <= len(targets) <= MAX_TARGETS:
            text = plural(expression, len(targets) if rng.random() < 0.5 else None)
            return Reference(targets, expression, MANY, text)
    return None


def _empty(scene: Scene, other: Scene, kind: str, rng: np.random.Generator) -> Reference | None:
    """Return a reference that means nothing: words of another scene, or words of this one with an attribute changed."""
    in_plural, changed = rng.random() < PLURAL_SHARE, rng.random() < 0.5
    source = scene if changed else other
    if in_plural:
        pool = ((e, len(meant(e, source))) for e in _plural_expressions(source, rng))
        candidates = [(e, count) for e, count in pool if 2 <= count <= MAX_TARGETS]
    else:
        candidates = [(e, 1) for _, e in sample_expressions(source, kind, rng, 8)]
    for expression, count in candidates:
        expression = _changed(expression, scene, rng) if changed else expression
        if is_empty(expression, scene):
            text = plural(expression, count if rng.random() < 0.5 else None) if in_plural else expression.text
            return Reference((), expression, NONE, text)
    return None


def _changed(expression: Expression, scene: Scene, rng: np.random.Generator) -> Expression:
    """Return an expression with another shape, colour or fill, preferably one that the scene has."""
    head, names = expression.head, [n for n in ("shape", "color", "fill") if getattr(expression.head, n) is not None]
    name = names[int(rng.integers(len(names)))]
    everything: Sequence[str] = {"shape": SHAPES, "color": tuple(COLORS), "fill": FILLS}[name]
    present = sorted({getattr(item, name) for item in scene} - {getattr(head, name)})
    pool = present or [value for value in everything if value != getattr(head, name)]
    return replace(expression, head=replace(head, **{name: str(rng.choice(pool))}))


def _plural_expressions(scene: Scene, rng: np.random.Generator) -> Iterator[Expression]:
    """Yield random expressions without superlatives whose noun phrase fits an object of the scene."""
    _, names = objects_and_names(scene)
    anchors = [name for name in names if name is not None]
    for _ in range(ATTEMPTS):
        item, chance = scene[int(rng.integers(len(scene)))], rng.random(5)
        head = NounPhrase(
            item.shape if chance[0] < 0.85 else ANY_SHAPE,
            item.color if chance[1] < 0.65 else None,
            item.fill if chance[2] < 0.35 else None,
            item.size if chance[3] < 0.2 else None,
        )
        if chance[4] < 0.5:
            yield Expression(head)
        elif chance[4] < 0.75 or not anchors:
            yield Expression(head, place=str(rng.choice(list(PLACES))))
        else:
            anchor = anchors[int(rng.integers(len(anchors)))]
            yield Expression(head, relation=str(rng.choice(list(DIRECTIONS))), anchor=anchor)
