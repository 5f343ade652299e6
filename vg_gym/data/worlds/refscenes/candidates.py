"""Possible statements about a thing of a scene graph: its looks, its names, and tests and picks by kind of expression.

Everything here is clearly true of the thing. Whether it tells the thing from the others is checked by
:mod:`vg_gym.data.worlds.refscenes.language`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from vg_gym.data.worlds.refscenes import space
from vg_gym.data.worlds.refscenes.graph import HEADINGS, Graph, members
from vg_gym.data.worlds.refscenes.kinds import kind_named
from vg_gym.data.worlds.refscenes.meaning import (
    Between,
    Color,
    Facing,
    Has,
    Not,
    Pattern,
    Phrase,
    Pick,
    Place,
    Pose,
    Related,
    SameColor,
    Sort,
    Test,
    exact,
    sorts,
)

SPOKEN_SORTS = frozenset({"kid", "adult", "person", "animal", "vehicle"})
"""Sorts above a kind that people use as nouns."""
RARELY_VEHICLES = frozenset({"boat", "bicycle"})
"""Kinds that people hardly call vehicles, and of which they hardly say where they face."""
OPTIONAL_PARTS = ("jacket", "dress", "shorts", "skirt", "hat", "collar", "scarf", "bow")
"""Parts that only some things of a kind have."""
PLAIN = ("person", "furniture", "household")
"""Supercategories of what people call plain."""
BESIDE = ("left of", "right of", "in front of", "behind", "next to")
"""Relations between things that stand by themselves."""
MAX_ANCHORS = 5
"""Number of things, at most, that the relations of one thing are tried with."""


class Choice(NamedTuple):
    """Tests and pick that an expression states besides the noun and plain looks."""

    tests: tuple[Test, ...] = ()
    pick: Pick | None = None


def spoken_sorts(graph: Graph, index: int) -> list[Sort]:
    """Return the nouns of a thing, the most special first."""
    thing = graph.things[index]
    names = sorts(thing.kind, thing.variant)
    above = [] if thing.kind in RARELY_VEHICLES else [name for name in dict.fromkeys(names[1:]) if name in SPOKEN_SORTS]
    return [Sort(name) for name in (names[0], *above)]


def is_clear(graph: Graph, test: Test, index: int) -> bool:
    """Return whether a test is clearly true of a thing."""
    return bool(test.fit(graph).clear >> index & 1)


def looks(graph: Graph, index: int) -> list[Test]:
    """Return the colour and pattern of the thing itself, or of what a person wears above."""
    main = graph.things[index].main
    tests: list[Test] = [Color("main", main.color)]
    kind = kind_named(graph.things[index].kind)
    plain = kind.supercategory in PLAIN and kind.main not in ("pot", "cover")
    if len(kind.patterns) > 1 and (main.pattern != "plain" or plain):
        tests.append(Pattern("main", main.pattern))
    return [test for test in tests if is_clear(graph, test, index)]


def parts(graph: Graph, index: int) -> list[Test]:
    """Return the colours and patterns of the named parts, and that there are parts that others lack."""
    thing = graph.things[index]
    tests: list[Test] = []
    for part in thing.parts:
        if part.name in kind_named(thing.kind).parts and part is not thing.main:
            tests.append(Color(part.name, part.color))
            if part.pattern != "plain":
                tests.append(Pattern(part.name, part.pattern))
            if part.name in OPTIONAL_PARTS:
                tests.append(Has(part.name))
    return [test for test in tests if is_clear(graph, test, index)]


def names(graph: Graph, index: int) -> list[Phrase]:
    """Return phrases that name a thing by its looks and parts alone, without a word too many; at most four."""
    key = ("names", index)
    if key not in graph.memory:
        graph.memory[key] = list(itertools.islice(_names(graph, index), 4))
    return graph.memory[key]


def _names(graph: Graph, index: int) -> Iterator[Phrase]:
    """Yield the shortest phrases that mean a thing, by its looks and parts."""
    sort = spoken_sorts(graph, index)[0]
    tests = [*looks(graph, index), *parts(graph, index)]
    for size in range(3):
        phrases = [Phrase(sort, chosen) for chosen in itertools.combinations(tests, size)]
        hits = [phrase for phrase in phrases if exact(phrase, graph, 1 << index)]
        if hits:
            yield from hits
            return


def _anchors(graph: Graph, index: int, order: Sequence[int]) -> list[int]:
    """Return some other things that can be named."""
    usable = (i for i in order if i != index and graph.sure >> i & 1 and names(graph, i))
    return list(itertools.islice(usable, MAX_ANCHORS))


def relations(graph: Graph, index: int, order: Sequence[int], relation_names: Sequence[str] = BESIDE) -> list[Choice]:
    """Return the relations of a thing to things that can be named.

    Args:
        graph: the scene graph.
        index: index of the thing.
        order: order in which the others are tried.
        relation_names: relations, of :data:`~vg_gym.data.worlds.refscenes.space.RELATIONS`.
    """
    choices = []
    for name in relation_names:
        clear = space.relation(graph, name)[0]
        for other in _anchors(graph, index, order):
            if clear[other] >> index & 1:
                choices += [Choice((Related(name, phrase),)) for phrase in names(graph, other)[:2]]
    return choices


def _relation(graph: Graph, index: int, order: Sequence[int]) -> list[Choice]:
    choices = relations(graph, index, order)
    still = [other for other in _anchors(graph, index, order) if graph.things[other].kind != graph.things[index].kind]
    choices += [Choice(pick=Pick("closest", 1, names(graph, other)[0])) for other in still[:2]]
    for first, second in itertools.combinations(_anchors(graph, index, order), 2):
        test = Between(names(graph, first)[0], names(graph, second)[0])
        if is_clear(graph, test, index):
            choices.append(Choice((test,)))
    thing = graph.things[index]
    if not thing.pose:
        choices += relations(graph, index, order, ("on", "held by"))
    return choices + relations(graph, index, order, ("under",))


def _two_hop(graph: Graph, index: int, order: Sequence[int]) -> list[Choice]:
    choices = []
    for name in (*BESIDE, "on"):
        clear = space.relation(graph, name)[0]
        for other in order[: 2 * MAX_ANCHORS]:
            if other != index and clear[other] >> index & 1 and graph.sure >> other & 1:
                phrases = [
                    phrase for phrase in _placed_names(graph, other, order) if not _repeats(graph, index, phrase)
                ]
                choices += [Choice((Related(name, phrase),)) for phrase in phrases]
    return choices


def _repeats(graph: Graph, index: int, phrase: Phrase) -> bool:
    """Return whether a phrase has two nouns, and both are that of a thing."""
    noun = spoken_sorts(graph, index)[0]
    inner = [test.anchor.sort for test in phrase.tests if isinstance(test, Related)]
    return inner == [noun] and phrase.sort == noun


def _placed_names(graph: Graph, index: int, order: Sequence[int]) -> list[Phrase]:
    """Return phrases that name a thing by its place, order or relation to another."""
    key = ("placed names", index)
    if key not in graph.memory:
        sort = spoken_sorts(graph, index)[0]
        options = _place(graph, index, order) + _depth(graph, index, order) + relations(graph, index, order)[:6]
        phrases = (Phrase(sort, choice.tests, choice.pick) for choice in options)
        pool = sort.fit(graph).possible.bit_count()
        hits = (phrase for phrase in phrases if pool > 1 and exact(phrase, graph, 1 << index))
        graph.memory[key] = list(itertools.islice(hits, 6))
    return graph.memory[key]


def _place(graph: Graph, index: int, order: Sequence[int]) -> list[Choice]:
    tests = [Place(name) for name in space.PLACES]
    choices = [Choice((test,)) for test in tests if is_clear(graph, test, index)]
    return choices + [Choice(pick=Pick("left")), Choice(pick=Pick("right"))]


def _depth(graph: Graph, index: int, order: Sequence[int]) -> list[Choice]:
    return [Choice(pick=Pick("near")), Choice(pick=Pick("far"))]


def _size(graph: Graph, index: int, order: Sequence[int]) -> list[Choice]:
    upright = kind_named(graph.things[index].kind).supercategory in ("person", "outdoor", "animal")
    ranks = ("large", "small", "tall", "short") if upright else ("large", "small")
    return [Choice(pick=Pick(rank)) for rank in ranks]


def _ordinal(graph: Graph, index: int, order: Sequence[int]) -> list[Choice]:
    across = [Pick(rank, number) for rank in ("left", "right") for number in (2, 3, 4)]
    deep = [Pick(rank, 2) for rank in ("near", "far", "large", "small")]
    return [Choice(pick=pick) for pick in (*across, Pick("left", 0), *deep)]


def _attribute(graph: Graph, index: int, order: Sequence[int]) -> list[Choice]:
    tests = looks(graph, index)
    both = [Choice(tuple(tests))] if len(tests) > 1 else []
    return [Choice(), *(Choice((test,)) for test in tests), *both]  # the noun alone, where there is only one


def _part(graph: Graph, index: int, order: Sequence[int]) -> list[Choice]:
    tests, worn = parts(graph, index), looks(graph, index)
    pairs = [pair for pair in itertools.combinations([*worn, *tests], 2) if not set(pair) <= set(worn)]
    triples = itertools.combinations([*worn[:1], *tests], 3)
    return [Choice(chosen) for chosen in (*((test,) for test in tests), *pairs, *itertools.islice(triples, 12))]


def _action(graph: Graph, index: int, order: Sequence[int]) -> list[Choice]:
    thing = graph.things[index]
    tests: list[Test] = [Pose(thing.pose)] if thing.pose else []
    if kind_named(thing.kind).supercategory in ("person", "animal", "vehicle") and thing.kind not in RARELY_VEHICLES:
        tests += [Facing(direction) for direction in HEADINGS]
    choices = [Choice((test,)) for test in tests if is_clear(graph, test, index)]
    relation_names = ("on", "holding", "held by", "under") if thing.pose else ("held by",)
    return choices + relations(graph, index, order, relation_names)


def _negation(graph: Graph, index: int, order: Sequence[int]) -> list[Choice]:
    thing = graph.things[index]
    others = [graph.things[i] for i in members(graph.sure) if i != index and graph.things[i].kind == thing.kind]
    tests: dict[Test, None] = {}
    for other in others:
        tests[Color("main", other.main.color)] = None
        tests |= dict.fromkeys(Has(part.name) for part in other.parts if part.name in OPTIONAL_PARTS)
        if other.main.pattern != "plain":
            tests[Pattern("main", other.main.pattern)] = None
        if other.pose in ("sitting", "lying", "eating"):
            tests[Pose(other.pose)] = None
    return [Choice((test,)) for test in map(Not, tests) if is_clear(graph, test, index)]


def _same_as(graph: Graph, index: int, order: Sequence[int]) -> list[Choice]:
    thing = graph.things[index]
    if thing.kind == "person" or not is_clear(graph, Color("main", thing.main.color), index):
        return []
    choices = []
    for other in _anchors(graph, index, order):
        anchor = graph.things[other]
        if anchor.kind not in ("person", thing.kind) and anchor.main.color == thing.main.color:
            phrases = [phrase for phrase in names(graph, other) if not _tells_color(phrase)]
            choices += [Choice((SameColor(phrase),)) for phrase in phrases]
    return choices


def _tells_color(phrase: Phrase) -> bool:
    """Return whether a phrase says the colour itself, so that "the same colour" would be needless."""
    return any(isinstance(test, Color) and test.part == "main" for test in phrase.tests)


CHOICES: dict[str, Callable[[Graph, int, Sequence[int]], list[Choice]]] = {
    "attribute": _attribute,
    "part": _part,
    "place": _place,
    "ordinal": _ordinal,
    "depth": _depth,
    "size": _size,
    "relation": _relation,
    "two-hop": _two_hop,
    "negation": _negation,
    "same-as": _same_as,
    "action": _action,
}
"""Kind of expression -> function of its choices for a thing; it tries other things in the sequence ``order``."""
