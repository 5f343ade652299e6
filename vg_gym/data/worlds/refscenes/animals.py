"""Models of animals: one body plan for those with four legs, and a duck."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from vg_gym.data.worlds.refscenes.solids import (
    Point,
    Solid,
    ball,
    barrel,
    block,
    cylinder,
    ellipsoid,
    moved,
    ring,
    rod,
    turned,
)  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """Proportions of an animal on four legs, in metres."""

    back: float
    """Height of the middle of the trunk."""
    trunk: tuple[float, float, float]
    """Half the length, half the width and half the depth of the trunk."""
    leg: float
    """Radius of a leg."""
    neck: tuple[float, float, float]
    """Length, angle above the horizontal in radians, and radius of the neck."""
    head: tuple[float, float, float]
    """Radii of the head: length, width, depth."""
    snout: tuple[float, float, float]
    """Length, radius, and angle below the horizontal of the snout."""
    ears: str = ""
    """``pointed``, ``hanging``, ``small``, ``large`` or ``""``."""
    tail: tuple[Point, ...] = ()
    """Points of the tail relative to the rump."""
    tail_radius: float = 0.03
    feet: str = "body"
    """Part of the lower legs: ``body``, or a detail such as ``hoof``."""
    face: str = "body"
    """Part of the head."""


PLANS = {
    "dog": Plan(0.38, (0.32, 0.12, 0.125), 0.042, (0.2, 0.9, 0.085), (0.115, 0.095, 0.095), (0.13, 0.05, 0.15),
                "hanging", ((-0.14, 0, 0.08), (-0.24, 0, 0.24)), 0.024),
    "cat": Plan(0.2, (0.2, 0.085, 0.085), 0.028, (0.07, 0.8, 0.055), (0.075, 0.08, 0.068), (0.025, 0.03, 0.2),
                "pointed", ((-0.12, 0, 0.02), (-0.22, 0.04, 0.14), (-0.2, 0.02, 0.26)), 0.018),
    "horse": Plan(1.12, (0.72, 0.25, 0.29), 0.078, (0.72, 0.85, 0.15), (0.17, 0.12, 0.14), (0.34, 0.085, 0.75),
                  "pointed", ((-0.14, 0, -0.02), (-0.26, 0, -0.55)), 0.07, "hoof"),
    "cow": Plan(0.92, (0.72, 0.32, 0.33), 0.08, (0.34, 0.3, 0.17), (0.17, 0.14, 0.15), (0.2, 0.11, 0.6),
                "hanging", ((-0.05, 0, 0.02), (-0.1, 0, -0.55)), 0.03, "hoof"),
    "sheep": Plan(0.54, (0.4, 0.25, 0.25), 0.045, (0.16, 0.5, 0.1), (0.12, 0.08, 0.09), (0.1, 0.055, 0.55),
                  "hanging", ((-0.08, 0, -0.05),), 0.06, "head", "head"),
    "pig": Plan(0.42, (0.46, 0.23, 0.23), 0.062, (0.12, 0.1, 0.15), (0.17, 0.15, 0.15), (0.13, 0.075, 0.1),
                "pointed", ((-0.05, 0, 0.06), (-0.1, 0.04, 0.12), (-0.07, 0, 0.17)), 0.016, "hoof"),
    "elephant": Plan(1.65, (1.15, 0.68, 0.72), 0.23, (0.3, 0.35, 0.42), (0.42, 0.36, 0.46), (0.2, 0.17, 1.1),
                     "large", ((-0.1, 0, -0.1), (-0.2, 0, -0.9)), 0.05, "body"),
    "giraffe": Plan(2.05, (0.72, 0.33, 0.38), 0.1, (1.75, 1.15, 0.15), (0.2, 0.14, 0.15), (0.26, 0.09, 0.4),
                    "pointed", ((-0.08, 0, -0.1), (-0.14, 0, -0.8)), 0.03, "hoof"),
}  # fmt: skip


def quadruped(kind: str, pose: str, parts: Sequence[str]) -> list[Solid]:
    """Return the solids of an animal on four legs.

    Args:
        kind: a key of :data:`PLANS`.
        pose: ``standing``, ``walking``, ``sitting``, ``lying`` or ``eating``.
        parts: parts that can be absent: collar, saddle, blanket.
    """
    plan = PLANS[kind]
    if pose == "lying":
        plan = replace(plan, back=plan.trunk[2] * 0.95)
    length, width, depth = plan.trunk
    trunk = _trunk(kind, plan, parts)
    front = _front(kind, plan, pose, parts)
    if pose == "sitting":
        pivot = np.array((-0.75 * length, 0, plan.back))
        tilt = turned(pitch=-0.75)
        drop = np.array((0, 0, depth * 1.05 - plan.back))
        shift = pivot - tilt @ pivot + drop
        trunk = moved(trunk, tilt, shift)
        neck = np.array(_neck_root(plan))
        front = moved(front, turned(pitch=-0.15), tilt @ neck + shift - turned(pitch=-0.15) @ neck)
    return trunk + front + _legs(plan, pose)


def _trunk(kind: str, plan: Plan, parts: Sequence[str]) -> list[Solid]:
    length, width, depth = plan.trunk
    z = plan.back
    solids = [barrel("body", (-length, 0, z), (length, 0, z), width, depth / width)]
    if kind == "sheep":
        solids = [
            ellipsoid("body", (0.2 * i, 0.07 * j, z + 0.03), (0.24, 0.19, 0.24)) for i in (-1, 1) for j in (-1, 1)
        ]
    else:
        solids += [
            ellipsoid("body", (0.55 * length, 0, z), (0.42 * length, 0.97 * width, 1.0 * depth)),
            ellipsoid("body", (-0.55 * length, 0, z + 0.02 * depth), (0.44 * length, 1.0 * width, 1.0 * depth)),
        ]
    if "saddle" in parts:
        solids += [
            ellipsoid("saddle", (0, 0, z + 0.55 * depth), (0.34 * length, 1.03 * width, 0.62 * depth)),
            ellipsoid("saddle", (0.3 * length, 0, z + 1.15 * depth), (0.06, 0.08, 0.09)),
        ]
    if "blanket" in parts:
        solids.append(ellipsoid("blanket", (0, 0, z + 0.2 * depth), (0.55 * length, 1.06 * width, 0.86 * depth)))
    if kind == "cow":
        solids.append(ellipsoid("muzzle", (-0.45 * length, 0, z - 0.85 * depth), (0.14, 0.12, 0.12)))
    rump = np.array((-0.92 * length, 0, z + 0.35 * depth))
    points = [tuple(rump), *(tuple(rump + np.array(point)) for point in plan.tail)]
    part = {"horse": "mane", "cow": "body"}.get(kind, "body")
    solids += [rod(part, a, b, plan.tail_radius) for a, b in zip(points, points[1:], strict=False)]
    if kind in ("cow", "giraffe", "elephant"):
        solids.append(ball("mane", points[-1], 0.07 if kind != "elephant" else 0.09))
    return solids


def _neck_root(plan: Plan) -> Point:
    return 0.75 * plan.trunk[0], 0.0, plan.back + 0.35 * plan.trunk[2]


def _front(kind: str, plan: Plan, pose: str, parts: Sequence[str]) -> list[Solid]:
    """Return neck and head, lowered if it eats."""
    length, angle, radius = plan.neck
    x, _, z = _neck_root(plan)
    if pose == "eating":
        reach = z - plan.head[2] * 1.3 - plan.snout[0] * 0.5
        angle = -np.arcsin(min(0.97, reach / max(length * 1.25, reach)))
        length = max(length, reach * 0.95)
    tip = (x + length * np.cos(angle), 0.0, z + length * np.sin(angle))
    root = (x - 0.12 * plan.trunk[0], 0.0, z - 0.1 * plan.trunk[2])
    solids = [cylinder("body", root, tip, radius * 1.3, 0.72), ball("body", tip, radius * 0.96)]
    if kind in ("horse", "giraffe"):
        back = radius * 0.75
        solids.append(
            rod("mane", (root[0] - 0.3 * back, 0, root[2] + 1.6 * back), (tip[0] - back, 0, tip[2] + back), 0.05)
        )
    if "collar" in parts:
        share = 0.62
        middle = tuple(np.array(root) * (1 - share) + np.array(tip) * share)
        solids.append(ring("collar", middle, radius * 1.05, radius * 0.28, pitch=np.pi / 2 - angle))
    bow = 0.55 if pose == "eating" else 0.0
    return solids + moved(_head(kind, plan), turned(pitch=bow), (tip[0] + 0.35 * plan.head[0], 0, tip[2]))


def _head(kind: str, plan: Plan) -> list[Solid]:
    long, wide, deep = plan.head
    reach, thick, fall = plan.snout
    nose = (0.7 * long + reach * np.cos(fall), 0.0, -0.15 * deep - reach * np.sin(fall))
    solids = [ellipsoid(plan.face, (0, 0, 0), (long, wide, deep))]
    if kind == "elephant":
        return solids + _trunk_and_tusks(plan) + _ears(plan)
    muzzle = {"pig": "pink", "cow": "muzzle"}.get(kind, plan.face)
    solids.append(cylinder(plan.face, (0.4 * long, 0, -0.1 * deep), nose, thick * 1.35, 0.8))
    solids.append(ball(muzzle, nose, thick * 1.08))
    if kind in ("dog", "cat"):
        solids.append(
            ball("eye" if kind == "dog" else "pink", (nose[0] + thick * 0.9, 0, nose[2] + thick * 0.4), thick * 0.4)
        )
    size = 0.15 * deep
    solids += [ball("eye", (0.62 * long, 0.72 * wide * s, 0.4 * deep), size) for s in (-1, 1)]
    if kind == "cow":
        solids += [cylinder("horn", (0, 0.1 * s, 0.12), (0.08, 0.25 * s, 0.28), 0.035, 0.2) for s in (-1, 1)]
    if kind == "giraffe":
        solids += [rod("mane", (-0.04, 0.06 * s, 0.1), (-0.08, 0.08 * s, 0.28), 0.025) for s in (-1, 1)]
    return solids + _ears(plan)


def _ears(plan: Plan) -> list[Solid]:
    long, wide, deep = plan.head
    solids = []
    for s in (-1, 1):
        if plan.ears == "pointed":
            end = (-0.15 * long, 0.75 * wide * s, 1.75 * deep)
            solids.append(cylinder(plan.face, (-0.2 * long, 0.55 * wide * s, 0.55 * deep), end, 0.36 * wide, 0.1))
        elif plan.ears == "hanging":
            solids.append(
                ellipsoid("ear", (-0.25 * long, 1.05 * wide * s, 0.1 * deep), (0.4 * long, 0.2 * wide, 0.65 * deep))
            )
        elif plan.ears == "large":
            solids.append(
                ellipsoid("body", (-0.45 * long, 1.35 * wide * s, 0.15 * deep), (0.14, 0.5, 0.62), yaw=0.5 * s)
            )
    return solids


def _trunk_and_tusks(plan: Plan) -> list[Solid]:
    points = ((0.3, 0, -0.1), (0.55, 0, -0.5), (0.58, 0, -0.95), (0.72, 0, -1.2))
    solids = [rod("body", a, b, r) for a, b, r in zip(points, points[1:], (0.17, 0.13, 0.1), strict=False)]
    solids += [cylinder("horn", (0.3, 0.2 * s, -0.3), (0.72, 0.24 * s, -0.5), 0.06, 0.3) for s in (-1, 1)]
    return solids + [ball("eye", (0.34, 0.27 * s, 0.12), 0.05) for s in (-1, 1)]


def _legs(plan: Plan, pose: str) -> list[Solid]:
    length, width, depth = plan.trunk
    solids = []
    for front in (True, False):
        for s in (-1, 1):
            x, y = (0.62 if front else -0.66) * length, 0.62 * width * s
            swing = (0.16 if front else -0.16) * s * length if pose == "walking" else 0.0
            foot = (x + 1.6 * swing, y, plan.leg * 0.9)
            if pose == "lying":
                reach = 0.45 * length if front else 0.35 * length
                solids.append(rod("body", (x, 1.25 * y, plan.leg), (x + reach, 1.3 * y, plan.leg), plan.leg))
                continue
            if pose == "sitting" and not front:
                solids.append(
                    ellipsoid(
                        "body", (-0.62 * length, 1.35 * y, depth * 0.8), (0.36 * length, 0.4 * width, 0.75 * depth)
                    )
                )
                solids.append(rod("body", (-0.5 * length, 1.5 * y, plan.leg), (0, 1.5 * y, plan.leg), plan.leg))
                continue
            hip = (x, y, plan.back - 0.2 * depth)
            if pose == "sitting":
                hip, foot = (0.1 * length, y, 1.5 * length), (0.28 * length, y, plan.leg)
            knee = tuple((np.array(hip) + np.array(foot)) / 2 + np.array((0.05 * length, 0, 0)) * (1 if front else -1))
            solids += [rod("body", hip, knee, plan.leg * 1.35), rod("body", knee, foot, plan.leg)]
            if plan.feet != "body":
                solids.append(cylinder(plan.feet, (foot[0], y, 0), (foot[0], y, plan.leg * 1.8), plan.leg * 1.25, 0.85))
            else:
                solids.append(
                    ellipsoid(
                        "body",
                        (foot[0] + 0.5 * plan.leg, y, plan.leg * 0.7),
                        (plan.leg * 1.6, plan.leg * 1.1, plan.leg * 0.75),
                    )
                )
    return solids


def duck(pose: str, parts: Sequence[str]) -> list[Solid]:
    """Return the solids of a duck; a sitting one swims or broods."""
    lift = 0.0 if pose == "sitting" else 0.08
    head = "head" if "head" in parts else "body"
    solids = [
        ellipsoid("body", (0, 0, 0.12 + lift), (0.2, 0.12, 0.115)),
        ellipsoid("body", (-0.17, 0, 0.17 + lift), (0.1, 0.06, 0.045), pitch=0.5),
        rod(head, (0.13, 0, 0.18 + lift), (0.17, 0, 0.3 + lift), 0.045),
        ball(head, (0.19, 0, 0.32 + lift), 0.07),
        ellipsoid("beak", (0.28, 0, 0.305 + lift), (0.06, 0.035, 0.014)),
    ]
    for s in (-1, 1):
        solids.append(ball("eye", (0.235, 0.045 * s, 0.345 + lift), 0.013))
        solids.append(ellipsoid("body", (-0.03, 0.105 * s, 0.14 + lift), (0.15, 0.03, 0.07), pitch=0.15))
        if lift:
            solids.append(rod("beak", (0, 0.05 * s, 0.09), (0, 0.05 * s, 0.015), 0.013))
            solids.append(block("beak", (0.035, 0.05 * s, 0.008), (0.05, 0.03, 0.008)))
    return solids
