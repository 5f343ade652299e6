"""RefShapes scenes: sampling of objects, and drawing.

A scene consists of a few objects (shape, colour, size, fill) that do not overlap, on a textured background. Coordinates
are normalised. Shapes are polygons that touch all four sides of their box, so boxes are exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from PIL import Image, ImageDraw

SHAPES = ("arrow", "circle", "crescent", "cross", "diamond", "heart", "ring", "square", "star", "triangle")
"""Nouns of the language."""
COLORS: dict[str, tuple[int, int, int]] = {
    "red": (220, 40, 40),
    "orange": (245, 140, 30),
    "yellow": (245, 225, 50),
    "green": (50, 175, 70),
    "cyan": (70, 215, 225),
    "blue": (50, 85, 225),
    "purple": (140, 60, 190),
    "pink": (250, 140, 190),
    "white": (245, 245, 245),
}
"""Colour -> RGB."""
FILLS = ("solid", "striped")
"""Fills of a shape."""
SIZES: dict[str, tuple[float, float]] = {"small": (0.14, 0.18), "medium": (0.21, 0.27), "large": (0.32, 0.40)}
"""Size word -> range of the side (square root of the area of the box), as a fraction of the image."""

HOMES = {shape: ("left" if i % 2 else "right") for i, shape in enumerate(SHAPES) if i < 8}
"""Shape -> the half of the image where ``refshapes-biased`` puts it in training, its home. This is the confounder."""


@dataclass(frozen=True)
class Level:
    """Difficulty of the scenes of a data set."""

    count: tuple[int, int] = (3, 9)
    """Minimum and maximum number of objects."""
    shapes: tuple[int, int] = (1, 3)
    """Minimum and maximum number of different shapes in a scene; few shapes give many same-shape distractors."""
    colors: tuple[int, int] = (2, 4)
    """Minimum and maximum number of different colours in a scene."""
    texture: float = 1.0
    """Contrast of the background."""
    bias: float = 0.0
    """Probability that a shape is placed in its home (:data:`HOMES`), in all splits except test."""


ANY = "refshapes-any"
"""Data set whose expressions may also mean nothing or several objects."""
LEVELS = {
    "refshapes-easy": Level(count=(3, 4), shapes=(2, 3), colors=(2, 4), texture=0.3),
    "refshapes": Level(),
    "refshapes-hard": Level(count=(6, 9), shapes=(1, 2), colors=(2, 3), texture=1.6),
    "refshapes-biased": Level(bias=0.9),
    ANY: Level(count=(4, 9)),
}
"""Data set -> its level."""


@dataclass(frozen=True)
class Shape:
    """One object: its attributes and its box, normalised ``(x1, y1, x2, y2)``."""

    shape: str
    color: str
    size: str
    fill: str
    box: tuple[float, float, float, float]

    @cached_property
    def center(self) -> tuple[float, float]:
        """Centre (x, y) of the box, normalised."""
        return (self.box[0] + self.box[2]) / 2, (self.box[1] + self.box[3]) / 2

    @cached_property
    def side(self) -> float:
        """Square root of the box's normalised area, the measure of size everywhere."""
        return float(np.sqrt((self.box[2] - self.box[0]) * (self.box[3] - self.box[1])))

    @property
    def agrees(self) -> bool | None:
        """True if the object lies in its shape's home of ``refshapes-biased``; None if the shape lacks a home."""
        home = HOMES.get(self.shape)
        return None if home is None else (home == "left") == (self.center[0] < 0.5)


Scene = tuple[Shape, ...]
"""The objects of an image."""


def sample_scene(rng: np.random.Generator, level: Level, biased: bool) -> Scene:
    """Sample a scene: first its shapes and colours, then objects, which need a free place."""
    count = int(rng.integers(level.count[0], level.count[1] + 1))
    shapes = rng.permutation(SHAPES)[: rng.integers(level.shapes[0], level.shapes[1] + 1)].tolist()
    colors = rng.permutation(list(COLORS))[: rng.integers(level.colors[0], level.colors[1] + 1)].tolist()
    scene: list[Shape] = []
    for _ in range(count):
        shape, color = shapes[rng.integers(len(shapes))], colors[rng.integers(len(colors))]
        home = HOMES.get(shape) if biased and rng.random() < level.bias else None
        placed = _place(rng, scene, home)
        if placed is not None:
            fill = FILLS[int(rng.integers(len(FILLS)))]
            scene.append(Shape(shape, color, placed[0], fill, placed[1]))
    return tuple(scene)


def _place(
    rng: np.random.Generator, scene: list[Shape], home: str | None, gap: float = 0.015
) -> tuple[str, tuple[float, float, float, float]] | None:
    """Sample a size and a box without overlap; an object without a free place becomes smaller, or None."""
    for size in list(SIZES)[int(rng.integers(len(SIZES))) :: -1]:
        side, aspect = rng.uniform(*SIZES[size]), np.exp(rng.uniform(-0.2, 0.2))
        extent = np.array([side * aspect, side / aspect])
        low, high = extent / 2 + 0.01, 0.99 - extent / 2
        if home == "left":
            high = np.array([max(low[0], 0.49), high[1]])
        elif home == "right":
            low = np.array([min(high[0], 0.51), low[1]])
        (half_width, half_height), centers = (extent / 2).tolist(), rng.uniform(low, high, size=(12, 2))
        for x, y in centers.tolist():
            x1, y1, x2, y2 = box = x - half_width, y - half_height, x + half_width, y + half_height
            if not any(
                x1 - gap < right and left < x2 + gap and y1 - gap < bottom and top < y2 + gap
                for left, top, right, bottom in (item.box for item in scene)
            ):
                return size, box
    return None


