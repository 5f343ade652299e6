"""Models of furniture, and where things stand on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from vg_gym.data.worlds.refscenes.solids import Solid, block, cylinder, ellipsoid, rod


class Surface(NamedTuple):
    """Rectangle on which things stand or people sit, in the frame of the support and for its usual size."""

    center: tuple[float, float, float]
    half: tuple[float, float]
    seat: str = ""
    """Manner of sitting on it: ``chair``, ``saddle``, or ``""`` if people do not sit on it."""


SURFACES = {
    "chair": Surface((0.02, 0, 0.5), (0.16, 0.16), "chair"),
    "sofa": Surface((0.12, 0, 0.46), (0.24, 0.72), "chair"),
    "bench": Surface((0.04, 0, 0.47), (0.14, 0.62), "chair"),
    "bed": Surface((0.1, 0, 0.56), (0.62, 0.5)),
    "table": Surface((0, 0, 0.76), (0.38, 0.64)),
    "box": Surface((0, 0, 0.4), (0.16, 0.16)),
    "horse": Surface((0.0, 0, 1.34), (0.02, 0.02), "saddle"),
    "bicycle": Surface((-0.2, 0, 0.86), (0.02, 0.02), "saddle"),
}
"""Kind -> its surface."""


def _legs(part: str, x: float, y: float, height: float, radius: float) -> list[Solid]:
    corners = ((sx * x, sy * y) for sx in (-1, 1) for sy in (-1, 1))
    return [cylinder(part, (cx, cy, 0), (cx, cy, height), radius) for cx, cy in corners]


def chair(parts: Sequence[str]) -> list[Solid]:
    """Return the solids of a chair."""
    legs = "legs" if "legs" in parts else "seat"
    solids = _legs(legs, 0.2, 0.2, 0.46, 0.028)
    solids += [
        block("seat", (0, 0, 0.46), (0.24, 0.24, 0.03)),
        block("seat", (-0.23, 0, 0.8), (0.025, 0.24, 0.15)),
        rod("seat", (-0.23, -0.2, 0.46), (-0.23, -0.2, 0.9), 0.025),
        rod("seat", (-0.23, 0.2, 0.46), (-0.23, 0.2, 0.9), 0.025),
        block("seat", (-0.23, 0, 0.6), (0.018, 0.24, 0.025)),
    ]
    if "cushion" in parts:
        solids.append(block("cushion", (0.01, 0, 0.51), (0.21, 0.21, 0.03), (0.92, 0.92)))
    return solids


def table(parts: Sequence[str]) -> list[Solid]:
    """Return the solids of a table."""
    legs = "legs" if "legs" in parts else "top"
    return [
        *_legs(legs, 0.38, 0.66, 0.72, 0.04),
        block("top", (0, 0, 0.735), (0.47, 0.76, 0.025)),
        block(legs, (0, 0, 0.68), (0.4, 0.68, 0.035)),
    ]


def sofa(parts: Sequence[str]) -> list[Solid]:
    """Return the solids of a sofa."""
    solids = [
        block("body", (0, 0, 0.25), (0.42, 0.9, 0.17)),
        block("body", (-0.32, 0, 0.58), (0.13, 0.9, 0.27), (0.8, 0.98)),
        *_legs("wood", 0.34, 0.8, 0.1, 0.035),
    ]
    for s in (-1, 1):
        solids += [
            block("body", (0, 0.85 * s, 0.42), (0.42, 0.11, 0.2), (0.96, 0.85)),
            rod("body", (-0.36, 0.85 * s, 0.6), (0.36, 0.85 * s, 0.6), 0.105),
            block("body", (0.1, 0.37 * s, 0.44), (0.3, 0.355, 0.045), (0.95, 0.96)),
        ]
        if "cushion" in parts:
            solids.append(ellipsoid("cushion", (-0.12, 0.55 * s, 0.62), (0.08, 0.17, 0.16), pitch=-0.25))
    return solids


def bed(parts: Sequence[str]) -> list[Solid]:
    """Return the solids of a bed; its head is at -x."""
    solids = [
        *_legs("wood", 0.95, 0.68, 0.3, 0.05),
        block("wood", (-1.02, 0, 0.5), (0.04, 0.76, 0.45)),
        block("wood", (1.02, 0, 0.36), (0.04, 0.76, 0.22)),
        block("linen", (0, 0, 0.36), (0.99, 0.72, 0.14)),
        block("blanket", (0.24, 0, 0.42), (0.76, 0.755, 0.14), (0.98, 0.95)),
    ]
    part = "cushion" if "cushion" in parts else "linen"
    return solids + [ellipsoid(part, (-0.76, 0.34 * s, 0.58), (0.19, 0.3, 0.09), pitch=-0.15) for s in (-1, 1)]


def bench(parts: Sequence[str]) -> list[Solid]:
    """Return the solids of a park bench."""
    legs = "legs" if "legs" in parts else "metal"
    solids = [block("seat", (-0.12 + 0.15 * i, 0, 0.45), (0.066, 0.85, 0.022)) for i in range(3)]
    solids += [block("seat", (-0.23 - 0.02 * i, 0, 0.6 + 0.15 * i), (0.02, 0.85, 0.06), pitch=-0.15) for i in range(2)]
    for s in (-1, 1):
        y = 0.68 * s
        solids += [
            block(legs, (0.16, y, 0.21), (0.035, 0.04, 0.22)),
            block(legs, (-0.2, y, 0.4), (0.035, 0.04, 0.4), pitch=-0.12),
            block(legs, (-0.02, y, 0.41), (0.22, 0.04, 0.025)),
        ]
    return solids


def lamp(parts: Sequence[str]) -> list[Solid]:
    """Return the solids of a table lamp."""
    base = "base" if "base" in parts else "metal"
    return [
        cylinder(base, (0, 0, 0), (0, 0, 0.035), 0.1, 0.85),
        cylinder(base, (0, 0, 0.03), (0, 0, 0.4), 0.02),
        ellipsoid(base, (0, 0, 0.14), (0.06, 0.06, 0.11)),
        cylinder("shade", (0, 0, 0.32), (0, 0, 0.55), 0.185, 0.58),
    ]
