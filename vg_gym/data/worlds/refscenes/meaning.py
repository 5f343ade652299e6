"""Meanings of the expressions of RefScenes: small trees of tests, evaluated against a scene graph.

A :class:`Phrase` is a noun with tests and at most one :class:`Pick` ("the second ... from the left"). Tests may contain
phrases, their anchors. :func:`referents` returns what a meaning clearly means, and :func:`exact` whether nobody could
take it to mean anything else. :func:`drop` yields the meanings that lack one content word.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from vg_gym.data.worlds.refscenes import space
from vg_gym.data.worlds.refscenes.graph import CHILDREN, HEADINGS, Fit, Graph, confused, members, part_of
from vg_gym.data.worlds.refscenes.kinds import kind_named

CLEAR_HEADING, POSSIBLE_HEADING = 0.85, 0.4
"""Cosine from which a thing clearly faces a direction, and from which it may be said to."""
THING = "thing"
"""The sort of everything."""
UPRIGHT = frozenset({"standing", "walking", "waving"})
"""Poses that one may call standing."""


@dataclass(frozen=True)
class Test:
    """A property of things; the base of all tests."""

    def measure(self, graph: Graph) -> Fit:
        """Return the things that have the property."""
        raise NotImplementedError

    def fit(self, graph: Graph) -> Fit:
        """Return the things that have the property; evaluated once for each graph."""
        fit = graph.memory.get(self)
        if fit is None:
            fit = graph.memory[self] = self.measure(graph)
        return fit


@dataclass(frozen=True)
class Sort(Test):
    """Meaning of a noun: a kind, a variant of a person, "kid", a supercategory, or "thing"."""

    name: str

    def measure(self, graph: Graph) -> Fit:
        """Return the things of the sort."""
        mask = graph.where(lambda thing: self.name in sorts(thing.kind, thing.variant))
        return graph.fit(mask, mask)


def sorts(kind: str, variant: str) -> tuple[str, ...]:
    """Return all sorts of a thing, the most special first."""
    variant_sorts = (variant, "kid" if variant in CHILDREN else "adult") if variant else ()
    return (*variant_sorts, kind, kind_named(kind).supercategory, THING)


@dataclass(frozen=True)
class Color(Test):
    """A part has a colour; the part "main" stands for the thing itself."""

    part: str
    color: str

    def measure(self, graph: Graph) -> Fit:
        """Return the things whose part has the colour."""
        return graph.part_fit(
            self.part,
            lambda part: part.color == self.color,
            lambda part: confused(part.color, self.color) or (part.pattern != "plain" and part.second == self.color),
        )


@dataclass(frozen=True)
class Pattern(Test):
    """A part has a pattern."""

    part: str
    pattern: str

    def measure(self, graph: Graph) -> Fit:
        """Return the things whose part has the pattern; of small things no pattern is clear."""
        fit = graph.part_fit(
            self.part, lambda part: part.pattern == self.pattern, lambda part: part.pattern == self.pattern
        )
        vague = ~graph.detailed & graph.where(lambda thing: part_of(thing, self.part) is not None)
        return graph.fit(fit.clear & graph.detailed, fit.possible | vague)


@dataclass(frozen=True)
class Has(Test):
    """A thing has a part: a hat, a collar."""

    part: str

    def measure(self, graph: Graph) -> Fit:
        """Return the things that have the part."""
        return graph.part_fit(self.part, lambda part: True, lambda part: True)


@dataclass(frozen=True)
class Pose(Test):
    """A thing sits, lies, stands, waves or eats; all that stand upright may be said to stand."""

    pose: str

    def measure(self, graph: Graph) -> Fit:
        """Return the things in the pose; of things cut off no pose is clear."""
        same = graph.where(lambda thing: thing.pose == self.pose)
        posed = graph.where(lambda thing: bool(thing.pose))
        upright = graph.where(lambda thing: thing.pose in UPRIGHT) if self.pose in UPRIGHT - {"waving"} else 0
        return graph.fit(same & graph.detailed, same | upright | (posed & ~graph.detailed))


@dataclass(frozen=True)
class Facing(Test):
    """A thing faces a direction of the picture, a key of :data:`~.graph.HEADINGS`."""

    direction: str

    def measure(self, graph: Graph) -> Fit:
        """Return the things that face the direction."""
        cosine = graph.heading @ HEADINGS[self.direction]
        fit = graph.flags(cosine >= CLEAR_HEADING, cosine >= POSSIBLE_HEADING)
        return graph.fit(fit.clear & graph.detailed, fit.possible)


@dataclass(frozen=True)
class Place(Test):
    """A thing is in a place of the picture, one of :data:`~.space.PLACES`."""

    name: str

    def measure(self, graph: Graph) -> Fit:
        """Return the things in the place."""
        return space.place(graph, self.name)


@dataclass(frozen=True)
class Not(Test):
    """A test fails."""

    test: Test

    def measure(self, graph: Graph) -> Fit:
        """Return the things of which the test is not true."""
        fit = self.test.fit(graph)
        return graph.fit(~fit.possible & graph.seen, ~fit.clear & graph.seen)


@dataclass(frozen=True)
class Pick:
    """Choice of one thing by its number in an order, one of :data:`~.space.RANKS`, or of the middle one."""

    rank: str
    number: int = 1
    """Number from 1; 0 stands for the middle one from left to right."""
    anchor: Phrase | None = None
    """Thing from which the order "closest" measures distances."""

    def choose(self, graph: Graph, fit: Fit) -> Fit:
        """Return the things that are chosen out of a set."""
        leads = self.leads(graph)
        if leads is None:
            return Fit(0, fit.possible)
        if self.number == 1:
            return _first(leads, fit)
        return _numbered(leads, fit, self.number)

    def leads(self, graph: Graph) -> space.Rows | None:
        """Return for every thing those that it clearly comes before; None if the anchor is ambiguous."""
        if self.anchor is None:
            return space.leads(graph, self.rank)
        anchor = unique(self.anchor, graph)
        return None if anchor is None else space.closer(graph, anchor)


def _first(leads: space.Rows, fit: Fit) -> Fit:
    """Return the first of a set in an order."""
    clear, beaten = 0, 0
    for i in members(fit.clear):
        beaten |= leads[i]
        if not fit.possible & ~(1 << i) & ~leads[i]:
            clear |= 1 << i
    return Fit(clear, fit.possible & ~beaten)


def _numbered(leads: space.Rows, fit: Fit, number: int) -> Fit:
    """Return the thing of a number in an order, clear only if the whole set is."""
    count = fit.possible.bit_count()
    behind = {i: (leads[i] & fit.possible).bit_count() for i in members(fit.possible)}
    if fit.clear == fit.possible and sorted(behind.values()) == list(range(count)):
        followers = count // 2 if number == 0 and count % 2 else count - number if number else -1
        chosen = sum(1 << i for i, value in behind.items() if value == followers)
        return Fit(chosen, chosen)
    return Fit(0, fit.possible if count >= number else 0)


@dataclass(frozen=True)
class Phrase(Test):
    """A noun with tests, and the choice of one among what passes them."""

    sort: Sort
    tests: tuple[Test, ...] = ()
    pick: Pick | None = None
    count: int = 1
    """Number of things that the phrase means; 0 stands for "all"."""

    def fit(self, graph: Graph) -> Fit:
        """Return the things that the phrase means."""
        clear, possible = self.sort.fit(graph)
        for test in self.tests:
            fit = test.fit(graph)
            clear &= fit.clear
            possible &= fit.possible
        fit = Fit(clear, possible)
        return self.pick.choose(graph, fit) if self.pick and possible else fit


@dataclass(frozen=True)
class Related(Test):
    """A thing is in a relation, one of :data:`~.space.RELATIONS`, to the thing that the anchor means."""

    relation: str
    anchor: Phrase

    def measure(self, graph: Graph) -> Fit:
        """Return the things in the relation; with an ambiguous anchor everything is possible and nothing is clear."""
        clear, possible = space.relation(graph, self.relation)
        anchor = unique(self.anchor, graph)
        if anchor is not None:
            return graph.fit(clear[anchor], possible[anchor])
        mask = 0
        for i in members(self.anchor.fit(graph).possible):
            mask |= possible[i]
        return graph.fit(0, mask)


@dataclass(frozen=True)
class Between(Test):
    """A thing is between two others."""

    anchor: Phrase
    second: Phrase

    def measure(self, graph: Graph) -> Fit:
        """Return the things between the two."""
        first, second = unique(self.anchor, graph), unique(self.second, graph)
        if first is not None and second is not None and first != second:
            return space.between(graph, (min(first, second), max(first, second)))
        empty = not (self.anchor.fit(graph).possible and self.second.fit(graph).possible)
        return Fit(0, 0 if empty else graph.seen)


@dataclass(frozen=True)
class SameColor(Test):
    """A thing has the colour of another."""

    anchor: Phrase

    def measure(self, graph: Graph) -> Fit:
        """Return the things of the anchor's colour, without the anchor."""
        anchor = unique(self.anchor, graph)
        if anchor is None:
            return Fit(0, graph.seen if self.anchor.fit(graph).possible else 0)
        fit = Color("main", graph.things[anchor].main.color).fit(graph)
        return Fit(fit.clear & ~(1 << anchor), fit.possible & ~(1 << anchor))


