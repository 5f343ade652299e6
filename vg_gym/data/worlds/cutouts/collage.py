"""Flat scenes out of cut-outs: things that stand on a ground, the nearer ones lower, larger and in front."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from vg_gym.data.worlds.cutouts.pieces import MIN_ALPHA, Cutouts, pixels_of, resized
from vg_gym.data.worlds.refscenes.composition import sample_size
from vg_gym.data.worlds.refscenes.graph import Graph
from vg_gym.data.worlds.refscenes.kinds import OWN
from vg_gym.data.worlds.refscenes.scene import Part, Thing
from vg_gym.data.worlds.refscenes.themes import GROUND_COLORS, SKIES

HORIZON = 0.3
"""Height of the horizon from the top, as a fraction of the picture."""
FEET = (0.5, 1.02)
"""Range of the lower edges of things from the top, as a fraction of the picture."""
SIDE = 0.52
"""Side of a square thing at the lower border, as a fraction of the side of a square picture."""
SIZE_SPREAD = 0.22
"""Standard deviation of the logarithm of the size of a noun, and of each thing."""
MIN_THINGS, MAX_THINGS, MEAN_EXTRA_THINGS = 3, 10, 2.5
"""Smallest and largest number of things, and mean number beyond the smallest."""
MAX_NOUNS = 4
"""Largest number of nouns in a scene."""
NOISE = 0.03
"""Standard deviation of the noise of ground and sky."""
MAX_MASKS_IN_MEMORY = 512
"""Number of resized cut-outs that stay in memory."""


@dataclass(frozen=True)
class Placed:
    """A cut-out in a picture."""

    number: int
    """Number of the cut-out."""
    box: tuple[int, int, int, int]
    """Box of the whole thing in pixels; it may extend beyond the picture."""
    mirrored: bool
    distance: float
    """Distance from the viewer; 1 for a thing at the lower border."""


@dataclass(frozen=True)
class Collage:
    """A flat scene."""

    things: tuple[Placed, ...]
    """The things, the farthest first."""
    width: int
    height: int
    colors: tuple[tuple[float, float, float], ...]
    """Two colours of the ground and two of the sky, in [0, 1]."""
    seed: int
    """Seed of the noise."""


def sample_collage(rng: np.random.Generator, cutouts: Cutouts, long_side: int) -> Collage:
    """Sample a scene of two to four nouns, of which the first occurs at least twice."""
    width, height = sample_size(rng, long_side)
    order = [cutouts.nouns[i] for i in rng.permutation(len(cutouts.nouns))]
    nouns = order[: int(rng.integers(2, min(len(order), MAX_NOUNS) + 1))]
    extra = min(int(rng.exponential(MEAN_EXTRA_THINGS)), MAX_THINGS - MIN_THINGS)
    names = [nouns[0], nouns[0], nouns[1], *(nouns[int(rng.integers(len(nouns)))] for _ in range(extra))]
    sizes = {noun: float(np.exp(rng.normal(0, SIZE_SPREAD))) for noun in nouns}
    things = [_placed(rng, cutouts, noun, sizes[noun], width, height) for noun in names]
    grounds = [pair for pairs in GROUND_COLORS.values() for pair in pairs]
    colors = (*grounds[int(rng.integers(len(grounds)))], *SKIES[int(rng.integers(len(SKIES)))])
    far_first = sorted(things, key=lambda thing: -thing.distance)
    return Collage(tuple(far_first), width, height, colors, int(rng.integers(2**31)))


def _placed(
    rng: np.random.Generator, cutouts: Cutouts, noun: str, size: float, width: int, height: int
) -> Placed:  # fmt: skip
    """Sample a cut-out of a noun and its place."""
    numbers = [number for number, piece in enumerate(cutouts.pieces) if piece.noun == noun]
    number = numbers[int(rng.integers(len(numbers)))]
    rows, columns = pixels_of(cutouts.pieces[number]).shape[:2]
    low = rng.uniform(*FEET)
    near = (low - HORIZON) / (1 - HORIZON)
    side = SIDE * near * size * float(np.exp(rng.normal(0, SIZE_SPREAD))) * np.sqrt(width * height)
    wide, high = side * np.sqrt(columns / rows), side * np.sqrt(rows / columns)
    scale = min(1.0, 0.9 * width / wide, low * height / high)
    wide, high = max(4, round(wide * scale)), max(4, round(high * scale))
    left = round(rng.uniform(-0.3 * wide, width - 0.7 * wide))
    bottom = round(low * height)
    return Placed(number, (left, bottom - high, left + wide, bottom), bool(rng.random() < 0.5), 1 / near)


@lru_cache(MAX_MASKS_IN_MEMORY)
def _rgba(cutouts: Cutouts, thing: Placed) -> np.ndarray:
    """Return the pixels of a thing in its size, uint8 RGBA."""
    left, top, right, bottom = thing.box
    pixels = resized(pixels_of(cutouts.pieces[thing.number]), (right - left, bottom - top))
    return pixels[:, ::-1] if thing.mirrored else pixels


def _windows(thing: Placed, collage: Collage) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Return the window of the picture that shows a thing, and the window of the thing that is visible."""
    left, top, right, bottom = thing.box
    x1, y1, x2, y2 = max(left, 0), max(top, 0), min(right, collage.width), min(bottom, collage.height)
    picture = slice(y1, max(y1, y2)), slice(x1, max(x1, x2))
    return picture, tuple(slice(s.start - o, s.stop - o) for s, o in zip(picture, (top, left), strict=True))  # type: ignore[return-value]


