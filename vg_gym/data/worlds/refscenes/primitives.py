"""Unit solids under a ray: where it hits them, and their normals.

Each solid lies in its own frame, about [-1, 1] in x, y and z. A ray is ``origin + t * direction``; its direction has
any length, so that ``t`` is the same in every frame. All is float64 without fast-math, since labels depend on it.
"""

from __future__ import annotations

import math

import numba

ELLIPSOID, DOME, CAPSULE, CYLINDER, TUBE, FRUSTUM, TORUS = range(7)
"""Shapes. Their two parameters (p, q) are in :func:`hit`."""
FAR = 1e9
"""Value of ``t`` of a ray that hits nothing."""
NEAR = 1e-4
"""Smallest ``t`` of a hit."""
TORUS_STEPS = 80
"""Maximum number of steps along a ray towards a torus."""
TORUS_TOLERANCE = 2e-3
"""Distance to a torus of radius 1 that is a hit."""


@numba.njit(cache=True)
def hit(shape, p, q, ox, oy, oz, dx, dy, dz):
    """Return ``t`` of the nearest hit of a ray with a unit solid, or :data:`FAR`.

    Args:
        shape: one of the shapes of this module.
        p: dome: height of its rim; capsule: half the length of its axis; cylinder and tube (without a lid): radius at
            the top; frustum: half-width in x at the top; torus: radius of its tube.
        q: frustum: half-width in y at the top.
        ox: origin of the ray, x.
        oy: origin of the ray, y.
        oz: origin of the ray, z.
        dx: direction of the ray, x.
        dy: direction of the ray, y.
        dz: direction of the ray, z.
    """
    if shape == ELLIPSOID or shape == DOME:
        return _hit_sphere(p if shape == DOME else -2.0, ox, oy, oz, dx, dy, dz)
    if shape == CAPSULE:
        return _hit_capsule(p, ox, oy, oz, dx, dy, dz)
    if shape == CYLINDER or shape == TUBE:
        return _hit_cylinder(p, shape == CYLINDER, ox, oy, oz, dx, dy, dz)
    if shape == FRUSTUM:
        return _hit_frustum(p, q, ox, oy, oz, dx, dy, dz)
    return _hit_torus(p, ox, oy, oz, dx, dy, dz)


@numba.njit(cache=True)
def _hit_sphere(rim, ox, oy, oz, dx, dy, dz):
    """Hit the part of the unit sphere above z = ``rim``, from outside or inside."""
    a = dx * dx + dy * dy + dz * dz
    b = ox * dx + oy * dy + oz * dz
    under = b * b - a * (ox * ox + oy * oy + oz * oz - 1.0)
    if under < 0.0:
        return FAR
    root = math.sqrt(under)
    t = (-b - root) / a
    if t > NEAR and oz + t * dz >= rim:
        return t
    t = (-b + root) / a
    return t if t > NEAR and oz + t * dz >= rim else FAR


@numba.njit(cache=True)
def _hit_capsule(half, ox, oy, oz, dx, dy, dz):
    """Hit a cylinder of radius 1 around the z axis from -``half`` to ``half`` with round ends, from outside."""
    a = dx * dx + dy * dy
    b = ox * dx + oy * dy
    end = half if dz < 0.0 else -half
    if a > 1e-12:
        under = b * b - a * (ox * ox + oy * oy - 1.0)
        if under < 0.0:
            return FAR
        t = (-b - math.sqrt(under)) / a
        z = oz + t * dz
        if -half <= z <= half:
            return t if t > NEAR else FAR
        end = half if z > half else -half
    oz -= end
    a += dz * dz
    b += oz * dz
    under = b * b - a * (ox * ox + oy * oy + oz * oz - 1.0)
    if under < 0.0:
        return FAR
    t = (-b - math.sqrt(under)) / a
    return t if t > NEAR else FAR


