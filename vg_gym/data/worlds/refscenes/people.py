"""Models of people: a skeleton for each pose, clothed in solids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from vg_gym.data.worlds.refscenes.solids import (
    Point,
    Solid,
    ball,
    barrel,
    block,
    cylinder,
    dome,
    ellipsoid,
    moved,
    ring,
    rod,
    turned,
)  # fmt: skip

ADULT_M = 1.72
"""Height of the skeleton in metres; a child is the same with a larger head, drawn smaller."""
HEAD_SCALE = {"man": 1.12, "woman": 1.12, "boy": 1.42, "girl": 1.42}
LYING_HEIGHT_M = 0.16
"""Height of the spine of a person who lies on the back."""
HANDS: dict[str, Point] = {
    "front": (0.34, -0.14, 1.12),
    "low": (0.04, -0.34, 0.78),
    "up": (0.24, -0.27, 1.2),
}
"""Place of the right hand for each way of holding a thing: before the chest, hanging, or upright."""


class Limb(NamedTuple):
    """Three joints: hip, knee and ankle, or shoulder, elbow and hand."""

    root: Point
    middle: Point
    end: Point


def legs(pose: str, seat: str) -> list[Limb]:
    """Return right and left leg. ``seat`` is ``chair``, ``saddle`` or ``floor``, and matters if the pose is sitting."""
    sides = (-1.0, 1.0)
    if pose == "sitting" and seat == "saddle":
        return [Limb((0, 0.1 * s, 0.1), (0.3, 0.3 * s, -0.02), (0.12, 0.34 * s, -0.44)) for s in sides]
    if pose == "sitting" and seat == "chair":
        return [Limb((0, 0.1 * s, 0.1), (0.44, 0.13 * s, 0.1), (0.48, 0.12 * s, -0.36)) for s in sides]
    if pose == "sitting":
        return [Limb((0, 0.1 * s, 0.1), (0.36, 0.17 * s, 0.42), (0.66, 0.14 * s, 0.06)) for s in sides]
    if pose == "walking":
        return [Limb((0, 0.1 * s, 0.9), (0.17 + 0.12 * s, 0.11 * s, 0.52), (0.38 * s, 0.11 * s, 0.1)) for s in sides]
    return [Limb((0, 0.1 * s, 0.9), (0.02, 0.12 * s, 0.5), (0, 0.12 * s, 0.08)) for s in sides]


def arms(pose: str, hold: str, lift: float) -> list[Limb]:
    """Return right and left arm of a body whose hips are raised by ``lift`` metres."""
    swing = 0.24 if pose == "walking" else 0.0
    limbs = []
    for s in (-1.0, 1.0):
        elbow, hand = (-0.02 - swing * s, 0.3 * s, 1.12), (0.06 - 1.6 * swing * s, 0.3 * s, 0.86)
        if pose == "sitting":
            elbow, hand = (0.04, 0.3 * s, 1.1), (0.3, 0.2 * s, 0.98)
        if pose == "waving" and s < 0:
            elbow, hand = (0.02, -0.42, 1.5), (0.04, -0.44, 1.84)
        if hold and s < 0:
            hand = HANDS[hold]
            elbow = {"front": (0.06, -0.3, 1.1), "low": (-0.02, -0.32, 1.08), "up": (0.02, -0.32, 1.08)}[hold]
        shoulder = (0.0, 0.2 * s, 1.38)
        limbs.append(Limb(*((x, y, z + lift) for x, y, z in (shoulder, elbow, hand))))
    return limbs


def person(variant: str, pose: str, parts: Sequence[str], seat: str = "", hold: str = "") -> list[Solid]:
    """Return the solids of a person.

    Args:
        variant: ``man``, ``woman``, ``boy`` or ``girl``.
        pose: ``standing``, ``walking``, ``sitting``, ``lying`` or ``waving``.
        parts: clothes and hair.
        seat: what a sitting person sits on: ``chair``, ``saddle`` or ``floor``.
        hold: how a thing is held, a key of :data:`HANDS`, or ``""``.
    """
    lift = -0.8 if pose == "sitting" else 0.0
    solids = _torso(parts, lift, pose) + _head(variant, parts, 1.44 + lift)
    for limb in legs(pose, seat):
        solids += _leg(limb, parts, pose)
    for limb in arms(pose, hold, lift):
        solids += _arm(limb, parts)
    if pose == "lying":
        flat = turned(pitch=-np.pi / 2)
        return moved(solids, flat, (ADULT_M / 2, 0, LYING_HEIGHT_M))
    return solids


def _torso(parts: Sequence[str], lift: float, pose: str) -> list[Solid]:
    top = parts[0]
    lower = next((part for part in parts if part in ("trousers", "shorts", "skirt")), top)
    wide = 1.12 if top == "jacket" else 1.0
    solids = [
        block(top, (0, 0, 1.17 + lift), (0.11 * wide, 0.165 * wide, 0.24), (1.05, 1.22)),
        rod(top, (0, -0.15, 1.38 + lift), (0, 0.15, 1.38 + lift), 0.085 * wide),
        ellipsoid(lower, (0, 0, 0.9 + lift), (0.125, 0.185, 0.12)),
        rod("skin", (0, 0, 1.42 + lift), (0.01, 0, 1.54 + lift), 0.05),
    ]
    if top == "jacket":
        solids.append(block("shirt", (0.1, 0, 1.22 + lift), (0.035, 0.05, 0.2), (1, 1.6)))
    if {"dress", "skirt"} & set(parts):
        part = "dress" if top == "dress" else "skirt"
        if pose == "sitting":
            solids.append(block(part, (0.22, 0, 0.1), (0.26, 0.2, 0.1), (1, 0.95)))
        else:
            solids.append(cylinder(part, (0, 0, 0.5 + lift), (0, 0, 0.98 + lift), 0.29, 0.5))
    return solids


def _head(variant: str, parts: Sequence[str], z: float) -> list[Solid]:
    s = HEAD_SCALE[variant]
    z += 0.14 * s
    solids = [
        ellipsoid("skin", (0.01, 0, z), (0.108 * s, 0.095 * s, 0.13 * s)),
        ball("skin", (0.118 * s, 0, z - 0.015 * s), 0.02 * s),
        ellipsoid("mouth", (0.1 * s, 0, z - 0.062 * s), (0.014 * s, 0.034 * s, 0.009 * s)),
    ]
    for side in (-1, 1):
        solids.append(ellipsoid("eye", (0.1 * s, 0.04 * s * side, z + 0.025 * s), (0.018 * s, 0.016 * s, 0.02 * s)))
    if "hair" in parts:
        solids.append(ellipsoid("hair", (-0.022 * s, 0, z + 0.035 * s), (0.112 * s, 0.108 * s, 0.125 * s)))
    if variant in ("woman", "girl") and "hair" in parts:
        solids.append(barrel("hair", (-0.06 * s, 0, z + 0.1 * s), (-0.085 * s, 0, z - 0.25 * s), 0.075 * s, 1.5))
    if "hat" in parts:
        solids.append(dome("hat", (-0.01, 0, z + 0.045 * s), (0.125 * s, 0.12 * s, 0.125 * s)))
        solids.append(cylinder("hat", (0.04 * s, 0, z + 0.045 * s), (0.04 * s, 0, z + 0.065 * s), 0.165 * s))
    return solids


def _leg(limb: Limb, parts: Sequence[str], pose: str) -> list[Solid]:
    thigh, calf = "skin", "skin"
    if "trousers" in parts:
        thigh = calf = "trousers"
    elif "shorts" in parts:
        thigh = "shorts"
    x, y, z = limb.end
    toe = (x + 0.12, y, z - 0.03)
    if pose == "sitting" and z > 0:
        toe = (x + 0.06, y, z + 0.06)
    return [
        rod(thigh, limb.root, limb.middle, 0.092),
        rod(calf, limb.middle, limb.end, 0.074 if calf == "trousers" else 0.055),
        rod("shoes", (x - 0.02, y, z - 0.025), toe, 0.056),
    ]


def _arm(limb: Limb, parts: Sequence[str]) -> list[Solid]:
    sleeve = parts[0]
    long = sleeve == "jacket" or "trousers" in parts
    return [
        rod(sleeve, limb.root, limb.middle, 0.066),
        rod(sleeve if long else "skin", limb.middle, limb.end, 0.054 if long else 0.045),
        ball("skin", limb.end, 0.058),
    ]


def snowman(parts: Sequence[str]) -> list[Solid]:
    """Return the solids of a snowman."""
    solids = [
        ball("snow", (0, 0, 0.38), 0.42),
        ball("snow", (0, 0, 0.92), 0.29),
        ball("snow", (0, 0, 1.28), 0.2),
        cylinder("carrot", (0.16, 0, 1.28), (0.42, 0, 1.26), 0.045, 0.1),
        rod("wood", (0, -0.22, 1.0), (0.06, -0.62, 1.2), 0.02),
        rod("wood", (0, 0.22, 1.0), (0.06, 0.62, 1.16), 0.02),
    ]
    solids += [ball("eye", (0.175, 0.07 * side, 1.35), 0.03) for side in (-1, 1)]
    solids += [ball("eye", (0.28, 0, 0.82 + 0.12 * i), 0.03) for i in range(2)]
    if "hat" in parts:
        solids += [cylinder("hat", (0, 0, 1.43), (0, 0, 1.46), 0.26), cylinder("hat", (0, 0, 1.44), (0, 0, 1.72), 0.16)]
    if "scarf" in parts:
        solids += [ring("scarf", (0, 0, 1.12), 0.17, 0.06), rod("scarf", (0.2, 0.08, 1.08), (0.26, 0.1, 0.78), 0.05)]
    return solids


def teddy_bear(parts: Sequence[str]) -> list[Solid]:
    """Return the solids of a sitting teddy bear."""
    top = "shirt" if "shirt" in parts else "body"
    solids = [
        ellipsoid(top, (0, 0, 0.15), (0.105, 0.115, 0.14)),
        ellipsoid("body", (0.01, 0, 0.345), (0.1, 0.11, 0.098)),
        ellipsoid("muzzle", (0.1, 0, 0.32), (0.045, 0.05, 0.04)),
        ball("eye", (0.145, 0, 0.335), 0.016),
    ]
    for side in (-1, 1):
        solids += [
            ball("eye", (0.098, 0.045 * side, 0.375), 0.015),
            ball("body", (0, 0.085 * side, 0.425), 0.042),
            rod("body", (0.04, 0.07 * side, 0.05), (0.2, 0.11 * side, 0.052), 0.05),
            ellipsoid("muzzle", (0.25, 0.115 * side, 0.06), (0.012, 0.036, 0.036)),
            rod(top, (0.02, 0.1 * side, 0.23), (0.12, 0.16 * side, 0.15), 0.04),
        ]
    if "bow" in parts:
        solids += [ball("bow", (0.1, 0, 0.255), 0.02)]
        solids += [ellipsoid("bow", (0.1, 0.045 * s, 0.255), (0.015, 0.035, 0.025), roll=0.3 * s) for s in (-1, 1)]
    return solids