def segments_of(collage: Collage, cutouts: Cutouts) -> tuple[np.ndarray, np.ndarray]:
    """Return the thing of each pixel, uint8 (H, W) from 1, 0 for none; and the visible fraction of each thing (N,)."""
    segments = np.zeros((collage.height, collage.width), np.uint8)
    whole = np.zeros(len(collage.things))
    for number, thing in enumerate(collage.things):
        mask = _rgba(cutouts, thing)[..., 3] >= MIN_ALPHA
        picture, window = _windows(thing, collage)
        segments[picture][mask[window]] = number + 1
        whole[number] = mask.sum()
    visible_pixels = np.bincount(segments.ravel(), minlength=len(collage.things) + 1)[1:]
    return segments, visible_pixels / np.maximum(whole, 1)


def graph_of_collage(collage: Collage, cutouts: Cutouts, boxes: np.ndarray, visible: np.ndarray) -> Graph:
    """Return the scene graph of a collage: nouns, places, sizes and distances; colours cannot be told.

    Args:
        collage: the scene.
        cutouts: the cut-outs.
        boxes: boxes of what is visible, in pixels, (N, 4).
        visible: visible fractions, (N,).
    """
    short = min(collage.width, collage.height)
    things = []
    for thing in collage.things:
        left, top, right, bottom = thing.box
        side, depth = (left + right) / 2 / short, thing.distance
        kind = OWN + cutouts.pieces[thing.number].noun
        things.append(Thing(kind, (Part("body", "white"),), 1.0, (bottom - top) / short, (side * depth, depth, 0.0)))
    return Graph(
        tuple(things),
        np.asarray(boxes, float) / short,
        np.asarray(visible, float),
        np.array([thing.distance for thing in collage.things]),
        np.zeros((len(things), 2)),
        ({},) * len(things),
        collage.width / short,
        collage.height / short,
    )


def draw_collage(collage: Collage, cutouts: Cutouts) -> np.ndarray:
    """Return the picture, uint8 RGB (H, W, 3)."""
    light = _backdrop(collage)
    for thing in collage.things:
        pixels = _rgba(cutouts, thing).astype(np.float32) / 255
        picture, window = _windows(thing, collage)
        alpha = pixels[window][..., 3:]
        light[picture] = light[picture] * (1 - alpha) + pixels[window][..., :3] * alpha
    return np.round(light * 255).astype(np.uint8)


def _backdrop(collage: Collage) -> np.ndarray:
    """Return ground and sky with some noise, float32 (H, W, 3) in [0, 1]."""
    near, far, low, high = np.array(collage.colors, np.float32)
    rows = ((np.arange(collage.height) + 0.5) / collage.height)[:, None, None]
    sky = low + (high - low) * (HORIZON - rows) / HORIZON
    ground = far + (near - far) * (rows - HORIZON) / (1 - HORIZON)
    noise = np.random.default_rng(collage.seed).normal(0, NOISE, (collage.height, collage.width, 1))
    return np.clip(np.where(rows < HORIZON, sky, ground) + noise, 0, 1).astype(np.float32)
