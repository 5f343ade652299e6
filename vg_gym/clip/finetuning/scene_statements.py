"""True statements about the things of a scene of RefScenes, from which captions are put together.

A statement is a noun phrase such as "a woman in a striped shirt" or "a dog next to the red chair". Unlike a referring
expression it may be true of several things. The statements of a scene are a pure function of its record; they are kept
in the cache folder beside the scene.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from vg_gym.data.worlds.refscenes.candidates import CHOICES, looks, spoken_sorts
from vg_gym.data.worlds.refscenes.catalogue import COLORS
from vg_gym.data.worlds.refscenes.chunks import SCENES_PER_CHUNK, labels_of
from vg_gym.data.worlds.refscenes.graph import Graph, graph_of, members
from vg_gym.data.worlds.refscenes.kinds import KINDS, is_held_out
from vg_gym.data.worlds.refscenes.meaning import Color, Phrase, Sort, anchors
from vg_gym.data.worlds.refscenes.records import DRAWING, SceneRecord, scene_of
from vg_gym.data.worlds.refscenes.renderer import truth_alone
from vg_gym.data.worlds.refscenes.typos import with_typos
from vg_gym.data.worlds.refscenes.wording import Writer
from vg_gym.errors import CannotWrite
from vg_gym.storage.code import code_fingerprint
from vg_gym.storage.files import cache_place, go_on_without_cache, make_folder, replacing

SHARES = {"attribute": 0.4, "part": 0.3, "action": 0.12, "relation": 0.18}
"""Kind of statement, as of expressions -> its share."""
STATEMENTS_PER_THING = 4
"""Number of statements about a thing."""
BARE_SHARE = 0.1
"""Probability that a statement only names the thing."""
LOOK_SHARE = 0.35
"""Probability that a statement about parts, actions or relations says the colour, too."""
OTHER_KIND_SHARE = 0.3
"""Probability that an altered statement is about another kind, where a colour could differ."""
MAX_CHUNKS_IN_MEMORY = 4096
"""Number of files whose statements stay in memory, about 60 KB each."""
SOURCE = code_fingerprint([Path(__file__)])[:12]
"""Hash of everything that decides the statements, besides the scene."""


@dataclass(frozen=True)
class Statement:
    """Statement about a thing of a scene, and its meaning."""

    text: str
    things: tuple[int, ...]
    """Rows of the things that it names in :class:`~vg_gym.data.worlds.refscenes.records.Labels`, its own first."""
    altered: str
    """The statement with another colour or noun, true of nothing in the picture; empty without such a statement."""
    sort: str
    """Meaning of its noun, a sort of :func:`~vg_gym.data.worlds.refscenes.meaning.sorts`."""
    color: str
    """Colour that it states of the thing itself; empty for none."""
    by_look: bool
    """True if it states only the noun and that colour."""


@dataclass(frozen=True)
class Described:
    """The statements of a scene, with the looks of its annotated things."""

    statements: tuple[Statement, ...]
    sorts: tuple[tuple[str, ...], ...]
    """Nouns of every annotated thing that people use."""
    colors: tuple[str, ...]
    """Colour of every annotated thing."""


def described(record: SceneRecord) -> Described:
    """Return the statements of a scene."""
    return _chunk(replace(record, index=record.index // SCENES_PER_CHUNK * SCENES_PER_CHUNK))[
        record.index % SCENES_PER_CHUNK
    ]


@lru_cache(MAX_CHUNKS_IN_MEMORY)
def _chunk(first: SceneRecord) -> tuple[Described, ...]:
    """Return the statements of the scenes of a file, which is written if it does not exist."""
    folder = cache_place("refscenes", DRAWING, f"{first.split}-s{first.seed}-{first.image_size}px")
    path = folder / f"{first.index // SCENES_PER_CHUNK:07d}.{SOURCE}.json"
    if path.exists():
        return tuple(_read(*scene) for scene in json.loads(path.read_text(encoding="utf-8")))
    scenes = tuple(_describe(replace(first, index=first.index + i)) for i in range(SCENES_PER_CHUNK))
    try:
        make_folder(folder)
        with replacing(path) as part:
            part.write_text(json.dumps([astuple(scene) for scene in scenes]), encoding="utf-8")
    except CannotWrite as error:
        go_on_without_cache(error)
    return scenes


def _read(statements: list[list], sorts: list[list[str]], colors: list[str]) -> Described:
    read = (Statement(text, tuple(things), *fields) for text, things, *fields in statements)
    return Described(tuple(read), tuple(map(tuple, sorts)), tuple(colors))


def _describe(record: SceneRecord) -> Described:
    labels, rng = labels_of(record), record.rng("statements", 0)
    scene = scene_of(record, labels.attempt)
    graph = graph_of(scene, truth_alone(scene))
    rows = {number: row for row, number in enumerate(labels.numbers)}
    statements = {
        statement.text: statement
        for target in graph.targets
        if target in rows
        for statement in _statements(graph, target, rows, rng)
    }
    names = tuple(tuple(sort.name for sort in spoken_sorts(graph, number)) for number in labels.numbers)
    colors = tuple(scene.things[number].main.color for number in labels.numbers)
    return Described(tuple(statements.values()), names, colors)


def _statements(graph: Graph, target: int, rows: dict[int, int], rng: np.random.Generator) -> Iterator[Statement]:
    """Yield statements about a thing; those about things that are not annotated are left out."""
    for kind in rng.choice(list(SHARES), STATEMENTS_PER_THING, p=list(SHARES.values())).tolist():
        meaning = _meaning(graph, target, kind, rng)
        things = [target, *(index for test in meaning.tests for _, phrase in anchors(test)
                            for index in members(phrase.fit(graph).clear))]  # fmt: skip
        if not set(things) <= set(rows):
            continue
        seed = rng.integers(2**32)
        text = with_typos(Writer(graph, np.random.default_rng(seed)).write(meaning, (target,)), rng)
        other = _altered(graph, meaning, rng)
        altered = Writer(graph, np.random.default_rng(seed)).write(other, (target,)) if other else ""
        colors = [test for test in meaning.tests if isinstance(test, Color) and test.part == "main"]
        yield Statement(
            text, tuple(rows[index] for index in things), altered, meaning.sort.name,
            colors[0].color if colors else "", list(meaning.tests) == colors,
        )  # fmt: skip


def _meaning(graph: Graph, target: int, kind: str, rng: np.random.Generator) -> Phrase:
    """Return what a statement of a kind says of a thing; where nothing of the kind is true, it names the thing."""
    choices = [choice.tests for choice in CHOICES[kind](graph, target, _order(graph, rng)) if not choice.pick]
    options = [tests for tests in choices if tests] if rng.random() > BARE_SHARE else []
    tests = options[int(rng.integers(len(options)))] if options else ()
    color = [test for test in looks(graph, target)[:1] if isinstance(test, Color) and test not in tests]
    if kind != "attribute" and rng.random() < LOOK_SHARE:
        tests = (*color, *tests)
    nouns = spoken_sorts(graph, target)
    return Phrase(nouns[-1] if rng.random() < 0.1 else nouns[0], tests)


def _order(graph: Graph, rng: np.random.Generator) -> Sequence[int]:
    return rng.permutation(len(graph.things)).tolist()


def _altered(graph: Graph, meaning: Phrase, rng: np.random.Generator) -> Phrase | None:
    """Return a meaning with another colour or noun that nothing in the scene could be taken for, if one is found.

    Pairs of kind and colour that are held out of training are left out here, too.
    """
    colored = [i for i, test in enumerate(meaning.tests) if isinstance(test, Color)]
    if colored and rng.random() > OTHER_KIND_SHARE:
        at = colored[int(rng.integers(len(colored)))]
        color = replace(meaning.tests[at], color=list(COLORS)[int(rng.integers(len(COLORS)))])  # type: ignore[call-arg]
        other = replace(meaning, tests=(*meaning.tests[:at], color, *meaning.tests[at + 1 :]))
    else:
        kinds = [kind for kind in KINDS if kind != "person"]
        other = replace(meaning, sort=Sort(kinds[int(rng.integers(len(kinds)))]))
    pairs = [(other.sort.name, test.color) for test in other.tests if isinstance(test, Color) and test.part == "main"]
    held_out = any(kind in KINDS and is_held_out(kind, color) for kind, color in pairs)
    return None if held_out or other.fit(graph).possible else other
