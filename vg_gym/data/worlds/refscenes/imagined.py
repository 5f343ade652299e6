"""Imagined scenes: the same places with other things or looks, of which expressions are true that mean nothing here.

Other looks and things are drawn as those of real scenes are, so that no word tells that an expression means nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from vg_gym.data.worlds.refscenes.graph import Graph
from vg_gym.data.worlds.refscenes.kinds import KINDS
from vg_gym.data.worlds.refscenes.scene import Thing
from vg_gym.data.worlds.refscenes.themes import THEMES, sample_theme
from vg_gym.data.worlds.refscenes.things import sample_thing

OTHER_LOOK_SHARE = 0.65
"""Probability that one thing looks or acts in another way."""
OTHER_KIND_SHARE = 0.2
"""Probability that one thing is of a kind that the scene lacks; otherwise all things are."""
OTHER_KINDS_SHARE = 0.35
"""Probability that several things that differ are of another kind; otherwise they look different."""
OTHER_VARIANT_SHARE = 0.15
"""Probability that a person who looks different is, say, a woman in place of a man."""
SHOWN_AREA = 0.01
"""Visible area of the parts of an imagined thing, as a fraction of the picture."""


def imagine(graph: Graph, target: int, difference: str, rng: np.random.Generator) -> Graph:
    """Return a scene graph in which a thing, or all, are others than in the given one.

    Args:
        graph: the real one.
        target: the thing that differs in any case.
        difference: what differs most: its "look", its "pose", or its "kind", then always.
        rng: random generator.
    """
    things = list(graph.things)
    share = rng.uniform(OTHER_LOOK_SHARE if difference == "kind" else 0.0, 1.0)
    if share < OTHER_LOOK_SHARE:
        posed = rng.random() < (0.7 if difference == "pose" else 0.1)
        things[target] = (_posing if posed else _looking)(graph, things[target], rng)
    elif share < OTHER_LOOK_SHARE + OTHER_KIND_SHARE:
        things[target] = _of_kind(graph, things[target], _other_kind(graph, [target], True, rng), rng)
    else:
        for kind in dict.fromkeys(thing.kind for thing in things):
            same = [i for i, thing in enumerate(graph.things) if thing.kind == kind]
            other = _other_kind(graph, same, False, rng)
            for i in same:
                things[i] = _of_kind(graph, things[i], other, rng)
    return _imagined(graph, things)


def imagine_several(graph: Graph, target: int, rng: np.random.Generator) -> Graph:
    """Return a scene graph in which several things of one kind are others than in the given one, all in one way.

    Args:
        graph: the real one.
        target: one of the things.
        rng: random generator.
    """
    things = list(graph.things)
    same = [i for i, thing in enumerate(things) if thing.kind == things[target].kind]
    if rng.random() < OTHER_KINDS_SHARE:
        kind = _other_kind(graph, same, rng.random() < 0.5, rng)
        for i in same:
            things[i] = _of_kind(graph, things[i], kind, rng)
        return _imagined(graph, things)
    others = [i for i in rng.permutation(same).tolist() if i != target]
    seed = int(rng.integers(2**31))
    for i in (target, *others[: int(rng.integers(1, 4))]):
        things[i] = _looking(graph, things[i], np.random.default_rng(seed))
    return _imagined(graph, things)


def _imagined(graph: Graph, things: Sequence[Thing]) -> Graph:
    """Return a graph with other things in the same places."""
    pairs = zip(graph.things, things, graph.parts, strict=True)
    parts = tuple(areas if new is old else {part.name: SHOWN_AREA for part in new.parts} for old, new, areas in pairs)
    return replace(graph, things=tuple(things), parts=parts, memory={})


def _other_kind(graph: Graph, indices: Sequence[int], same_theme: bool, rng: np.random.Generator) -> str:
    """Return a kind that a scene lacks and that can do what some of its things do.

    Args:
        graph: the scene graph.
        indices: the things, all of one kind.
        same_theme: whether to look among the kinds that appear together with theirs.
        rng: random generator.
    """
    if any(graph.things[i].holds is not None for i in indices):
        return "person"
    kind = graph.things[indices[0]].kind
    if same_theme:
        themes = [theme for theme in THEMES.values() if kind in (*theme.kinds, *theme.others)]
        theme = themes[int(rng.integers(len(themes)))]
    else:
        theme = sample_theme(rng)
    fitting = [name for name in (*theme.kinds, *theme.others) if _fits(graph, indices, name)]
    fitting = fitting or [name for name in KINDS if _fits(graph, indices, name)] or [kind]
    return fitting[int(rng.integers(len(fitting)))]


def _fits(graph: Graph, indices: Sequence[int], name: str) -> bool:
    """Return whether a kind that a scene lacks can be held, support others or stand on them, where some things do."""
    kind, index_set = KINDS[name], set(indices)
    burdens = {thing.holds for thing in graph.things} & index_set
    supports = {thing.support for thing in graph.things} & index_set
    raised = any(graph.things[i].support is not None for i in indices)
    small = kind.supercategory in ("household", "food", "toy")
    absent = all(thing.kind != name for thing in graph.things)
    return absent and (kind.held or not burdens) and (kind.supports or not supports) and (small or not raised)


def _drawn(graph: Graph, kind: str, rng: np.random.Generator) -> Thing:
    """Return a thing of a kind as scenes with the colours of this one have it."""
    return sample_thing(rng, kind, tuple(dict.fromkeys(thing.main.color for thing in graph.things)), False)


def _posing(graph: Graph, thing: Thing, rng: np.random.Generator) -> Thing:
    """Return a thing in another pose, as far as its kind has one."""
    return replace(thing, pose=_drawn(graph, thing.kind, rng).pose)


def _looking(graph: Graph, thing: Thing, rng: np.random.Generator) -> Thing:
    """Return a thing that differs in a part or in its variant."""
    drawn, share = _drawn(graph, thing.kind, rng), rng.random()
    if share < OTHER_VARIANT_SHARE and thing.variant:
        return replace(thing, variant=drawn.variant)
    named = [part for part in drawn.parts if part.name in KINDS[thing.kind].parts]
    part = replace(drawn.main, name=thing.main.name)
    if named and share > 0.55:
        part = named[int(rng.integers(len(named)))]
    old = [other.name for other in thing.parts]
    at = old.index(part.name) if part.name in old else len(old)
    return replace(thing, parts=(*thing.parts[:at], part, *thing.parts[at + 1 :]))


def _of_kind(graph: Graph, thing: Thing, kind: str, rng: np.random.Generator) -> Thing:
    """Return a thing of another kind in the same place."""
    drawn = _drawn(graph, kind, rng)
    return replace(thing, kind=kind, parts=drawn.parts, pose=drawn.pose, variant=drawn.variant)
