"""Composition of scenes: a theme, things that share kinds and colours, a layout, a camera, light and photometry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from vg_gym.data.worlds.refscenes.kinds import COLORS, KINDS, is_held_out
from vg_gym.data.worlds.refscenes.layout import arrange
from vg_gym.data.worlds.refscenes.photometry import sample_photometry
from vg_gym.data.worlds.refscenes.raster import view_of
from vg_gym.data.worlds.refscenes.renderer import truth_alone
from vg_gym.data.worlds.refscenes.scene import MIN_TARGET_VISIBLE, Photometry, Scene, Thing, Truth
from vg_gym.data.worlds.refscenes.staging import along_axes, corners_of, may_show, sample_area, sample_camera
from vg_gym.data.worlds.refscenes.themes import Theme, sample_backdrop, sample_light, sample_theme
from vg_gym.data.worlds.refscenes.things import sample_thing

ASPECTS = {(4, 3): 0.58, (3, 4): 0.18, (1, 1): 0.12, (16, 9): 0.12}
"""(width, height) -> probability."""
MAX_THINGS = 14
"""Largest number of things in a scene, except in ``test-crowded``."""
MIN_THINGS = 3
"""Smallest number of things in a scene."""
MEAN_EXTRA_THINGS = 3.6
"""Mean number of things beyond the fewest before those that cannot be seen are removed."""
MIN_KINDS, MAX_KINDS = 2, 4
"""Smallest and largest number of kinds in a scene."""
TRIAL_SIDE_PX = 64
"""Long side of the picture on which a composition is tried, in pixels."""
NEAREST = 0.3
"""Smallest distance of a thing to the camera, as a fraction of that of the focused thing."""
LARGEST_OTHER = 0.75
"""Largest box of a thing that is not focused, as a fraction of the picture."""
TRIALS = 200
"""Maximum number of trials for one scene."""


@dataclass(frozen=True)
class Demand:
    """Conditions that the scenes of a split satisfy."""

    things: tuple[int, int] = (MIN_THINGS, MAX_THINGS)
    """Range of the number of visible things."""
    areas: tuple[float, float] | None = None
    """Range of the area of the focused thing, as a fraction of the picture; by default that of photographs."""
    new_pairs: bool = False
    """True if the focused thing has a held-out pair of kind and colour."""
    shifted: bool = False
    """True if the photometry is outside the training range."""


def sample_size(rng: np.random.Generator, long_side: int) -> tuple[int, int]:
    """Sample (width, height) in pixels of a picture."""
    shapes, weights = list(ASPECTS), list(ASPECTS.values())
    width, height = shapes[int(rng.choice(len(shapes), p=weights))]
    scale = long_side / max(width, height)
    return round(width * scale), round(height * scale)


def compose(rng: np.random.Generator, demand: Demand, long_side: int) -> Scene:
    """Sample a scene that meets a demand.

    Raises:
        RuntimeError: none of many trials does.
    """
    width, height = sample_size(rng, 4 * TRIAL_SIDE_PX)
    for _ in range(TRIALS):
        scene = _trial(rng, demand, width // 4, height // 4)
        if scene is not None:
            scale = long_side / (4 * TRIAL_SIDE_PX)
            photometry = sample_photometry(rng, demand.shifted, long_side)
            return replace(scene, width=round(width * scale), height=round(height * scale), photometry=photometry)
    raise RuntimeError(f"no scene of {demand} in {TRIALS} trials")


def _trial(rng: np.random.Generator, demand: Demand, width: int, height: int) -> Scene | None:
    theme = sample_theme(rng)
    cast = _cast(rng, theme, demand)
    if not cast:
        return None
    things = arrange(rng, cast)
    same = [i for i, thing in enumerate(things) if thing.kind == things[0].kind]
    focus = 0 if demand.new_pairs else same[int(rng.integers(len(same)))]
    area = sample_area(rng) if demand.areas is None else float(np.exp(rng.uniform(*np.log(demand.areas))))
    camera = sample_camera(rng, things, focus, area, width, height)
    if camera.position[2] < 0.02:
        return None
    view = view_of(camera, width, height)
    corners = [corners_of(things, i) for i in range(len(things))]
    nearest = [along_axes(each - view.origin, view.axes)[:, 2].min() for each in corners]
    limit = NEAREST * max(nearest[focus], 1e-3)
    near = {i for i, depth in enumerate(nearest) if depth < limit}
    things, focus = without(things, near, focus)
    if focus < 0:
        return None
    if near:
        corners = [corners_of(things, i) for i in range(len(things))]
    kinds = [thing.kind for thing, each in zip(things, corners, strict=True) if may_show(view, each)]
    if not _may_be_good(kinds, things[focus].kind, demand):
        return None
    wall_y = max(float(each[:, 1].max()) for each in corners)
    backdrop = sample_backdrop(rng, theme, wall_y + theme.unit_m * rng.uniform(0.2, 2.5))
    if backdrop.wall_y is not None and camera.position[1] > backdrop.wall_y:
        return None
    light = sample_light(rng, backdrop.wall_y is not None)
    seed = int(rng.integers(2**31))
    scene = Scene(things, camera, light, backdrop, Photometry(), width, height, seed)
    truth = truth_alone(scene)
    hidden = {i for i in range(len(things)) if truth.visible[i] < 0.02}
    if not _is_good(scene, truth, focus, demand, hidden):
        return None
    visible_things = without(things, hidden, focus)[0]  # without those, too, that stand on hidden things
    return replace(scene, things=visible_things) if visible_things else None


def _may_be_good(kinds: Sequence[str], main: str, demand: Demand) -> bool:
    """Return whether a scene may be good by the kinds of the things that may be in the picture; the drawing decides."""
    return len(kinds) >= demand.things[0] and len(set(kinds)) >= MIN_KINDS and kinds.count(main) >= 2


def _cast(rng: np.random.Generator, theme: Theme, demand: Demand) -> list[Thing]:
    """Sample the things of a theme; the first has the main kind, which occurs at least twice.

    The result is empty if the theme lacks a held-out pair and the demand requires one.
    """
    mains = theme.kinds
    if demand.new_pairs:
        mains = tuple(kind for kind in mains if any(is_held_out(kind, color) for color in KINDS[kind].colors))
        if not mains:
            return []
    main = mains[int(rng.integers(len(mains)))]
    others = [kind for kind in dict.fromkeys(theme.others) if kind != main]
    count = int(rng.integers(1, 4))
    kinds = [main, *(others[i] for i in rng.permutation(len(others))[:count])]
    low, high = demand.things
    number = (
        low + 1 + int(rng.exponential(MEAN_EXTRA_THINGS)) if demand.things == (MIN_THINGS, MAX_THINGS) else high + 1
    )
    weights = np.array([2.2, *rng.uniform(0.4, 1.2, len(kinds) - 1)])
    drawn = rng.choice(len(kinds), size=max(0, min(number, high + 2) - 3), p=weights / weights.sum())
    palette = [list(COLORS)[i] for i in rng.permutation(len(COLORS))[: int(rng.integers(3, 6))]]
    names = [main, main, kinds[1], *(kinds[i] for i in drawn)]
    return [sample_thing(rng, name, palette, demand.new_pairs and i == 0) for i, name in enumerate(names)]


def without(things: Sequence[Thing], gone: set[int], focus: int) -> tuple[tuple[Thing, ...], int]:
    """Return the things without some, and without what these hold or carry; and the new index of the focus, or -1."""
    gone = set(gone)
    for _ in range(2):  # a thing in the hand of somebody who sits on a removed chair
        gone |= {i for i, thing in enumerate(things) if thing.support in gone}
        gone |= {thing.holds for i, thing in enumerate(things) if i in gone and thing.holds is not None}
    indices = [i for i in range(len(things)) if i not in gone]
    place = {old: new for new, old in enumerate(indices)}
    remaining_things = tuple(
        replace(
            things[i],
            support=None if things[i].support is None else place[things[i].support],  # type: ignore[index]
            holds=None if things[i].holds is None else place.get(things[i].holds),  # type: ignore[arg-type]
        )
        for i in indices
    )
    return remaining_things, place.get(focus, -1)


def _is_good(scene: Scene, truth: Truth, focus: int, demand: Demand, hidden: set[int]) -> bool:
    low, high = demand.things
    visible = truth.visible >= MIN_TARGET_VISIBLE
    kinds = [thing.kind for i, thing in enumerate(scene.things) if i not in hidden]
    if not (visible[focus] and low <= len(kinds) <= high and MIN_KINDS <= len(set(kinds)) <= MAX_KINDS):
        return False
    if visible.sum() < min(low, 4):
        return False
    boxes = truth.boxes
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) / (scene.width * scene.height)
    others = np.arange(len(areas)) != focus
    if len(areas) > 1 and areas[others].max() > LARGEST_OTHER:
        return False
    if demand.areas is not None and not demand.areas[0] * 0.8 <= areas[focus] <= demand.areas[1] * 1.2:
        return False
    same = [i for i, thing in enumerate(scene.things) if thing.kind == scene.things[focus].kind and visible[i]]
    return len(same) >= 2
