"""Unit solids: rays hit their surface, first, and normals stand on it."""

import math

import numpy as np
import pytest

from vg_gym.data.worlds.refscenes import primitives as shapes

CASES = {
    "ellipsoid": (shapes.ELLIPSOID, 0.0, 0.0, lambda x, y, z: x * x + y * y + z * z - 1),
    "capsule": (shapes.CAPSULE, 1.5, 0.0, lambda x, y, z: math.hypot(x, y, z - min(max(z, -1.5), 1.5)) - 1),
    "cylinder": (shapes.CYLINDER, 0.4, 0.0, lambda x, y, z: max(math.hypot(x, y) - 0.7 + 0.3 * z, abs(z) - 1)),
    "cone": (shapes.CYLINDER, 0.0, 0.0, lambda x, y, z: max(math.hypot(x, y) - 0.5 + 0.5 * z, abs(z) - 1)),
    "box": (shapes.FRUSTUM, 1.0, 1.0, lambda x, y, z: max(abs(x), abs(y), abs(z)) - 1),
    "frustum": (
        shapes.FRUSTUM, 0.5, 0.0,
        lambda x, y, z: max(abs(x) - 0.75 + 0.25 * z, abs(y) - 0.5 + 0.5 * z, abs(z) - 1),
    ),
    "torus": (shapes.TORUS, 0.3, 0.0, lambda x, y, z: math.hypot(math.hypot(x, y) - 1, z) - 0.3),
}  # fmt: skip
"""Name -> shape, its parameters, and a function that is negative inside it."""
MARCH_STEP = 0.004


def rays(count=150):
    rng = np.random.default_rng(0)
    for _ in range(count):
        origin = rng.normal(size=3)
        origin *= 4 / np.linalg.norm(origin)
        target = rng.uniform(-1, 1, 3)
        yield origin, target - origin


def first_inside(inside, origin, direction):
    """The first ``t`` at which small steps along a ray are inside, or None."""
    for t in np.arange(0, 2.5, MARCH_STEP):
        if inside(*(origin + t * direction)) < 0:
            return t
    return None


@pytest.mark.parametrize("name", CASES)
def test_a_ray_hits_where_small_steps_enter(name):
    shape, p, q, inside = CASES[name]
    hits = 0
    for origin, direction in rays():
        t, entered = shapes.hit(shape, p, q, *origin, *direction), first_inside(inside, origin, direction)
        if entered is None:
            assert t > 2.4 or abs(inside(*(origin + t * direction))) < 1e-2  # it passes through a thin corner
            continue
        assert t == pytest.approx(entered, abs=2.5 * MARCH_STEP)
        hits += 1
    assert hits > 50


@pytest.mark.parametrize("name", CASES)
def test_a_normal_is_the_steepest_way_out(name):
    shape, p, q, inside = CASES[name]
    compared = 0
    for origin, direction in rays():
        t = shapes.hit(shape, p, q, *origin, *direction)
        if t >= shapes.FAR:
            continue
        point, step = origin + t * direction, 1e-5
        slope = np.array([inside(*(point + step * e)) - inside(*(point - step * e)) for e in np.eye(3)])
        normal = np.array(shapes.normal(shape, p, q, *point))
        cosine = abs(slope @ normal) / np.linalg.norm(slope) / np.linalg.norm(normal)
        compared += cosine > 0.999
        assert cosine > 0.999 or shape != shapes.ELLIPSOID
    assert compared > 50


def test_shells_are_open():
    down = (0.1, 0.0, 5.0, 0.0, 0.0, -1.0)
    assert shapes.hit(shapes.CYLINDER, 1.0, 0.0, *down) == pytest.approx(4)
    assert shapes.hit(shapes.TUBE, 1.0, 0.0, *down) == pytest.approx(6)  # through the mouth, to the bottom
    up = (0.1, 0.0, -5.0, 0.0, 0.0, 1.0)
    assert shapes.hit(shapes.DOME, 0.0, 0.0, *up) == pytest.approx(5 + math.sqrt(0.99))  # the inside of the roof


def test_a_ray_that_misses_is_far():
    for shape, p, q, _ in CASES.values():
        assert shapes.hit(shape, p, q, 0.0, 0.0, 9.0, 1.0, 0.0, 0.0) == shapes.FAR
        assert shapes.hit(shape, p, q, 0.0, 0.0, 9.0, 0.0, 0.0, 1.0) == shapes.FAR  # it is behind
