"""Models of household things, toys and food."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vg_gym.data.worlds.refscenes import solids as make
from vg_gym.data.worlds.refscenes.solids import (
    Solid,
    block,
    cylinder,
    dome,
    ellipsoid,
    ring,
    rod,
    tube,
)
from vg_gym.data.worlds.refscenes.solids import (
    ball as round_ball,
)


def television(parts: Sequence[str]) -> list[Solid]:
    """Return the solids of a television set."""
    return [
        block("case", (0, 0, 0.34), (0.035, 0.5, 0.28)),
        block("screen", (0.034, 0, 0.345), (0.006, 0.465, 0.245)),
        block("glow", (0.037, -0.2, 0.44), (0.006, 0.2, 0.09)),
        block("case", (0, 0, 0.05), (0.03, 0.07, 0.06)),
        block("case", (0, 0, 0.012), (0.13, 0.26, 0.012)),
    ]


def laptop(parts: Sequence[str]) -> list[Solid]:
    """Return the solids of an open laptop."""
    lid = make.moved(
        [
            block("case", (0, 0, 0.115), (0.008, 0.17, 0.115)),
            block("screen", (0.007, 0, 0.117), (0.004, 0.155, 0.098)),
            block("glow", (0.009, 0.04, 0.14), (0.004, 0.08, 0.045)),
        ],
        make.turned(pitch=-0.3),
        (-0.1, 0, 0.015),
    )
    keys = [block("dark", (0.03 + 0.033 * i, 0, 0.019), (0.012, 0.14, 0.004)) for i in range(-2, 2)]
    return [block("case", (0.01, 0, 0.01), (0.12, 0.17, 0.01)), *keys, *lid]


def clock(parts: Sequence[str]) -> list[Solid]:
    """Return the solids of an alarm clock."""
    solids = [
        cylinder("case", (-0.04, 0, 0.11), (0.04, 0, 0.11), 0.095),
        cylinder("dial", (0.03, 0, 0.11), (0.043, 0, 0.11), 0.077),
        rod("dark", (0.046, 0, 0.11), (0.046, -0.035, 0.135), 0.006),
        rod("dark", (0.046, 0, 0.11), (0.046, 0.012, 0.17), 0.005),
        rod("metal", (0, -0.02, 0.21), (0, 0.02, 0.21), 0.008),
    ]
    for s in (-1, 1):
        solids += [
            ellipsoid("metal", (0, 0.06 * s, 0.2), (0.035, 0.035, 0.028), roll=-0.5 * s),
            rod("case", (0, 0.05 * s, 0.03), (0, 0.075 * s, 0.008), 0.012),
        ]
    return solids


def bottle(parts: Sequence[str]) -> list[Solid]:
    """Return the solids of a bottle."""
    lid = "lid" if "lid" in parts else "dark"
    solids = [
        cylinder("body", (0, 0, 0), (0, 0, 0.165), 0.04),
        dome("body", (0, 0, 0.165), (0.04, 0.04, 0.05)),
        cylinder("body", (0, 0, 0.19), (0, 0, 0.25), 0.017, 0.85),
        cylinder(lid, (0, 0, 0.238), (0, 0, 0.27), 0.02),
    ]
    if "label" in parts:
        solids.append(cylinder("label", (0, 0, 0.05), (0, 0, 0.13), 0.0415))
    return solids


def mug(parts: Sequence[str]) -> list[Solid]:
    """Return the solids of a mug, its handle at -y."""
    handle = "handle" if "handle" in parts else "body"
    loop = ring(handle, (0, -0.047, 0.055), 0.028, 0.008)
    frame = np.column_stack([loop.frame[:, 1], loop.frame[:, 2], loop.frame[:, 0], loop.frame[:, 3]])
    return [
        tube("body", (0, 0, 0), (0, 0, 0.11), 0.043, 1.04),
        tube("inside", (0, 0, 0.005), (0, 0, 0.109), 0.039, 1.04),
        cylinder("coffee", (0, 0, 0.07), (0, 0, 0.088), 0.0385),
        loop._replace(frame=frame),
    ]


def bowl(parts: Sequence[str]) -> list[Solid]:
    """Return the solids of a bowl."""
    return [
        dome("body", (0, 0, 0.1), (0.115, 0.115, 0.09), pitch=np.pi),
        dome("inside", (0, 0, 0.1), (0.108, 0.108, 0.083), pitch=np.pi),
        cylinder("body", (0, 0, 0), (0, 0, 0.022), 0.05),
        ring("body", (0, 0, 0.1), 0.111, 0.005),
    ]


def vase(parts: Sequence[str]) -> list[Solid]:
    """Return the solids of a vase with flowers."""
    solids = [
        cylinder("body", (0, 0, 0), (0, 0, 0.05), 0.045, 1.2),
        ellipsoid("body", (0, 0, 0.1), (0.075, 0.075, 0.085)),
        tube("body", (0, 0, 0.15), (0, 0, 0.21), 0.035, 1.35),
    ]
    blossoms = ((0.05, 0.04, 0.31), (-0.045, 0.02, 0.33), (0.0, -0.05, 0.29), (0.01, 0.0, 0.36))
    for i, (x, y, z) in enumerate(blossoms):
        solids.append(rod("stem", (0, 0, 0.18), (x, y, z), 0.006))
        solids.append(ellipsoid(("blossom", "petal")[i % 2], (x, y, z), (0.034, 0.034, 0.026)))
    return solids


def book(parts: Sequence[str]) -> list[Solid]:
    """Return the solids of a book that lies on its back."""
    return [
        block("paper", (0.004, 0, 0.025), (0.082, 0.117, 0.02)),
        block("cover", (0, 0, 0.0475), (0.09, 0.125, 0.0035)),
        block("cover", (0, 0, 0.0035), (0.09, 0.125, 0.0035)),
        block("cover", (-0.088, 0, 0.025), (0.004, 0.125, 0.025)),
        block("paper", (0.02, 0, 0.0515), (0.03, 0.07, 0.001)),
    ]


def ball(parts: Sequence[str]) -> list[Solid]:
    """Return the solids of a ball."""
    return [round_ball("body", (0, 0, 0.15), 0.15)]


def umbrella(parts: Sequence[str]) -> list[Solid]:
    """Return the solids of an open umbrella, its handle at the origin."""
    handle = "handle" if "handle" in parts else "dark"
    solids = [
        dome("canopy", (0, 0, 0.62), (0.58, 0.58, 0.34), 0.05),
        cylinder("metal", (0, 0, 0.1), (0, 0, 1.0), 0.012),
        rod(handle, (0, 0, 0.02), (0, 0, 0.17), 0.026),
    ]
    return solids + [ball_at for ball_at in (round_ball("metal", (0, 0, 1.0), 0.02),)]


def suitcase(parts: Sequence[str]) -> list[Solid]:
    """Return the solids of a suitcase on wheels."""
    handle = "handle" if "handle" in parts else "dark"
    solids = [
        block("body", (0, 0, 0.32), (0.115, 0.21, 0.27)),
        block("dark", (0, 0, 0.32), (0.118, 0.008, 0.272)),
        rod(handle, (0, -0.07, 0.6), (0, -0.07, 0.64), 0.014),
        rod(handle, (0, 0.07, 0.6), (0, 0.07, 0.64), 0.014),
        rod(handle, (0, -0.07, 0.64), (0, 0.07, 0.64), 0.018),
    ]
    solids += [block("body", (0, 0.105 * s, 0.32), (0.122, 0.085, 0.24)) for s in (-1, 1)]
    return solids + [round_ball("tyre", (0.07 * sx, 0.16 * sy, 0.028), 0.028) for sx in (-1, 1) for sy in (-1, 1)]


def box(parts: Sequence[str]) -> list[Solid]:
    """Return the solids of a cardboard box."""
    lid = "lid" if "lid" in parts else "body"
    return [
        block("body", (0, 0, 0.18), (0.25, 0.25, 0.18)),
        block(lid, (0, 0, 0.36), (0.26, 0.26, 0.04)),
        block("tape", (0, 0, 0.363), (0.262, 0.035, 0.0405)),
    ]


def apple(parts: Sequence[str]) -> list[Solid]:
    """Return the solids of an apple."""
    return [
        ellipsoid("body", (0, 0, 0.038), (0.042, 0.042, 0.038)),
        ellipsoid("body", (0, 0, 0.046), (0.0425, 0.0425, 0.031)),
        rod("bark", (0, 0, 0.07), (0.006, 0, 0.088), 0.0035),
        ellipsoid("stem", (0.02, 0.0, 0.083), (0.018, 0.009, 0.004), pitch=-0.4),
    ]


def banana(parts: Sequence[str]) -> list[Solid]:
    """Return the solids of two bananas that lie on their side."""
    solids = []
    for shift in (0.0, 0.034):
        turns = np.linspace(-0.95, 0.95, 6)
        points = [(0.13 * np.cos(t) - 0.1 + shift, 0.13 * np.sin(t), 0.022 + 0.2 * shift) for t in turns]
        radii = (0.015, 0.021, 0.023, 0.021, 0.014)
        solids += [rod("body", a, b, r) for a, b, r in zip(points, points[1:], radii, strict=False)]
        solids.append(rod("dark", points[-1], (points[-1][0] - 0.015, points[-1][1] + 0.012, 0.024), 0.008))
    return solids


def donut(parts: Sequence[str]) -> list[Solid]:
    """Return the solids of a doughnut."""
    return [
        ring("dough", (0, 0, 0.024), 0.038, 0.024),
        ring("frosting", (0, 0, 0.031), 0.038, 0.0215),
    ]


def cake(parts: Sequence[str]) -> list[Solid]:
    """Return the solids of a cake with candles."""
    solids = [
        cylinder("plate", (0, 0, 0), (0, 0, 0.01), 0.17),
        cylinder("frosting", (0, 0, 0.008), (0, 0, 0.1), 0.125),
        ring("trim", (0, 0, 0.1), 0.112, 0.014),
        ring("trim", (0, 0, 0.016), 0.126, 0.013),
    ]
    for k in range(5):
        x, y = 0.065 * np.cos(k * 2 * np.pi / 5), 0.065 * np.sin(k * 2 * np.pi / 5)
        solids.append(cylinder("blossom", (x, y, 0.1), (x, y, 0.15), 0.008))
        solids.append(ellipsoid("flame", (x, y, 0.162), (0.007, 0.007, 0.014)))
    return solids


def plant(parts: Sequence[str]) -> list[Solid]:
    """Return the solids of a plant in a pot."""
    solids = [
        tube("pot", (0, 0, 0), (0, 0, 0.22), 0.11, 1.3),
        cylinder("soil", (0, 0, 0.15), (0, 0, 0.19), 0.132),
        ring("pot", (0, 0, 0.215), 0.145, 0.015),
    ]
    for k in range(7):
        turn, rise = k * 2.4, 0.3 + 0.24 * ((k * 3) % 7) / 6
        out = 0.24 - 0.12 * ((k * 3) % 7) / 6
        tip = (out * np.cos(turn), out * np.sin(turn), rise + 0.08)
        middle = (tip[0] * 0.6, tip[1] * 0.6, rise - 0.02)
        solids.append(rod("stem", (0, 0, 0.18), middle, 0.01))
        solids.append(ellipsoid("leaves", tip, (0.14, 0.055, 0.02), yaw=turn, pitch=-0.35))
    return solids
