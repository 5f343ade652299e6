"""Sampling of single things: colours, clothes, size and pose."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vg_gym.data.worlds.refscenes.kinds import COLORS, KINDS, PATTERNS, is_held_out
from vg_gym.data.worlds.refscenes.scene import Part, Thing

SKINS = {"white": 0.4, "tan": 0.25, "orange": 0.12, "brown": 0.23}
"""Colour of skin -> probability."""
HAIRS = {"black": 0.3, "brown": 0.3, "yellow": 0.22, "orange": 0.08, "gray": 0.07, "white": 0.03}
"""Colour of hair -> probability; children's is not grey or white."""
LOWER_COLORS = ("blue", "black", "gray", "brown", "tan", "white", "green", "red", "purple", "yellow")
"""Colours of trousers and the like, the first six twice as often."""
STATURES = {"man": 1.04, "woman": 0.97, "boy": 0.72, "girl": 0.7}
"""Variant -> height relative to :data:`~vg_gym.data.worlds.refscenes.kinds.KINDS`."""
SIZES = {"person": 0.06, "vehicle": 0.1, "furniture": 0.1, "animal": 0.22, "household": 0.22, "toy": 0.3, "food": 0.2,
         "outdoor": 0.25}  # fmt: skip
"""Supercategory -> standard deviation of the logarithm of the size."""
PATTERNED = 0.4
"""Probability of a pattern where a kind can have one."""
OPTIONAL_PARTS = 0.6
"""Probability of a part that a thing can lack or that can have the colour of the whole."""
FACES_CAMERA = {"person": 0.75, "household": 0.7, "furniture": 0.7, "toy": 0.8}
"""Supercategory -> probability that it faces the camera, more or less; others face anywhere."""
PART_COLORS: dict[str, tuple[str, ...]] = {
    "saddle": ("brown", "black", "red", "blue"), "collar": ("red", "blue", "green", "yellow", "pink"),
    "base": ("brown", "black", "white", "gray", "tan"),
    "legs": ("brown", "black", "white", "gray", "tan"), "sail": ("white", "red", "blue", "orange", "yellow"),
    "shoes": ("black", "brown", "white", "red"), "head": ("black", "white", "gray", "brown", "green"),
}  # fmt: skip
"""Part -> its colours; other parts have any."""


def pick(rng: np.random.Generator, options: Sequence[str]) -> str:
    """Pick one of several words."""
    return options[int(rng.integers(len(options)))]


def _weighted(rng: np.random.Generator, weights: dict[str, float]) -> str:
    values = np.array(list(weights.values()))
    return list(weights)[int(rng.choice(len(values), p=values / values.sum()))]


def sample_thing(rng: np.random.Generator, kind: str, palette: Sequence[str], new_pairs: bool) -> Thing:
    """Sample a thing at the origin.

    Args:
        rng: random generator.
        kind: its kind.
        palette: colours that the things of the scene share.
        new_pairs: whether its pair of kind and colour is held out of training; the kind must have such a pair.
    """
    spec = KINDS[kind]
    colors = [color for color in spec.colors if is_held_out(kind, color) == new_pairs]
    shared = [color for color in colors if color in palette]
    color = pick(rng, shared or colors)
    variant = pick(rng, spec.variants)
    size = float(np.exp(np.clip(rng.normal(0, SIZES[spec.supercategory]), -0.5, 0.5))) * STATURES.get(variant, 1.0)
    if kind == "person":
        parts = _clothes(rng, variant, color, palette)
    else:
        parts = _parts(rng, kind, color)
    near = rng.random() < FACES_CAMERA.get(spec.supercategory, 0.35)
    yaw = -np.pi / 2 + (rng.normal(0, 0.6) if near else rng.uniform(-np.pi, np.pi))
    pose = pick(rng, [pose for pose in spec.poses if kind != "person" or pose != "lying"])
    if pose in ("lying", "sitting", "waving") and rng.random() < 0.4:
        pose = spec.poses[0]
    return Thing(kind, parts, size, spec.height_m * size, (0.0, 0.0, 0.0), float(yaw), pose, variant)


def _pattern(rng: np.random.Generator, options: Sequence[str], color: str) -> tuple[str, str]:
    """Return a pattern and its second colour, which differs clearly from the first."""
    pattern = pick(rng, [p for p in options if p != "plain"]) if options != ("plain",) else "plain"
    if "plain" in options and rng.random() > PATTERNED:
        pattern = "plain"
    dark = color in ("black", "brown", "blue", "purple", "red", "green", "teal", "gray")
    return pattern, "white" if dark else pick(rng, ("black", "brown") if color != "brown" else ("white",))


def _parts(rng: np.random.Generator, kind: str, color: str) -> tuple[Part, ...]:
    spec = KINDS[kind]
    parts = [Part(spec.main, color, *_pattern(rng, spec.patterns, color))]
    for name in spec.parts:
        if rng.random() < OPTIONAL_PARTS:
            options = [c for c in PART_COLORS.get(name, tuple(COLORS)) if c != color]
            parts.append(Part(name, pick(rng, options)))
    return tuple(parts)


def _clothes(rng: np.random.Generator, variant: str, color: str, palette: Sequence[str]) -> tuple[Part, ...]:
    female = variant in ("woman", "girl")
    top = _weighted(rng, {"shirt": 0.68, "jacket": 0.17, "dress": 0.2 if female else 0.0})
    lower = _weighted(rng, {"trousers": 0.65, "shorts": 0.25, "skirt": 0.3 if female else 0.0})
    options = PATTERNS if top != "jacket" else ("plain",)
    parts = [Part(top, color, *_pattern(rng, options, color))]
    if top != "dress":
        colors = [c for c in (*LOWER_COLORS, *LOWER_COLORS[:6]) if c != color]
        parts.append(Part(lower, pick(rng, colors)))
    young = variant in ("boy", "girl")
    hair = _weighted(rng, {name: weight for name, weight in HAIRS.items() if not (young and name in ("gray", "white"))})
    parts += [Part("skin", _weighted(rng, SKINS)), Part("hair", hair)]
    if rng.random() < 0.3:
        parts.append(Part("hat", pick(rng, [c for c in (*palette, *COLORS) if c != color])))
    if rng.random() < 0.7:
        parts.append(Part("shoes", pick(rng, PART_COLORS["shoes"])))
    return tuple(parts)
