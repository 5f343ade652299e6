"""Themes of scenes: which kinds appear together, on which ground and under which sky."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vg_gym.data.worlds.refscenes.scene import Backdrop, Light

Rgb = tuple[float, float, float]


@dataclass(frozen=True)
class Theme:
    """A setting."""

    kinds: tuple[str, ...]
    """Kinds that can be the main one, of which there are at least two."""
    others: tuple[str, ...]
    """Further kinds."""
    grounds: tuple[str, ...]
    """Kinds of ground."""
    indoors: bool
    """True if the scene has a wall."""
    unit_m: float
    """Size of the ground's texture in metres."""
    weight: float = 1.0
    """Frequency of the theme relative to others."""


def _theme(kinds: str, others: str, grounds: str, indoors: bool, unit_m: float, weight: float) -> Theme:
    """Return a theme; its kinds are separated by commas."""
    main, further, floors = (tuple(text.split(", ")) for text in (kinds, others, grounds))
    return Theme(main, further, floors, indoors, unit_m, weight)


_SMALL = "mug, bottle, bowl, vase, book, apple, banana, donut, cake, clock, laptop, lamp, plant"
_CARRIED = "umbrella, suitcase, ball, bottle, book, teddy bear"

THEMES: dict[str, Theme] = {
    "street": _theme(
        "person, car, bus, truck, bicycle", "person, car, hydrant, cone, umbrella, dog, suitcase, bicycle, tree",
        "asphalt, tiles", False, 1.6, 2.0,
    ),
    "park": _theme(
        "person, dog, bench, bicycle, umbrella, duck",
        "person, dog, bench, ball, tree, umbrella, duck, bicycle, book", "grass, sand", False, 1.2, 2.2,
    ),
    "people": _theme(
        "person", f"chair, sofa, dog, cat, table, {_CARRIED}", "wood, tiles, carpet", True, 0.9, 2.4,
    ),
    "farm": _theme(
        "cow, horse, sheep, pig, duck", "person, cow, horse, sheep, pig, duck, tree, dog", "grass", False, 1.4, 1.6,
    ),
    "savanna": _theme(
        "elephant, giraffe", "tree, person, elephant, giraffe", "sand, grass", False, 2.6, 0.9,
    ),
    "harbour": _theme("boat, boat, duck", "boat, duck", "water", False, 2.5, 0.7),
    "tabletop": _theme(_SMALL, f"{_SMALL}, teddy bear", "wood, tiles, carpet", True, 0.28, 2.6),
    "room": _theme(
        "sofa, chair, table, bed, lamp, television, plant, box",
        "person, cat, dog, table, chair, plant, television, teddy bear, suitcase, ball, lamp",
        "wood, tiles, carpet", True, 0.8, 1.8,
    ),
    "desk": _theme(
        "laptop, book, mug, clock, lamp, bottle, vase", "table, laptop, book, mug, cat", "wood, carpet", True, 0.6, 1.4,
    ),
    "pets": _theme(
        "dog, cat, teddy bear, duck", "ball, box, suitcase, cat, dog, bowl, person", "wood, grass, carpet",
        True, 0.4, 1.6,
    ),
    "luggage": _theme(
        "suitcase, box, umbrella", "person, suitcase, dog, teddy bear, bench", "tiles, asphalt", True, 0.8, 0.9,
    ),
    "snow": _theme("snowman, person, tree", "dog, person, tree, snowman, house", "snow", False, 1.5, 0.8),
    "village": _theme(
        "house, car, tree, truck", "house, tree, car, person, hydrant, bicycle", "grass, asphalt", False, 2.2, 0.9,
    ),
    "roadwork": _theme(
        "cone, hydrant", "person, truck, cone, hydrant, bicycle, ball", "asphalt, tiles", False, 0.9, 0.7,
    ),
}  # fmt: skip
"""Name -> theme."""