@cache
def _polygon(shape: str) -> np.ndarray:
    """Return the vertices (N, 2) of a shape that touches all sides of [0, 1]^2."""
    turn = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    circle = np.stack([np.cos(turn), np.sin(turn)], 1)
    if shape == "star":
        spike = np.arange(10) * np.pi / 5 - np.pi / 2
        points = np.stack([np.cos(spike), np.sin(spike)], 1) * np.where(np.arange(10) % 2, 0.42, 1.0)[:, None]
    elif shape == "heart":
        points = np.stack(
            [16 * np.sin(turn) ** 3, -(13 * np.cos(turn) - 5 * np.cos(2 * turn) - 2 * np.cos(3 * turn))], 1
        )
    elif shape == "crescent":
        outer = np.linspace(0.25 * np.pi, 1.75 * np.pi, 32)
        inner = np.linspace(1.62 * np.pi, 0.38 * np.pi, 32)
        points = np.concatenate(
            [
                np.stack([np.cos(outer), np.sin(outer)], 1),
                np.stack([0.45 + 0.78 * np.cos(inner), 0.78 * np.sin(inner)], 1),
            ]
        )
    else:
        points = {
            "circle": circle,
            "ring": circle,
            "square": np.array([(0, 0), (1, 0), (1, 1), (0, 1)]),
            "diamond": np.array([(0.5, 0), (1, 0.5), (0.5, 1), (0, 0.5)]),
            "triangle": np.array([(0.5, 0), (1, 1), (0, 1)]),
            "cross": np.array(
                [(1, 0), (2, 0), (2, 1), (3, 1), (3, 2), (2, 2), (2, 3), (1, 3), (1, 2), (0, 2), (0, 1), (1, 1)]
            ),
            "arrow": np.array([(0, 1), (1.6, 1), (1.6, 0), (3, 1.5), (1.6, 3), (1.6, 2), (0, 2)]),
        }[shape].astype(float)
    low, high = points.min(0), points.max(0)
    return (points - low) / (high - low)


def _mask(shape: str, box: np.ndarray, image_size: int, oversample: int = 4) -> tuple[np.ndarray, int, int]:
    """Return the coverage (h, w) in [0, 1] of a shape with a box in pixels, and x and y of its upper left pixel."""
    x0, y0 = int(box[0]), int(box[1])
    width, height = min(int(np.ceil(box[2])), image_size) - x0, min(int(np.ceil(box[3])), image_size) - y0
    canvas = Image.new("L", (width * oversample, height * oversample), 0)
    draw = ImageDraw.Draw(canvas)
    extent, origin = box[2:] - box[:2], box[:2] - (x0, y0)

    def outline(points: np.ndarray) -> list[float]:
        return ((points * extent + origin) * oversample - 0.5).ravel().tolist()

    draw.polygon(outline(_polygon(shape)), fill=255)
    if shape == "ring":
        draw.polygon(outline(0.5 + (_polygon(shape) - 0.5) * 0.5), fill=0)
    return np.asarray(canvas.resize((width, height), Image.Resampling.BOX), dtype=np.float32) / 255, x0, y0


def scene_segments(scene: Scene, image_size: int) -> np.ndarray:
    """Return the object that covers at least half of each pixel, uint8 (S, S): numbers from 1, 0 for background."""
    segments = np.zeros((image_size, image_size), dtype=np.uint8)
    for number, item in enumerate(scene, start=1):
        mask, x, y = _mask(item.shape, np.array(item.box) * image_size, image_size)
        segments[y : y + mask.shape[0], x : x + mask.shape[1]][mask >= 0.5] = number
    return segments


def _background(rng: np.random.Generator, image_size: int, texture: float) -> np.ndarray:
    """Draw a dark, muted, blotchy background, float32 (S, S, 3) in [0, 255]."""
    base = rng.uniform(45, 110) + rng.uniform(-12, 12, 3)
    coarse = rng.normal(0, 16 * texture, (6, 6, 3)) + base
    blotches = Image.fromarray(coarse.clip(0, 255).astype(np.uint8)).resize(
        (image_size, image_size), Image.Resampling.BICUBIC
    )
    return np.asarray(blotches, dtype=np.float32)


def draw_scene(scene: Scene, rng: np.random.Generator, image_size: int, texture: float) -> np.ndarray:
    """Draw a scene.

    Args:
        scene: objects, drawn in this order.
        rng: random generator of background and shades.
        image_size: side S of the image in pixels.
        texture: contrast of the background.

    Returns:
        uint8 RGB (S, S, 3).
    """
    canvas = _background(rng, image_size, texture)
    for item in scene:
        mask, x, y = _mask(item.shape, np.array(item.box) * image_size, image_size)
        height, width = mask.shape
        paint = np.array(COLORS[item.color], dtype=np.float32) * rng.uniform(0.88, 1.0)
        shade = np.ones((height, width, 1), dtype=np.float32)
        if item.fill == "striped":
            period = max(4.0, 0.2 * image_size * item.side)
            rows, columns = np.indices((height, width))
            shade[..., 0] = np.where((rows + columns) % period < period / 2, 1.0, 0.3)
        patch = canvas[y : y + height, x : x + width]
        patch += mask[..., None] * (paint * shade - patch)
    canvas += rng.normal(0, 4 * texture, (image_size, image_size, 1)).astype(np.float32)
    return canvas.clip(0, 255).astype(np.uint8)