def unique(phrase: Phrase, graph: Graph) -> int | None:
    """Return the index of the one thing that a phrase means, or None if it is not unique."""
    clear, possible = phrase.fit(graph)
    return clear.bit_length() - 1 if clear == possible and clear.bit_count() == 1 else None


def referents(meaning: Phrase, graph: Graph) -> tuple[int, ...]:
    """Return the indices of the things that a meaning clearly means."""
    return tuple(members(meaning.fit(graph).clear))


def exact(meaning: Phrase, graph: Graph, targets: int) -> bool:
    """Return whether a meaning means exactly the things of a mask, and could mean nothing else."""
    return meaning.fit(graph) == (targets, targets) and meaning.count in (0, targets.bit_count())


def anchors(test: Test) -> Iterator[tuple[str, Phrase]]:
    """Yield the fields of a test that are phrases, with their names."""
    for name in ("anchor", "second"):
        phrase = getattr(test, name, None)
        if isinstance(phrase, Phrase):
            yield name, phrase


def drop(meaning: Phrase) -> Iterator[Phrase]:
    """Yield the meanings that lack one test or pick, in the phrase or in one of its anchors."""
    for i, test in enumerate(meaning.tests):
        remaining = (meaning.tests[:i], meaning.tests[i + 1 :])
        yield replace(meaning, tests=remaining[0] + remaining[1])
        for name, phrase in anchors(test):
            for shorter in drop(phrase):
                yield replace(meaning, tests=(*remaining[0], replace(test, **{name: shorter}), *remaining[1]))
    if meaning.pick:
        yield replace(meaning, pick=None)
        if meaning.pick.anchor:
            for shorter in drop(meaning.pick.anchor):
                yield replace(meaning, pick=replace(meaning.pick, anchor=shorter))


def minimal(meaning: Phrase, graph: Graph) -> bool:
    """Return whether every content word but the nouns is needed: without it the meaning is ambiguous or another."""
    fit = meaning.fit(graph)
    return all(shorter.fit(graph) != fit for shorter in drop(meaning))