GROUND_COLORS: dict[str, tuple[tuple[Rgb, Rgb], ...]] = {
    "grass": (((0.20, 0.38, 0.14), (0.42, 0.55, 0.24)), ((0.33, 0.40, 0.16), (0.58, 0.58, 0.30))),
    "sand": (((0.70, 0.60, 0.43), (0.87, 0.78, 0.60)), ((0.58, 0.45, 0.31), (0.74, 0.61, 0.45))),
    "tiles": (((0.66, 0.64, 0.60), (0.42, 0.41, 0.40)), ((0.58, 0.44, 0.36), (0.80, 0.74, 0.66)),
              ((0.74, 0.76, 0.78), (0.52, 0.56, 0.62)), ((0.36, 0.38, 0.42), (0.60, 0.62, 0.64))),
    "wood": (((0.62, 0.44, 0.27), (0.36, 0.23, 0.13)), ((0.76, 0.61, 0.42), (0.54, 0.40, 0.26)),
             ((0.40, 0.25, 0.17), (0.24, 0.15, 0.10))),
    "asphalt": (((0.26, 0.26, 0.27), (0.42, 0.42, 0.43)), ((0.38, 0.37, 0.36), (0.55, 0.54, 0.52))),
    "snow": (((0.84, 0.87, 0.92), (0.95, 0.96, 0.98)),),
    "water": (((0.12, 0.28, 0.40), (0.38, 0.54, 0.62)), ((0.16, 0.34, 0.34), (0.44, 0.60, 0.58))),
    "carpet": (((0.52, 0.20, 0.20), (0.68, 0.36, 0.32)), ((0.28, 0.34, 0.48), (0.45, 0.50, 0.62)),
               ((0.60, 0.56, 0.50), (0.76, 0.72, 0.66)), ((0.30, 0.42, 0.34), (0.46, 0.56, 0.46))),
}  # fmt: skip
"""Kind of ground -> pairs of colours."""
SKIES: tuple[tuple[Rgb, Rgb], ...] = (
    ((0.80, 0.86, 0.92), (0.36, 0.58, 0.88)), ((0.84, 0.85, 0.86), (0.66, 0.70, 0.75)),
    ((0.94, 0.82, 0.70), (0.50, 0.60, 0.82)), ((0.78, 0.84, 0.90), (0.52, 0.68, 0.90)),
)  # fmt: skip
"""Pairs of colours of horizon and zenith."""
WALLS: tuple[tuple[Rgb, Rgb], ...] = (
    ((0.86, 0.83, 0.76), (0.90, 0.88, 0.83)), ((0.72, 0.80, 0.82), (0.80, 0.86, 0.88)),
    ((0.83, 0.75, 0.62), (0.88, 0.82, 0.72)), ((0.62, 0.70, 0.60), (0.72, 0.78, 0.70)),
    ((0.80, 0.68, 0.66), (0.87, 0.78, 0.76)), ((0.58, 0.60, 0.66), (0.68, 0.70, 0.75)),
)  # fmt: skip
"""Pairs of colours of the lower and the upper part of a wall."""
OUTDOOR_FOG_M, INDOOR_FOG_M = (40.0, 220.0), (200.0, 400.0)
"""Range of the distance of fog, in metres; outdoors times the size of the scene."""


def sample_theme(rng: np.random.Generator) -> Theme:
    """Sample a theme by weight."""
    themes = tuple(THEMES.values())
    weights = np.array([theme.weight for theme in themes])
    return themes[int(rng.choice(len(themes), p=weights / weights.sum()))]


def sample_backdrop(rng: np.random.Generator, theme: Theme, wall_y: float) -> Backdrop:
    """Sample ground and wall or sky; ``wall_y`` is where a wall stands, in metres."""
    ground = theme.grounds[int(rng.integers(len(theme.grounds)))]
    colors = GROUND_COLORS[ground][int(rng.integers(len(GROUND_COLORS[ground])))]
    inside = theme.indoors and ground not in ("grass", "asphalt")
    table = WALLS if inside else SKIES
    sky = table[int(rng.integers(len(table)))]
    fog = rng.uniform(*(INDOOR_FOG_M if inside else OUTDOOR_FOG_M))
    shade = float(rng.uniform(0.85, 1.1))
    return Backdrop(
        ground, (_shaded(colors[0], shade), _shaded(colors[1], shade)), wall_y if inside else None, sky,
        float(rng.uniform(0.6, 1.0)), theme.unit_m * float(rng.uniform(0.7, 1.4)), float(fog),
    )  # fmt: skip


def _shaded(color: Rgb, factor: float) -> Rgb:
    return color[0] * factor, color[1] * factor, color[2] * factor


def sample_light(rng: np.random.Generator, inside: bool) -> Light:
    """Sample a sun or a lamp, seldom against the camera."""
    around, rise = rng.uniform(-0.6, np.pi + 0.6), rng.uniform(0.55, 1.25)
    direction = np.array((np.cos(around) * np.cos(rise), -np.sin(around) * np.cos(rise), np.sin(rise)))
    strength, ambient = (0.62, 0.62) if inside else (0.68, 0.48)
    level = rng.uniform(0.85, 1.15)
    return Light(
        tuple(direction.tolist()), float(strength * level * rng.uniform(0.8, 1.2)), float(ambient * level),
        float(rng.uniform(0.1, 0.5) if inside else rng.uniform(0.0, 0.35)),
    )  # fmt: skip
