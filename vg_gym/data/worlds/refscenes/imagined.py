"""Imagined scenes: the same places with other things or looks, of which expressions are true that mean nothing here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from vg_gym.data.worlds.refscenes.graph import Graph
from vg_gym.data.worlds.refscenes.kinds import COLORS, KINDS, is_held_out
from vg_gym.data.worlds.refscenes.scene import Part, Thing

OTHER_LOOK_SHARE = 0.6
"""Probability that one thing looks or acts in another way; otherwise it is of a kind that the scene lacks."""
OTHER_SCENE_SHARE = 0.2
"""Probability that all kinds are others."""
SHOWN_AREA = 0.01
"""Visible area of the parts of an imagined thing, as a fraction of the picture."""
PART_SHARE = 0.6
"""Probability that an imagined thing has a part that some of its kind lack."""


def imagine(graph: Graph, target: int, rng: np.random.Generator) -> Graph:
    """Return a scene graph in which a thing, or all, are others than in the given one."""
    things = list(graph.things)
    share = rng.random()
    if share < OTHER_LOOK_SHARE:
        things[target] = _looking_different(things[target], rng)
    elif share < 1 - OTHER_SCENE_SHARE:
        things[target] = _of_kind(things[target], _other_kind(graph, [target], rng), rng)
    else:
        for kind in dict.fromkeys(thing.kind for thing in things):
            same = [i for i, thing in enumerate(graph.things) if thing.kind == kind]
            other = _other_kind(graph, same, rng)
            for i in same:
                things[i] = _of_kind(things[i], other, rng)
    shown = tuple({part.name: SHOWN_AREA for part in thing.parts} for thing in things)
    areas = tuple(old if new is before else now for old, now, new, before in
                  zip(graph.parts, shown, things, graph.things, strict=True))  # fmt: skip
    return replace(graph, things=tuple(things), parts=areas, memory={})


def _other_kind(graph: Graph, indices: Sequence[int], rng: np.random.Generator) -> str:
    """Return a kind that a scene lacks and that can do what some things do: hold, be held, or support others."""
    present = {thing.kind for thing in graph.things}
    held = {thing.holds for thing in graph.things} & set(indices)
    supports = {thing.support for thing in graph.things} & set(indices)
    raised = any(graph.things[i].support is not None for i in indices)
    absent = [
        name
        for name, kind in KINDS.items()
        if name not in present
        and (kind.held or not held)
        and (kind.supports or not supports)
        and (kind.supercategory in ("household", "food", "toy") or not raised)
    ]
    holding = any(graph.things[i].holds is not None for i in indices)
    return "person" if holding or not absent else absent[int(rng.integers(len(absent)))]


def _color(kind: str, rng: np.random.Generator) -> str:
    """Return a colour that a kind has in training."""
    colors = [color for color in KINDS[kind].colors if not is_held_out(kind, color)]
    return colors[int(rng.integers(len(colors)))]


def _looking_different(thing: Thing, rng: np.random.Generator) -> Thing:
    """Return a thing that differs in the colour of a part, in its variant or in its pose."""
    kind = KINDS[thing.kind]
    options = ["part"] * 4 + ["pose"] * (len(kind.poses) > 1) + ["variant"] * (len(kind.variants) > 1)
    option = options[int(rng.integers(len(options)))]
    if option == "pose":
        return replace(thing, pose=str(rng.choice([pose for pose in kind.poses if pose != thing.pose])))
    if option == "variant":
        return replace(thing, variant=str(rng.choice([name for name in kind.variants if name != thing.variant])))
    named = [i for i, part in enumerate(thing.parts) if part.name in kind.parts or part is thing.main]
    main = thing.parts.index(thing.main)
    chosen = main if rng.random() < 0.6 else named[int(rng.integers(len(named)))]
    color = _color(thing.kind, rng) if chosen == main else str(rng.choice(list(COLORS)))
    part = replace(thing.parts[chosen], color=color)
    return replace(thing, parts=(*thing.parts[:chosen], part, *thing.parts[chosen + 1 :]))


def _of_kind(thing: Thing, kind: str, rng: np.random.Generator) -> Thing:
    """Return a thing of another kind in the same place."""
    words = KINDS[kind]
    extra = [name for name in words.parts if rng.random() < PART_SHARE]
    colors = [_color(kind, rng), *(str(rng.choice(list(COLORS))) for _ in extra)]
    built = tuple(Part(name, color) for name, color in zip((words.main, *extra), colors, strict=True))
    main = replace(built[0], pattern=str(rng.choice(words.patterns)))
    return replace(
        thing, kind=kind, parts=(main, *built[1:]), pose=str(rng.choice(words.poses)),
        variant=str(rng.choice(words.variants)),
    )  # fmt: skip