@numba.njit(cache=True)
def _hit_cylinder(top, lid, ox, oy, oz, dx, dy, dz):
    """Hit a round frustum of radius 1 at z = -1 and ``top`` at z = 1, with a floor and maybe a lid."""
    mean, slope = (1.0 + top) / 2, (top - 1.0) / 2
    k, m = mean + slope * oz, slope * dz
    a = dx * dx + dy * dy - m * m
    b = ox * dx + oy * dy - k * m
    under = b * b - a * (ox * ox + oy * oy - k * k)
    best = FAR
    if under >= 0.0 and abs(a) > 1e-12:
        root = math.sqrt(under)
        for t in ((-b - root) / a, (-b + root) / a):
            if NEAR < t < best and -1.0 <= oz + t * dz <= 1.0:
                best = t
    if abs(dz) > 1e-12:
        for z in (-1.0, 1.0):
            t = (z - oz) / dz
            if NEAR < t < best and (lid or z < 0.0):
                x, y = ox + t * dx, oy + t * dy
                radius = 1.0 if z < 0.0 else top
                if x * x + y * y <= radius * radius:
                    best = t
    return best


@numba.njit(cache=True)
def _hit_frustum(p, q, ox, oy, oz, dx, dy, dz):
    """Hit a box whose top at z = 1 has the half-widths ``p`` and ``q`` in place of 1 and 1."""
    near, far = -FAR, FAR
    if abs(dz) < 1e-12:
        if abs(oz) > 1.0:
            return FAR
    else:
        near, far = (-1.0 - oz) / dz, (1.0 - oz) / dz
        if near > far:
            near, far = far, near
    for axis in range(2):
        o, d, top = (ox, dx, p) if axis == 0 else (oy, dy, q)
        mean, slope = (1.0 + top) / 2, (top - 1.0) / 2
        for sign in (-1.0, 1.0):
            rate = sign * d - slope * dz
            room = mean + slope * oz - sign * o
            if abs(rate) < 1e-12:
                if room < 0.0:
                    return FAR
            elif rate > 0.0:
                far = min(far, room / rate)
            else:
                near = max(near, room / rate)
    if near > far or far < NEAR:
        return FAR
    return near if near > NEAR else far


@numba.njit(cache=True)
def _hit_torus(thickness, ox, oy, oz, dx, dy, dz):
    """Hit a ring of radius 1 in the plane z = 0, by steps of the distance to it."""
    outer = 1.0 + thickness
    a = dx * dx + dy * dy + dz * dz
    b = ox * dx + oy * dy + oz * dz
    under = b * b - a * (ox * ox + oy * oy + oz * oz - outer * outer)
    if under < 0.0:
        return FAR
    root = math.sqrt(under)
    t, end, length = max((-b - root) / a, NEAR), (-b + root) / a, math.sqrt(a)
    for _ in range(TORUS_STEPS):
        if t > end:
            return FAR
        x, y, z = ox + t * dx, oy + t * dy, oz + t * dz
        around = math.sqrt(x * x + y * y) - 1.0
        distance = math.sqrt(around * around + z * z) - thickness
        if distance < TORUS_TOLERANCE:
            return t
        t += distance / length
    return FAR


@numba.njit(cache=True)
def normal(shape, p, q, x, y, z):
    """Return a normal (x, y, z), of any length and either side, of a unit solid at a point of its surface.

    Args:
        shape: one of the shapes of this module.
        p: first parameter, as in :func:`hit`.
        q: second parameter.
        x: point of the surface, x.
        y: point of the surface, y.
        z: point of the surface, z.
    """
    if shape == ELLIPSOID or shape == DOME:
        return x, y, z
    if shape == CAPSULE:
        return x, y, z - min(max(z, -p), p)
    if shape == CYLINDER or shape == TUBE:
        if z < -0.9999 or (z > 0.9999 and shape == CYLINDER):
            return 0.0, 0.0, z
        return x, y, -math.sqrt(x * x + y * y) * (p - 1.0) / 2
    if shape == FRUSTUM:
        return _normal_frustum(p, q, x, y, z)
    around = math.sqrt(x * x + y * y) + 1e-9
    share = (around - 1.0) / around
    return x * share, y * share, z


@numba.njit(cache=True)
def _normal_frustum(p, q, x, y, z):
    slope_x, slope_y = (p - 1.0) / 2, (q - 1.0) / 2
    deep_x = abs(x) - ((1.0 + p) / 2 + slope_x * z)
    deep_y = abs(y) - ((1.0 + q) / 2 + slope_y * z)
    deep_z = abs(z) - 1.0
    if deep_z >= deep_x and deep_z >= deep_y:
        return 0.0, 0.0, math.copysign(1.0, z)
    if deep_x >= deep_y:
        return math.copysign(1.0, x), 0.0, -slope_x
    return 0.0, math.copysign(1.0, y), -slope_y
