"""Scene graph of a picture of RefScenes: the facts that expressions can state, each with a margin.

Sets of things are bit masks, so that an expression is checked in microseconds. Every fact has two of them, a
:class:`Fit`: the things of which it is clearly true, and those of which somebody might say it. Things that are hardly
visible are never clear, and things that cannot be seen are not in the graph's sets at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from vg_gym.data.worlds.refscenes.kinds import kind_named
from vg_gym.data.worlds.refscenes.scene import MIN_TARGET_VISIBLE, Part, Scene, Thing, Truth, headings

MIN_SEEN = 0.03
"""Smallest visible fraction of a thing that a viewer may notice."""
MIN_SEEN_AREA = 0.0004
"""Smallest area of a box that a viewer may notice, as a fraction of the picture."""
MIN_TARGET_AREA = 0.004
"""Smallest area of the box of a target, as a fraction of the picture."""
MIN_POSED = 0.75
"""Smallest visible fraction of a thing whose pose and pattern are clear."""
MIN_DETAIL = 0.09
"""Smallest side of a thing whose pattern and pose are clear, as a fraction of the picture's short side."""
MIN_PART_AREA = 0.0012
"""Smallest visible area of a part that is spoken of, as a fraction of the picture: 7 x 8 pixels of 256 x 192."""
CONFUSED_COLORS = frozenset(
    frozenset(pair.split())
    for pair in ("gray white", "gray black", "brown black", "brown orange", "brown tan", "purple blue")
)
"""Pairs of colours that shadow and white balance may turn into each other."""
CHILDREN = frozenset({"boy", "girl"})
"""Variants of a person that are a "kid"."""
GARMENTS = ("shirt", "jacket", "dress", "trousers", "shorts", "skirt", "hat", "shoes", "scarf")
"""Parts that one wears."""
HEADINGS = {"left": (-1, 0), "right": (1, 0), "towards": (0, -1), "away": (0, 1)}
"""Direction that a thing faces -> unit vector in the picture: to the right, and away from the viewer."""


class Fit(NamedTuple):
    """Bit masks of the things of which something is clearly true, and of those of which it may be true."""

    clear: int
    possible: int


def members(mask: int) -> Iterator[int]:
    """Yield the indices of a bit mask, ascending."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


def mask_of(flags: np.ndarray) -> int:
    """Return the bit mask of a boolean array (N,)."""
    return int.from_bytes(np.packbits(flags, bitorder="little").tobytes(), "little")


@dataclass(frozen=True, eq=False)
class Graph:
    """The things of a scene as a viewer of its picture knows them; arrays are in the order of ``things``."""

    things: tuple[Thing, ...]
    boxes: np.ndarray
    """Visible boxes divided by the picture's short side, float64 (N, 4)."""
    visible: np.ndarray
    """Visible fractions, float64 (N,)."""
    depth: np.ndarray
    """Distances from the camera in metres, float64 (N,)."""
    heading: np.ndarray
    """Direction in the picture that each thing faces, unit vectors (N, 2); see :func:`~.scene.headings`."""
    parts: tuple[dict[str, float], ...]
    """For every thing the visible area of its parts by name, as fractions of the picture."""
    width: float
    """Width of the picture divided by its short side."""
    height: float
    """Height of the picture divided by its short side."""
    memory: dict[object, Any] = field(default_factory=dict)
    """Cached results of evaluated tests, by test."""
    geometry: dict[object, Any] = field(default_factory=dict)
    """Orders and relations that have been evaluated before; they hold whatever the things look like."""

    @cached_property
    def area(self) -> np.ndarray:
        """Areas of the boxes as fractions of the picture, float64 (N,)."""
        sides = self.boxes[:, 2:] - self.boxes[:, :2]
        return sides.prod(1) / (self.width * self.height)

    @cached_property
    def seen(self) -> int:
        """Mask of the things that a viewer may notice."""
        return mask_of((self.visible >= MIN_SEEN) & (self.area >= MIN_SEEN_AREA))

    @cached_property
    def sure(self) -> int:
        """Mask of the things that a viewer recognises."""
        return mask_of((self.visible >= MIN_TARGET_VISIBLE) & (self.area >= MIN_TARGET_AREA / 2))

    @cached_property
    def targets(self) -> tuple[int, ...]:
        """Indices of the things that an expression may refer to."""
        return tuple(members(mask_of((self.visible >= MIN_TARGET_VISIBLE) & (self.area >= MIN_TARGET_AREA))))

    @cached_property
    def detailed(self) -> int:
        """Mask of the things of which pattern and pose are recognised."""
        side = np.sqrt(self.area * self.width * self.height)
        return mask_of((self.visible >= MIN_POSED) & (side >= MIN_DETAIL)) & self.sure

    def fit(self, clear: int, possible: int) -> Fit:
        """Return a fit of which only recognised things are clear, and only noticed ones possible."""
        clear &= self.sure
        return Fit(clear, (possible | clear) & self.seen)

    def flags(self, clear: np.ndarray, possible: np.ndarray) -> Fit:
        """Return the fit of two boolean arrays (N,)."""
        return self.fit(mask_of(clear), mask_of(possible))

    def where(self, holds: Callable[[Thing], bool]) -> int:
        """Return the mask of the things of which something holds."""
        return sum(1 << i for i, thing in enumerate(self.things) if holds(thing))

    def part_fit(self, name: str, clear: Callable[[Part], bool], possible: Callable[[Part], bool]) -> Fit:
        """Return the fit of a test of a part; a part that is hidden may look like anything."""
        sure = maybe = 0
        for i, thing in enumerate(self.things):
            part = part_of(thing, name)
            if part and self.shows(i, part.name):
                sure |= clear(part) << i
                maybe |= possible(part) << i
            elif part or (self.visible[i] < MIN_POSED and can_have(thing, name)):
                maybe |= 1 << i
        return self.fit(sure, maybe)

    def shows(self, index: int, name: str) -> bool:
        """Return whether enough of a part is visible to speak of it."""
        return self.parts[index].get(name, 0.0) >= MIN_PART_AREA


def part_of(thing: Thing, name: str) -> Part | None:
    """Return a part of a thing; "main" is the one whose colour is the thing's own."""
    return thing.main if name == "main" else thing.part(name)


def can_have(thing: Thing, name: str) -> bool:
    """Return whether a thing of this kind can have a part."""
    return name == kind_named(thing.kind).main or name in kind_named(thing.kind).parts


def confused(color: str, other: str) -> bool:
    """Return whether one colour may be taken for the other."""
    return color == other or frozenset((color, other)) in CONFUSED_COLORS


def graph_of(scene: Scene, truth: Truth) -> Graph:
    """Return the scene graph of a picture."""
    short, pixels = min(scene.width, scene.height), scene.width * scene.height
    return Graph(
        scene.things,
        np.asarray(truth.boxes, np.float64) / short,
        np.asarray(truth.visible, np.float64),
        np.asarray(truth.depth, np.float64),
        headings(scene),
        tuple({name: count / pixels for name, count in parts.items()} for parts in truth.parts),
        scene.width / short,
        scene.height / short,
    )
