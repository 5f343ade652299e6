"""Colours of what the rays of a scene hit: patterns, textures, light and shadow."""

from __future__ import annotations

import math
from typing import NamedTuple

import numba
import numpy as np

from vg_gym.data.worlds.refscenes.primitives import (
    CYLINDER,
    DOME,
    ELLIPSOID,
    FAR,
    FRUSTUM,
    TORUS,
    TUBE,
    hit,
    normal,
)  # fmt: skip

GROUNDS = ("grass", "sand", "tiles", "wood", "asphalt", "snow", "water", "carpet")
"""Kinds of ground."""
NOISE_SIZE = 256
"""Side of the table of noise."""
SHADOW_BIAS = 2e-3
"""Offset of shadow rays from their surface, as a fraction of the distance to the camera."""
NOISE = np.random.default_rng(33).random((NOISE_SIZE, NOISE_SIZE))
"""Table of uniform noise in [0, 1)."""


class Paint(NamedTuple):
    """Colours of the solids."""

    base: np.ndarray
    """First colour, float64 (S, 3)."""
    second: np.ndarray
    """Second colour of the pattern, float64 (S, 3)."""
    patterns: np.ndarray
    """Number of the pattern, int64 (S,)."""
    periods: np.ndarray
    """Period of the pattern in metres, float64 (S,)."""
    scales: np.ndarray
    """Lengths in metres of the axes of each solid, float64 (S, 3)."""
    gloss: np.ndarray
    """Strength of the highlight, float64 (S,)."""


class Stage(NamedTuple):
    """Light and backdrop."""

    light: np.ndarray
    """Unit vector towards the light, float64 (3,)."""
    strength: float
    ambient: float
    softness: float
    ground: int
    """Index in :data:`GROUNDS`."""
    colors: np.ndarray
    """Two colours of the ground, float64 (2, 3)."""
    texture: float
    grain_m: float
    wall_y: float
    """Distance of the wall; infinite outdoors."""
    sky: np.ndarray
    """Colours of the horizon and the zenith, float64 (2, 3)."""
    fog_m: float
    shift: float
    """Offset of the textures."""


class Spheres(NamedTuple):
    """Spheres around things and solids, which most shadow rays miss."""

    things: np.ndarray
    """Middle and radius of each thing, float64 (T, 4)."""
    solids: np.ndarray
    """Middle and radius of each solid, float64 (S, 4)."""
    first: np.ndarray
    """First solid of each thing, int64 (T + 1,)."""
    feet: np.ndarray
    """Middle of the base and radius of the contact shadow of each thing, float64 (T, 4)."""


@numba.njit(cache=True)
def noise(table, u, v):
    """Return smooth noise in [0, 1] at a point of the plane."""
    column, row = math.floor(u), math.floor(v)
    fu, fv = u - column, v - row
    fu, fv = fu * fu * (3.0 - 2.0 * fu), fv * fv * (3.0 - 2.0 * fv)
    j, i = int(column) & (NOISE_SIZE - 1), int(row) & (NOISE_SIZE - 1)
    k, m = (j + 1) & (NOISE_SIZE - 1), (i + 1) & (NOISE_SIZE - 1)
    top = table[i, j] * (1.0 - fu) + table[i, k] * fu
    bottom = table[m, j] * (1.0 - fu) + table[m, k] * fu
    return top * (1.0 - fv) + bottom * fv


@numba.njit(cache=True)
def surface(shape, p, q, x, y, z, sx, sy, sz):
    """Return coordinates (u, v) in metres on the surface of a solid, for its pattern.

    Args:
        shape: shape of the solid.
        p: its first parameter.
        q: its second parameter.
        x: point in the frame of the solid, x.
        y: point in the frame of the solid, y.
        z: point in the frame of the solid, z.
        sx: length in metres of the x axis.
        sy: length in metres of the y axis.
        sz: length in metres of the z axis.
    """
    if shape == FRUSTUM:
        nx, ny, nz = normal(shape, p, q, x, y, z)
        if abs(nz) >= abs(nx) and abs(nz) >= abs(ny):
            return y * sy, x * sx
        if abs(nx) >= abs(ny):
            return y * sy, z * sz
        return x * sx, z * sz
    around = math.atan2(y, x)
    if shape == TORUS:
        return math.atan2(z, math.sqrt(x * x + y * y) - 1.0) * p * sx, around * sx
    flat = (shape == CYLINDER or shape == TUBE) and abs(z) > 0.999
    if flat:
        return x * sx, y * sy
    if shape == DOME or shape == ELLIPSOID:
        return around * sx, math.asin(min(max(z, -1.0), 1.0)) * sz
    return around * sx, z * sz


@numba.njit(cache=True)
def in_pattern(pattern, u, v, period):
    """Return whether a point of a surface has the second colour of its pattern.

    Args:
        pattern: number of the pattern, not 0.
        u: first coordinate on the surface in metres.
        v: second coordinate in metres.
        period: period of the pattern in metres.
    """
    u, v = u / period, v / period
    if pattern == 1:
        return v - math.floor(v) < 0.5
    if pattern == 2:
        row = math.floor(v * 1.2)
        du, dv = u * 1.2 + 0.5 * row, v * 1.2 - row - 0.5
        du = du - math.floor(du) - 0.5
        return du * du + dv * dv < 0.1
    return (math.floor(u * 1.7) + math.floor(v * 1.7)) % 2 == 0


