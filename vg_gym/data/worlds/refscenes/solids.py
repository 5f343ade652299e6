"""Solids of a model: unit primitives with a place, a size and the part that they belong to.

Coordinates are those of the thing: x ahead, y to its left, z up, in metres. A :class:`Model` packs the solids of a
thing into arrays; it is the same for all things that differ only in place, size and colours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from vg_gym.data.worlds.refscenes import primitives

Point = tuple[float, float, float]
_NEXT, _AFTER = [1, 2, 0], [2, 0, 1]
FRAME_STEPS = 2.0**20
"""Frames are rounded to multiples of one over this, so that the last bit of a sine decides no label."""


class Solid(NamedTuple):
    """A unit primitive under an affine map."""

    shape: int
    part: str
    frame: np.ndarray
    """Map from the primitive's frame to the thing's, float64 (3, 4)."""
    p: float = 0.0
    q: float = 0.0


@dataclass(frozen=True, eq=False)
class Model:
    """The solids of a thing of usual size at the origin with yaw 0."""

    shapes: np.ndarray
    """Shape of each solid, int64 (S,)."""
    frames: np.ndarray
    """Map from each primitive's frame to the thing's, float64 (S, 3, 4)."""
    params: np.ndarray
    """Parameters of each primitive, float64 (S, 2)."""
    parts: tuple[str, ...]
    """Part of each solid."""
    period_m: float
    """Period of patterns in metres."""
    bounds: np.ndarray
    """Lowest and highest x, y, z, float64 (2, 3)."""


def turned(yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0) -> np.ndarray:
    """Return the rotation, float64 (3, 3): roll about x, then pitch about y (nose down), then yaw about z."""
    (cy, cp, cr), (sy, sp, sr) = np.cos((yaw, pitch, roll)), np.sin((yaw, pitch, roll))
    about_z = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
    about_y = np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
    return about_z @ about_y @ np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])


def _frame(center: Sequence[float] | np.ndarray, radii: Sequence[float], rotation: np.ndarray) -> np.ndarray:
    return np.column_stack([rotation * np.asarray(radii, float), np.asarray(center, float)])


def _along(start: Point, end: Point) -> tuple[np.ndarray, np.ndarray, float]:
    """Return the middle of a line, a rotation that takes z to its direction, and half its length."""
    first, last = np.array(start, float), np.array(end, float)
    half = (last - first) / 2
    length = float(np.sqrt(half @ half))
    z = half / length
    side = np.array([1.0, 0, 0]) if abs(z[2]) > 0.9 else np.array([0.0, 0, 1.0])
    y = cross(z, side)
    y /= np.sqrt(y @ y)
    return (first + last) / 2, np.column_stack([cross(y, z), y, z]), length


def cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the cross products of vectors (..., 3), faster than ``numpy.cross`` for few."""
    return a[..., _NEXT] * b[..., _AFTER] - a[..., _AFTER] * b[..., _NEXT]


def ellipsoid(part: str, center: Point, radii: Point, yaw: float = 0, pitch: float = 0, roll: float = 0) -> Solid:
    """Return an ellipsoid with radii along x, y and z before it is turned.

    Args:
        part: part that it belongs to.
        center: its middle.
        radii: its radii.
        yaw: turn about z in radians.
        pitch: turn about y in radians.
        roll: turn about x in radians.
    """
    return Solid(primitives.ELLIPSOID, part, _frame(center, radii, turned(yaw, pitch, roll)))


def ball(part: str, center: Point, radius: float) -> Solid:
    """Return a sphere."""
    return ellipsoid(part, center, (radius, radius, radius))


def barrel(part: str, start: Point, end: Point, radius: float, flat: float = 1.0) -> Solid:
    """Return an ellipsoid from one point to another, with a radius across, times ``flat`` in the horizontal.

    Args:
        part: part that it belongs to.
        start: first end.
        end: second end.
        radius: radius across.
        flat: factor of the horizontal radius.
    """
    middle, rotation, half = _along(start, end)
    return Solid(primitives.ELLIPSOID, part, _frame(middle, (radius, radius * flat, half), rotation))


def block(
    part: str, center: Point, half: Point, top: tuple[float, float] = (1, 1),
    yaw: float = 0, pitch: float = 0, roll: float = 0,
) -> Solid:  # fmt: skip
    """Return a box with half-extents; ``top`` scales the widths of its top, (1, 0) makes a gable roof.

    Args:
        part: part that it belongs to.
        center: its middle.
        half: its half-extents.
        top: factors of its top's widths in x and y.
        yaw: turn about z in radians.
        pitch: turn about y in radians.
        roll: turn about x in radians.
    """
    return Solid(primitives.FRUSTUM, part, _frame(center, half, turned(yaw, pitch, roll)), *top)


def rod(part: str, start: Point, end: Point, radius: float) -> Solid:
    """Return a rod with round ends around the line between two points.

    Args:
        part: part that it belongs to.
        start: first end of the line.
        end: second end of the line.
        radius: radius.
    """
    middle, rotation, half = _along(start, end)
    return Solid(primitives.CAPSULE, part, _frame(middle, (radius,) * 3, rotation), half / radius)


