"""Models of vehicles and of what stands outdoors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vg_gym.data.worlds.refscenes.solids import (
    Solid,
    ball,
    block,
    cylinder,
    dome,
    ellipsoid,
    ring,
    rod,
    wheel,
)  # fmt: skip


def car(parts: Sequence[str]) -> list[Solid]:
    """Return the solids of a car, 4.3 m long."""
    roof = "roof" if "roof" in parts else "body"
    solids = [
        block("body", (0, 0, 0.55), (2.1, 0.85, 0.25), (0.97, 0.96)),
        block("body", (1.3, 0, 0.84), (0.78, 0.8, 0.06), (0.9, 0.92)),
        block("glass", (-0.3, 0, 1.08), (1.25, 0.79, 0.28), (0.62, 0.86)),
        block(roof, (-0.3, 0, 1.39), (0.8, 0.69, 0.045), (0.9, 0.92)),
        block("bumper", (0, 0, 0.4), (2.17, 0.83, 0.09)),
        block("dark", (2.11, 0, 0.6), (0.03, 0.42, 0.08)),
    ]
    for s in (-1, 1):
        solids += [
            block(roof, (-0.3, 0.75 * s, 1.1), (0.05, 0.06, 0.29), (1, 1)),
            ellipsoid("headlight", (2.08, 0.62 * s, 0.66), (0.07, 0.16, 0.1)),
            block("tail light", (-2.1, 0.66 * s, 0.66), (0.03, 0.14, 0.08)),
        ]
        for x in (-1.3, 1.32):
            solids += wheel((x, 0.76 * s, 0.34), 0.34, 0.24)
    return solids


def bus(parts: Sequence[str]) -> list[Solid]:
    """Return the solids of a bus, 8.4 m long."""
    roof = "roof" if "roof" in parts else "body"
    solids = [
        block("body", (0, 0, 1.6), (4.2, 1.25, 1.2)),
        block(roof, (0, 0, 2.86), (4.15, 1.2, 0.1), (0.98, 0.92)),
        block("glass", (4.2, 0, 1.95), (0.03, 1.08, 0.56)),
        block("glass", (-4.2, 0, 2.1), (0.03, 0.95, 0.38)),
        block("bumper", (0, 0, 0.5), (4.26, 1.22, 0.14)),
        block("headlight", (4.2, 0, 2.66), (0.04, 0.8, 0.1)),
    ]
    for s in (-1, 1):
        solids += [block("glass", (x, 1.25 * s, 2.1), (0.62, 0.03, 0.42)) for x in (-3.2, -1.75, -0.3, 1.15)]
        solids.append(block("glass", (2.9, 1.25 * s, 1.6), (0.55, 0.03, 0.95)))
        solids.append(ellipsoid("headlight", (4.22, 0.85 * s, 0.85), (0.06, 0.2, 0.15)))
        for x in (-2.6, 2.0):
            solids += wheel((x, 1.12 * s, 0.5), 0.5, 0.32)
    return solids


def truck(parts: Sequence[str]) -> list[Solid]:
    """Return the solids of a lorry, 7.2 m long."""
    trailer = "trailer" if "trailer" in parts else "cab"
    solids = [
        block("cab", (2.75, 0, 1.5), (0.85, 1.1, 0.95), (0.9, 0.96)),
        block("glass", (3.55, 0, 1.85), (0.06, 0.95, 0.38), (0.6, 0.95)),
        block("cab", (3.5, 0, 0.98), (0.2, 1.08, 0.42)),
        block("dark", (3.71, 0, 1.0), (0.02, 0.6, 0.22)),
        block("bumper", (0.1, 0, 0.66), (3.65, 0.6, 0.14)),
        block(trailer, (-1.05, 0, 1.95), (2.75, 1.2, 1.15)),
        block("bumper", (3.6, 0, 0.5), (0.16, 1.1, 0.12)),
    ]
    for s in (-1, 1):
        solids.append(block("glass", (2.85, 1.08 * s, 1.85), (0.42, 0.03, 0.34), (0.85, 1)))
        solids.append(ellipsoid("headlight", (3.72, 0.82 * s, 0.8), (0.05, 0.17, 0.12)))
        for x in (-2.9, -1.8, 2.7):
            solids += wheel((x, 0.98 * s, 0.48), 0.48, 0.32)
    return solids


def bicycle(parts: Sequence[str]) -> list[Solid]:
    """Return the solids of a bicycle, 1.75 m long."""
    pedals, head, seat = (-0.05, 0, 0.34), (0.38, 0, 0.82), (-0.2, 0, 0.86)
    solids = [
        rod("metal", (0.36, 0, 0.95), (0.33, 0, 1.0), 0.022),
        rod("dark", (0.33, -0.26, 1.01), (0.33, 0.26, 1.01), 0.026),
    ]
    for x in (-0.54, 0.55):
        solids += [ring("tyre", (x, 0, 0.34), 0.3, 0.034, pitch=0, yaw=0)]
        solids[-1] = solids[-1]._replace(frame=_upright(solids[-1].frame))
        solids.append(cylinder("metal", (x, -0.03, 0.34), (x, 0.03, 0.34), 0.05))
        for k in range(3):
            c, s = 0.29 * np.cos(k * np.pi / 3 + 0.3), 0.29 * np.sin(k * np.pi / 3 + 0.3)
            solids.append(rod("metal", (x - c, 0, 0.34 - s), (x + c, 0, 0.34 + s), 0.007))
    joints = [(pedals, head), (pedals, seat), ((-0.17, 0, 0.78), (0.36, 0, 0.8)), ((-0.54, 0, 0.34), pedals)]
    joints += [((-0.54, 0, 0.34), (-0.17, 0, 0.78)), (head, (0.55, 0, 0.34)), (head, (0.36, 0, 0.95))]
    solids += [rod("frame", a, b, 0.027) for a, b in joints]
    solids += [
        ellipsoid("saddle", (-0.22, 0, 0.91), (0.16, 0.08, 0.045)),
        cylinder("dark", (-0.05, 0.05, 0.34), (-0.05, 0.07, 0.34), 0.1),
    ]
    return solids


def _upright(frame: np.ndarray) -> np.ndarray:
    """Turn the plane of a ring from the floor to that of x and z."""
    return np.column_stack([frame[:, 0], frame[:, 2], frame[:, 1], frame[:, 3]])


def boat(parts: Sequence[str]) -> list[Solid]:
    """Return the solids of a boat, with a mast if it has a sail and a cabin if not."""
    solids = [
        block("hull", (-0.35, 0, 0.28), (1.6, 0.62, 0.36), (1.08, 1.3)),
        block("hull", (1.55, 0, 0.28), (0.62, 0.44, 0.36), (1.45, 1.5), yaw=np.pi / 4),
        block("trim", (-0.35, 0, 0.66), (1.74, 0.83, 0.04)),
    ]
    if "sail" in parts:
        solids += [
            cylinder("wood", (0.2, 0, 0.6), (0.2, 0, 4.1), 0.05),
            block("sail", (-0.6, 0, 2.35), (0.72, 0.02, 1.6), (0.06, 1)),
            block("sail", (0.95, 0, 2.0), (0.55, 0.02, 1.25), (0.06, 1)),
        ]
    else:
        solids += [
            block("trim", (-0.5, 0, 1.15), (0.8, 0.5, 0.48), (0.86, 0.9)),
            block("glass", (-0.5, 0, 1.25), (0.6, 0.52, 0.2), (0.92, 0.94)),
            cylinder("dark", (-0.9, 0, 1.6), (-0.9, 0, 2.1), 0.12),
        ]
    return solids


def tree(parts: Sequence[str]) -> list[Solid]:
    """Return the solids of a fir tree."""
    solids = [cylinder("bark", (0, 0, 0), (0, 0, 0.8), 0.16, 0.8)]
    levels = ((0.55, 1.9, 0.95), (1.3, 2.6, 0.78), (2.0, 3.4, 0.56))
    return solids + [cylinder("leaves", (0, 0, low), (0, 0, high), radius, 0.04) for low, high, radius in levels]


def house(parts: Sequence[str]) -> list[Solid]:
    """Return the solids of a house with a gable roof, 4 m wide; its door faces x."""
    solids = [
        block("walls", (0, 0, 1.3), (1.7, 2.0, 1.3)),
        block("walls", (0, 0, 3.2), (1.66, 2.0, 0.72), (1, 0)),
        block("roof", (0.0, 0, 3.28), (1.95, 2.35, 0.9), (1, 0)),
        block("roof", (-0.8, -1.1, 3.6), (0.22, 0.22, 0.7)),
        block("door", (1.71, -0.5, 0.9), (0.04, 0.4, 0.9)),
        ball("yellow", (1.77, -0.2, 0.9), 0.07),
    ]
    frames = [((1.71, 0.95, 1.5), (0.04, 0.45, 0.45))]
    frames += [((x, 2.01 * s, 1.5), (0.42, 0.04, 0.45)) for s in (-1, 1) for x in (-0.8, 0.8)]
    for center, half in frames:
        solids.append(block("trim", center, half))
        x, y, z = (value * 0.8 if value > 0.1 else 0.06 for value in half)
        solids.append(block("glass", center, (x, y, z)))
    return solids


def hydrant(parts: Sequence[str]) -> list[Solid]:
    """Return the solids of a fire hydrant."""
    lid = "lid" if "lid" in parts else "body"
    return [
        cylinder("body", (0, 0, 0), (0, 0, 0.07), 0.2),
        cylinder("body", (0, 0, 0.06), (0, 0, 0.52), 0.135),
        cylinder("body", (0, 0, 0.5), (0, 0, 0.55), 0.175),
        dome(lid, (0, 0, 0.55), (0.145, 0.145, 0.14)),
        cylinder(lid, (0, 0, 0.67), (0, 0, 0.75), 0.045),
        cylinder(lid, (0, -0.22, 0.4), (0, 0.22, 0.4), 0.065),
        cylinder("metal", (0, -0.24, 0.4), (0, 0.24, 0.4), 0.04),
        cylinder("body", (0, 0, 0.33), (0.2, 0, 0.33), 0.085),
        cylinder(lid, (0.19, 0, 0.33), (0.23, 0, 0.33), 0.1),
    ]


def cone(parts: Sequence[str]) -> list[Solid]:
    """Return the solids of a traffic cone."""
    return [
        block("body", (0, 0, 0.025), (0.22, 0.22, 0.025)),
        cylinder("body", (0, 0, 0.03), (0, 0, 0.7), 0.16, 0.2),
        cylinder("band", (0, 0, 0.33), (0, 0, 0.47), 0.11, 0.72),
    ]
