"""The language of RefScenes: referring expressions of a scene, as people write them, each with a checked meaning.

:func:`sample_expressions` first draws the things that are meant, evenly among those that can be seen, and then what is
said of them. An expression is offered only if it clearly means its targets and could mean nothing else; about four of
five say no word that is not needed. Expressions that mean nothing are true of an imagined scene, in which a thing or a
colour differs, so that their words are those of the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from vg_gym.data.worlds.refscenes.candidates import CHOICES, SPOKEN_SORTS, Choice, looks, parts, spoken_sorts
from vg_gym.data.worlds.refscenes.graph import Fit, Graph, graph_of, members
from vg_gym.data.worlds.refscenes.imagined import imagine, imagine_several
from vg_gym.data.worlds.refscenes.kinds import KINDS, OWN, kind_named
from vg_gym.data.worlds.refscenes.meaning import (
    THING,
    Color,
    Has,
    Pattern,
    Phrase,
    Related,
    SameColor,
    Sort,
    Test,
    anchors,
    exact,
    minimal,
    referents,
)
from vg_gym.data.worlds.refscenes.scene import Scene, Truth
from vg_gym.data.worlds.refscenes.wording import Writer

THINGS = Sort(THING)
"""The noun of everything."""
SHARES: dict[str, float] = {
    "attribute": 0.19,
    "part": 0.14,
    "place": 0.09,
    "ordinal": 0.06,
    "depth": 0.08,
    "size": 0.05,
    "relation": 0.175,
    "two-hop": 0.09,
    "negation": 0.04,
    "same-as": 0.02,
    "action": 0.075,
}
"""Kind of expression that means one thing -> its share among them, within some hundredths."""
WEIGHTS: dict[str, float] = {
    "attribute": 0.052,
    "part": 0.36,
    "place": 0.014,
    "ordinal": 0.0125,
    "depth": 0.0195,
    "size": 0.066,
    "relation": 0.088,
    "two-hop": 0.034,
    "negation": 0.043,
    "same-as": 1.15,
    "action": 0.21,
}
"""Kind -> how often it is tried first to come to its share; the rarer it is possible, the more often."""
SINGLE = tuple(WEIGHTS)
"""Kinds of expressions that mean one thing."""
MANY_KINDS = ("attribute", "part", "place", "action", "relation", "two-hop")
"""Kinds of which an expression may mean several things."""
ONE, MANY, NONE, NONE_OF_MANY = "one", "many", "none", "none of many"
"""Referents of expressions: one thing, several, nothing for a singular, and nothing for a plural."""
REDUNDANT_SHARE = 0.22
"""Probability that true words are added that are not needed."""
BARE_REDUNDANT_SHARE = 0.7
"""The same for a thing that its noun alone means."""
MAX_REDUNDANT = 3
"""Number of looks that are added, at most."""
NONE_FACTORS = {"place": 0.6, "action": 2.0, "negation": 2.5, "same-as": 4.0}
"""Kind -> how often an expression of it that means nothing is tried, relative to its share."""
DIFFERENCES = {"place": "kind", "ordinal": "kind", "depth": "kind", "size": "kind", "action": "pose"}
"""Kind -> what differs most in the imagined scene of an expression that means nothing; by default, the look."""
TRIES_PER_TARGET = 4
"""Number of tries to describe a thing before another one is meant in its place."""
MAX_TRIED = 14
"""Number of choices that are tried for one expression."""
GENERIC_SHARE = 0.35
"""Share of the plurals of nouns such as "animal" that are used: most scenes have what they mean, so that the word would
tell that something is meant."""
MAX_MANY = 4
"""Largest number of things that an expression means."""
MAX_IMAGINED = 8
"""Number of imagined scenes that are tried for an expression that means nothing."""


@dataclass(frozen=True)
class Expression:
    """A referring expression with its meaning."""

    text: str
    kind: str
    """One of :data:`SINGLE`, ``many`` or ``none``."""
    targets: tuple[int, ...]
    """Indices of the things that it means, ascending; empty if it means nothing."""
    meaning: Phrase

    def referents(self, graph: Graph) -> tuple[int, ...]:
        """Return the indices of the things that the expression clearly means in a scene graph."""
        return referents(self.meaning, graph)


def sample_expressions(
    scene: Scene,
    truth: Truth,
    rng: np.random.Generator,
    count: int,
    kinds: Sequence[str] = SINGLE,
    new_words: bool = False,
    among: Sequence[int] | None = None,
    meant: str = ONE,
) -> list[Expression]:
    """Sample up to ``count`` different expressions of a scene; fewer where the scene allows no more.

    Args:
        scene: the things.
        truth: what the picture shows of them.
        rng: random generator of all choices.
        count: maximum number of expressions.
        kinds: kinds of expressions, of :data:`SINGLE`.
        new_words: whether the nouns of targets are those held out for ``test-new-words``.
        among: indices that may be targets; None allows all that can be seen well enough.
        meant: what all of them mean, :data:`ONE`, :data:`MANY`, :data:`NONE` or :data:`NONE_OF_MANY`.
    """
    return sample_of_graph(graph_of(scene, truth), rng, count, kinds, new_words, among, meant)


def sample_of_graph(
    graph: Graph,
    rng: np.random.Generator,
    count: int,
    kinds: Sequence[str] = SINGLE,
    new_words: bool = False,
    among: Sequence[int] | None = None,
    meant: str = ONE,
) -> list[Expression]:
    """Sample up to ``count`` different expressions of a scene graph, as :func:`sample_expressions` does.

    Args:
        graph: the scene graph.
        rng: random generator of all choices.
        count: maximum number of expressions.
        kinds: kinds of expressions, of :data:`SINGLE`.
        new_words: whether the nouns of targets are those held out for ``test-new-words``.
        among: indices that may be targets; None allows all that can be seen well enough.
        meant: what all of them mean.
    """
    eligible = [i for i in graph.targets if among is None or i in among]
    expressions: list[Expression] = []
    for target in _turns(eligible, rng, 4 * count):
        if len(expressions) == count:
            break
        for _ in range(TRIES_PER_TARGET):
            used = {each.kind for each in expressions if target in each.targets}
            order = sorted(_order(kinds, rng), key=used.__contains__)  # another kind for a thing that is meant again
            expression = _about(graph, target, eligible, order, rng, new_words, meant)
            if expression and all(_differ(expression, other) for other in expressions):
                expressions.append(expression)
                break
    return expressions


def _differ(first: Expression, second: Expression) -> bool:
    """Return whether two expressions differ in their words, and say more than the same of the same thing."""
    what = [(each.targets, set(each.meaning.tests), each.meaning.pick) for each in (first, second)]
    return first.text != second.text and (what[0] != what[1] or not first.targets)


def _turns(eligible: Sequence[int], rng: np.random.Generator, count: int) -> Iterator[int]:
    """Yield targets in random order, again and again."""
    while eligible and count > 0:
        for target in rng.permutation(eligible).tolist():
            yield target
            count -= 1


def _order(kinds: Sequence[str], rng: np.random.Generator) -> list[str]:
    """Return kinds in random order, those of a large weight more often first."""
    keys = rng.exponential(size=len(kinds)) / [WEIGHTS[kind] for kind in kinds]
    return [kinds[i] for i in np.argsort(keys)]


def _about(
    graph: Graph,
    target: int,
    eligible: Sequence[int],
    order: Sequence[str],
    rng: np.random.Generator,
    new_words: bool,
    reference: str,
) -> Expression | None:
    """Return an expression for a target; of those that mean one thing, the first in an order that is possible."""
    if reference == NONE:
        return _nothing(graph, target, order, rng, new_words)
    if reference == NONE_OF_MANY:
        return _none_of_many(graph, target, order, rng, new_words)
    if reference == MANY:
        return _several(graph, target, eligible, order, rng, new_words)
    singles = (_single(graph, target, kind, rng, new_words) for kind in order)
    return next((expression for expression in singles if expression), None)


def _single(
    graph: Graph,
    target: int,
    kind: str,
    rng: np.random.Generator,
    new_words: bool,
    redundant: float = REDUNDANT_SHARE,
) -> Expression | None:
    """Return an expression of a kind that means one thing; words that are not needed are added with a probability."""
    for choice in _shuffled(graph, target, kind, rng):
        meaning = _shortest(graph, target, choice, kind, rng)
        if meaning and not _misread(meaning, graph, target):
            if rng.random() < (redundant if meaning.tests or meaning.pick else BARE_REDUNDANT_SHARE):
                for _ in range(int(rng.integers(MAX_REDUNDANT)) + 1):
                    meaning = _longer(graph, target, meaning, rng)
            text = Writer(graph, rng, new_words).write(meaning, (target,))
            return Expression(text, kind, (target,), meaning)
    return None


def _shuffled(graph: Graph, target: int, kind: str, rng: np.random.Generator) -> list[Choice]:
    """Return some of the choices of a kind in random order."""
    choices = CHOICES[kind](graph, target, rng.permutation(len(graph.things)).tolist())
    return [choices[i] for i in rng.permutation(len(choices))[:MAX_TRIED]]


def _shortest(graph: Graph, target: int, choice: Choice, kind: str, rng: np.random.Generator) -> Phrase | None:
    """Return the meaning with the fewest looks beside a choice that means the target, all of them needed."""
    nouns = spoken_sorts(graph, target)
    if kind_named(graph.things[target].kind).supercategory in _anchored(choice):
        nouns = nouns[:1]  # "an animal next to a sheep" is no sheep
    elif rng.random() < 0.1:
        nouns = nouns[::-1]
    extras = [test for test in looks(graph, target) if kind not in ("attribute", "part", "same-as")]
    bit, base = 1 << target, Phrase(THINGS, choice.tests).fit(graph)
    for extra in ((), *((test,) for test in extras)):
        look = Phrase(THINGS, extra).fit(graph)
        for sort in nouns:
            noun = sort.fit(graph)
            if choice != Choice() and look.clear & noun.clear == look.possible & noun.possible == bit:
                continue  # the choice says nothing that is needed
            fit = Fit(base.clear & look.clear & noun.clear, base.possible & look.possible & noun.possible)
            if fit.clear & bit and (choice.pick.choose(graph, fit) if choice.pick else fit) == (bit, bit):
                meaning = Phrase(sort, (*extra, *choice.tests), choice.pick)
                if minimal(meaning, graph):
                    return meaning
    return None


def _anchored(choice: Choice) -> set[str]:
    """Return the supercategories of the things that a choice relates the target to."""
    phrases = [phrase for test in choice.tests for _, phrase in anchors(test)]
    phrases += [choice.pick.anchor] if choice.pick and choice.pick.anchor else []
    names = [phrase.sort.name for phrase in phrases]
    are_kinds = [name in KINDS or name.startswith(OWN) for name in names]
    return {kind_named(name).supercategory if one else "person" for name, one in zip(names, are_kinds, strict=True)}


def _longer(graph: Graph, target: int, meaning: Phrase, rng: np.random.Generator) -> Phrase:
    """Return a meaning with a true look that is not needed, if there is one."""
    stated = {test.part for test in _all_tests(meaning) if isinstance(test, (Color, Pattern, Has))}
    stated |= {"main" for test in meaning.tests if isinstance(test, SameColor)}
    options = [test for test in (*looks(graph, target), *parts(graph, target)) if test.part not in stated]  # type: ignore[attr-defined]
    for i in rng.permutation(len(options)):
        longer = replace(meaning, tests=(options[i], *meaning.tests))
        if exact(longer, graph, 1 << target):
            return longer
    return meaning


def _all_tests(meaning: Phrase) -> Iterator[Test]:
    """Yield the tests of a phrase without those of its anchors, and what is negated."""
    for test in meaning.tests:
        yield getattr(test, "test", test)


def _misread(meaning: Phrase, graph: Graph, target: int) -> bool:
    """Return whether the end of an expression, read as part of the head, clearly means another thing."""
    for i, test in enumerate(meaning.tests):
        if not isinstance(test, Related) or not (test.anchor.tests or test.anchor.pick):
            continue
        other_tests = (*meaning.tests[:i], *meaning.tests[i + 1 :], *test.anchor.tests)
        bare = replace(test, anchor=Phrase(test.anchor.sort))
        other = Phrase(meaning.sort, (*other_tests, bare), test.anchor.pick or meaning.pick)
        if other.fit(graph).clear & ~(1 << target):
            return True
    return False


def _several(
    graph: Graph,
    target: int,
    eligible: Sequence[int],
    allowed_kinds: Sequence[str],
    rng: np.random.Generator,
    new_words: bool,
) -> Expression | None:
    """Return an expression of some of the wanted kinds that means two to four things, the target among them."""
    allowed = sum(1 << i for i in eligible)
    kinds = [kind for kind in MANY_KINDS if kind in allowed_kinds for _ in range(2)]
    choices = [Choice()] + [
        choice for kind in rng.permutation(kinds)[:3] for choice in _shuffled(graph, target, str(kind), rng)[:6]
    ]
    for choice in choices:
        for sort in spoken_sorts(graph, target):
            meaning = Phrase(sort, choice.tests)
            fit = meaning.fit(graph)
            size = fit.clear.bit_count()
            if choice.pick or fit.clear != fit.possible or not 2 <= size <= MAX_MANY or fit.clear & ~allowed:
                continue
            if sort.name in SPOKEN_SORTS and rng.random() > GENERIC_SHARE:
                continue
            if minimal(meaning, graph) and (choice.tests or rng.random() < 0.3):
                meaning = replace(meaning, count=0 if rng.random() < 0.25 else size)
                targets = tuple(members(fit.clear))
                return Expression(Writer(graph, rng, new_words).write(meaning, targets), "many", targets, meaning)
    return None


def _nothing(
    graph: Graph, target: int, kinds: Sequence[str], rng: np.random.Generator, new_words: bool
) -> Expression | None:
    """Return an expression of an imagined scene that means nothing in this one."""
    weights = np.array([SHARES[kind] * NONE_FACTORS.get(kind, 1.0) for kind in kinds])
    kind = str(rng.choice(kinds, p=weights / weights.sum()))
    for _ in range(MAX_IMAGINED):
        other = imagine(graph, target, DIFFERENCES.get(kind, "look"), rng)
        expression = _single(other, target, kind, rng, new_words, REDUNDANT_SHARE / 2)
        if expression and not expression.meaning.fit(graph).possible:
            return replace(expression, kind="none", targets=())
    return None


def _none_of_many(
    graph: Graph, target: int, kinds: Sequence[str], rng: np.random.Generator, new_words: bool
) -> Expression | None:
    """Return an expression that means several things in an imagined scene, and nothing in this one."""
    for _ in range(MAX_IMAGINED):
        other = imagine_several(graph, target, rng)
        expression = _several(other, target, graph.targets, kinds, rng, new_words)
        if expression and not expression.meaning.fit(graph).possible:
            return replace(expression, kind="none", targets=())
    return None