def cylinder(part: str, start: Point, end: Point, radius: float, top: float = 1.0) -> Solid:
    """Return a cylinder from one point to another; its radius at the end is ``top`` times that at the start.

    Args:
        part: part that it belongs to.
        start: middle of its base.
        end: middle of its top.
        radius: radius of its base.
        top: radius of its top relative to that of its base.
    """
    middle, rotation, half = _along(start, end)
    return Solid(primitives.CYLINDER, part, _frame(middle, (radius, radius, half), rotation), top)


def tube(part: str, start: Point, end: Point, radius: float, top: float = 1.0) -> Solid:
    """Return a cylinder that is open at its end.

    Args:
        part: part that it belongs to.
        start: middle of its base.
        end: middle of its mouth.
        radius: radius of its base.
        top: radius of its mouth relative to that of its base.
    """
    return cylinder(part, start, end, radius, top)._replace(shape=primitives.TUBE)


def dome(part: str, center: Point, radii: Point, rim: float = 0.0, pitch: float = 0) -> Solid:
    """Return the shell of an ellipsoid above ``rim`` (-1 to 1); a pitch of pi makes a bowl.

    Args:
        part: part that it belongs to.
        center: middle of the ellipsoid.
        radii: radii of the ellipsoid.
        rim: height of the rim, from -1 to 1.
        pitch: turn about y in radians.
    """
    return Solid(primitives.DOME, part, _frame(center, radii, turned(pitch=pitch)), rim)


def ring(part: str, center: Point, radius: float, thickness: float, yaw: float = 0, pitch: float = 0) -> Solid:
    """Return a ring in the horizontal plane before it is turned.

    Args:
        part: part that it belongs to.
        center: its middle.
        radius: radius of the circle inside its tube.
        thickness: radius of its tube.
        yaw: turn about z in radians.
        pitch: turn about y in radians.
    """
    return Solid(primitives.TORUS, part, _frame(center, (radius,) * 3, turned(yaw, pitch)), thickness / radius)


def wheel(center: Point, radius: float, width: float, hub: str = "metal") -> list[Solid]:
    """Return a wheel that rolls along x.

    Args:
        center: its middle.
        radius: radius.
        width: width of the tyre.
        hub: part of the hub.
    """
    x, y, z = center
    side = 1 if y > 0 else -1
    return [
        cylinder("tyre", (x, y - width / 2, z), (x, y + width / 2, z), radius),
        cylinder(hub, (x, y, z), (x, y + side * (width / 2 + 0.01), z), radius * 0.55),
    ]


def moved(solids: Sequence[Solid], rotation: np.ndarray, offset: Sequence[float] = (0, 0, 0)) -> list[Solid]:
    """Return solids that are turned about the origin, then moved."""
    shift = np.column_stack([np.zeros((3, 3)), np.asarray(offset, float)])
    return [solid._replace(frame=rotation @ solid.frame + shift) for solid in solids]


def pack(solids: Sequence[Solid], period_m: float) -> Model:
    """Pack solids into a model."""
    frames = np.round(np.array([solid.frame for solid in solids]) * FRAME_STEPS) / FRAME_STEPS
    shapes = np.array([solid.shape for solid in solids], np.int64)
    params = np.array([(solid.p, solid.q) for solid in solids], float)
    return Model(
        shapes,
        frames,
        params,
        tuple(solid.part for solid in solids),
        period_m,
        bounds_of(frames, shapes, params),
    )


def unit_halves(shapes: np.ndarray, params: np.ndarray) -> np.ndarray:
    """Return the half-extents of each unit primitive in its own frame, float64 (S, 3)."""
    halves, p = np.ones((len(shapes), 3)), params[:, 0]
    halves[shapes == primitives.CAPSULE, 2] += p[shapes == primitives.CAPSULE]
    rings = shapes == primitives.TORUS
    halves[rings, :2] += p[rings, None]
    halves[rings, 2] = p[rings]
    flared = (shapes == primitives.CYLINDER) | (shapes == primitives.TUBE) | (shapes == primitives.FRUSTUM)
    halves[flared, :2] = np.maximum(1.0, params[flared].max(1, keepdims=True))
    return halves


def bounds_of(frames: np.ndarray, shapes: np.ndarray, params: np.ndarray) -> np.ndarray:
    """Return the lowest and highest x, y, z of solids, float64 (2, 3); exact for ellipsoids."""
    halves, middles = unit_halves(shapes, params), frames[..., 3].copy()
    domes = shapes == primitives.DOME
    middles[domes] += frames[domes, :, 2] * (1 + params[domes, :1]) / 2
    halves[domes, 2] = (1 - params[domes, 0]) / 2
    linear = frames[..., :3] * halves[:, None, :]
    round_ = (shapes == primitives.ELLIPSOID)[:, None]
    reach = np.where(round_, np.sqrt((linear**2).sum(-1)), np.abs(linear).sum(-1))
    return np.array([(middles - reach).min(0), (middles + reach).max(0)])