@numba.njit(cache=True, inline="always")
def in_shadow(solids, spheres, light, px, py, pz, itself):
    """Return whether a point lies in the shadow of a solid other than ``itself``.

    Args:
        solids: solids of the scene.
        spheres: spheres around its things and solids.
        light: unit vector towards the light.
        px: point in the world, x.
        py: point in the world, y.
        pz: point in the world, z.
        itself: number of the solid that the point is on, or -1.
    """
    for thing in range(len(spheres.things)):
        if _misses(spheres.things, thing, light, px, py, pz):
            continue
        for n in range(spheres.first[thing], spheres.first[thing + 1]):
            if n == itself or _misses(spheres.solids, n, light, px, py, pz):
                continue
            m = solids.inverses
            ox = m[n, 0, 0] * px + m[n, 0, 1] * py + m[n, 0, 2] * pz + m[n, 0, 3]
            oy = m[n, 1, 0] * px + m[n, 1, 1] * py + m[n, 1, 2] * pz + m[n, 1, 3]
            oz = m[n, 2, 0] * px + m[n, 2, 1] * py + m[n, 2, 2] * pz + m[n, 2, 3]
            dx = m[n, 0, 0] * light[0] + m[n, 0, 1] * light[1] + m[n, 0, 2] * light[2]
            dy = m[n, 1, 0] * light[0] + m[n, 1, 1] * light[1] + m[n, 1, 2] * light[2]
            dz = m[n, 2, 0] * light[0] + m[n, 2, 1] * light[1] + m[n, 2, 2] * light[2]
            if hit(solids.shapes[n], solids.params[n, 0], solids.params[n, 1], ox, oy, oz, dx, dy, dz) < FAR:
                return True
    return False


@numba.njit(cache=True, inline="always")
def _misses(balls, n, light, px, py, pz):
    ex, ey, ez = balls[n, 0] - px, balls[n, 1] - py, balls[n, 2] - pz
    along = ex * light[0] + ey * light[1] + ez * light[2]
    away = ex * ex + ey * ey + ez * ez - balls[n, 3] * balls[n, 3]
    return away > 0.0 and (along < 0.0 or along * along < away)


@numba.njit(cache=True, inline="always")
def contact(spheres, px, py, pz, owner):
    """Return the share of the light from all sides that other things near a point leave, in (0, 1].

    Args:
        spheres: spheres around the things.
        px: point in the world, x.
        py: point in the world, y.
        pz: point in the world, z.
        owner: thing that the point is on, or -1.
    """
    light, feet = 1.0, spheres.feet
    for thing in range(len(spheres.feet)):
        ex, ey, ez = px - feet[thing, 0], py - feet[thing, 1], pz - feet[thing, 2]
        far = ex * ex + ey * ey + 4.0 * ez * ez
        reach = 2.0 * feet[thing, 3] * feet[thing, 3]
        if far < reach and thing != owner:
            near = 1.0 - far / reach
            light *= 1.0 - 0.6 * near * near
    return light


@numba.njit(cache=True)
def ground_mix(stage, table, x, y, footprint):
    """Return the share of the ground's second colour at a point, and the number of its tile.

    Args:
        stage: backdrop.
        table: noise.
        x: point in the world, x.
        y: point in the world, y.
        footprint: metres of the ground that a pixel shows.
    """
    u, v = x / stage.grain_m + stage.shift, y / stage.grain_m + stage.shift
    fine = max(0.0, 1.0 - footprint * 9.0 / stage.grain_m)
    kind = stage.ground
    broad = noise(table, u * 1.3, v * 1.3)
    if kind == 2:
        column, row = math.floor(u * 1.6), math.floor(v * 1.6)
        fu, fv = u * 1.6 - column, v * 1.6 - row
        if fine > 0.0 and (fu < 0.03 or fv < 0.03):
            return 0.75, 1
        return (0.25 * table[int(row) & 63, int(column) & 63] + 0.1 * broad), 2 + int(column + row) % 2
    if kind == 3:
        plank = math.floor(v * 3.0)
        tone = table[int(plank) & 255, 17]
        grain = noise(table, u * 1.5 + 37.0 * tone, v * 42.0)
        edge = v * 3.0 - plank < 0.06 and fine > 0.0
        return (1.0 if edge else 0.55 * tone + 0.45 * grain * (0.4 + 0.6 * fine)), 2 + int(plank) % 2
    if kind == 6:
        wave = noise(table, u * 0.9 + 3.0 * broad, v * 4.0)
        return 0.7 * wave + 0.3 * fine * noise(table, u * 5.0, v * 16.0), 0
    if kind == 5:
        return 0.8 * broad + 0.2 * fine * noise(table, u * 19.0, v * 19.0), 0
    middle = noise(table, u * 6.1, v * 6.1)
    small = noise(table, u * 27.0, v * 27.0) if fine > 0.0 else 0.5
    if kind == 0:
        tiny = noise(table, u * 61.0, v * 37.0) if fine > 0.0 else 0.5
        return 0.35 * broad + 0.25 * middle + 0.4 * (0.5 + fine * (0.5 * small + 0.5 * tiny - 0.5)), 0
    if kind == 7:
        weave = 0.5 + 0.5 * math.sin(u * 90.0) * math.sin(v * 90.0) if fine > 0.0 else 0.5
        return 0.3 * broad + 0.2 * middle + 0.5 * (0.5 + fine * (0.5 * weave + 0.5 * small - 0.5)), 0
    return 0.4 * broad + 0.15 * middle + 0.45 * (0.5 + fine * (small - 0.5)), 0
