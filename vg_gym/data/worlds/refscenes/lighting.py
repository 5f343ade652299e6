"""Light of rays: what they hit, its colour, and the light on it."""

from __future__ import annotations

import math

import numba
import numpy as np

from vg_gym.data.worlds.refscenes.primitives import FAR, hit, normal
from vg_gym.data.worlds.refscenes.raster import local_ray
from vg_gym.data.worlds.refscenes.shading import SHADOW_BIAS, contact, ground_mix, in_pattern, in_shadow, noise, surface

SHININESS = 36.0
"""Exponent of the highlight."""


@numba.njit(cache=True)
def shade(solids, view, paint, stage, spheres, table, xs, ys, owners, distances, light, marks):
    """Write the light of rays, float64 (R, 3), and the marks of their surfaces, int64 (R,).

    Args:
        solids: solids of the scene.
        view: its camera.
        paint: its colours.
        stage: its light and backdrop.
        spheres: spheres around its things and solids.
        table: noise.
        xs: columns where the rays cross the picture, in pixels, float64 (R,).
        ys: rows where they cross it, float64 (R,).
        owners: solid that each ray hits first, int64 (R,), or -1.
        distances: distance of the hit, float64 (R,).
        light: output.
        marks: output; two pixels of one mark need no smooth edge between them.
    """
    for k in range(len(xs)):
        u, v = (xs[k] - view.width / 2) / view.focal, -(ys[k] - view.height / 2) / view.focal
        dx = view.axes[0, 0] * u + view.axes[1, 0] * v + view.axes[2, 0]
        dy = view.axes[0, 1] * u + view.axes[1, 1] * v + view.axes[2, 1]
        dz = view.axes[0, 2] * u + view.axes[1, 2] * v + view.axes[2, 2]
        n, t = owners[k], distances[k]
        if n < 0:
            floor = -view.origin[2] / dz if dz < -1e-9 else FAR
            wall = (stage.wall_y - view.origin[1]) / dy if dy > 1e-9 else FAR
            t = min(floor, wall)
            if t >= 0.5 * FAR:
                light[k, 0], light[k, 1], light[k, 2] = _sky(stage, table, dx, dy, dz)
                marks[k] = 0
                continue
        px, py, pz = view.origin[0] + t * dx, view.origin[1] + t * dy, view.origin[2] + t * dz
        if n >= 0:
            nx, ny, nz, r, g, b, mark = _on_solid(solids, paint, n, px, py, pz, dx, dy, dz)
            gloss, owner = paint.gloss[n], solids.owners[n]
        elif wall < floor:
            nx, ny, nz, gloss, owner = 0.0, -1.0, 0.0, 0.0, -1
            r, g, b, mark = _on_wall(stage, table, px, pz)
        else:
            nx, ny, nz, gloss, owner = 0.0, 0.0, 1.0, 0.25 if stage.ground == 6 else 0.0, -1
            r, g, b, mark = _on_floor(stage, table, px, py, t / view.focal / max(0.08, -dz))
        s, shine = _lit(solids, stage, spheres, px, py, pz, nx, ny, nz, t, n, owner, gloss, dx, dy, dz)
        clear = math.exp(-t / stage.fog_m)
        light[k, 0] = (r * s + shine) * clear + stage.sky[0, 0] * (1.0 - clear)
        light[k, 1] = (g * s + shine) * clear + stage.sky[0, 1] * (1.0 - clear)
        light[k, 2] = (b * s + shine) * clear + stage.sky[0, 2] * (1.0 - clear)
        marks[k] = mark


@numba.njit(cache=True, inline="always")
def _on_solid(solids, paint, n, px, py, pz, dx, dy, dz):
    """Return normal (towards the camera), colour and mark of a point of a solid."""
    m = solids.inverses
    lx = m[n, 0, 0] * px + m[n, 0, 1] * py + m[n, 0, 2] * pz + m[n, 0, 3]
    ly = m[n, 1, 0] * px + m[n, 1, 1] * py + m[n, 1, 2] * pz + m[n, 1, 3]
    lz = m[n, 2, 0] * px + m[n, 2, 1] * py + m[n, 2, 2] * pz + m[n, 2, 3]
    shape, p, q = solids.shapes[n], solids.params[n, 0], solids.params[n, 1]
    ax, ay, az = normal(shape, p, q, lx, ly, lz)
    nx = m[n, 0, 0] * ax + m[n, 1, 0] * ay + m[n, 2, 0] * az
    ny = m[n, 0, 1] * ax + m[n, 1, 1] * ay + m[n, 2, 1] * az
    nz = m[n, 0, 2] * ax + m[n, 1, 2] * ay + m[n, 2, 2] * az
    length = math.sqrt(nx * nx + ny * ny + nz * nz) + 1e-12
    if nx * dx + ny * dy + nz * dz > 0.0:
        length = -length
    mark, r, g, b = 2 * n + 4, paint.base[n, 0], paint.base[n, 1], paint.base[n, 2]
    if paint.patterns[n] > 0:
        su, sv = surface(shape, p, q, lx, ly, lz, paint.scales[n, 0], paint.scales[n, 1], paint.scales[n, 2])
        if in_pattern(paint.patterns[n], su, sv, paint.periods[n]):
            mark, r, g, b = mark + 1, paint.second[n, 0], paint.second[n, 1], paint.second[n, 2]
    return nx / length, ny / length, nz / length, r, g, b, mark


@numba.njit(cache=True, inline="always")
def _on_wall(stage, table, px, pz):
    """Return colour and mark of a point of the wall."""
    rise = min(max(pz / (6.0 * stage.grain_m), 0.0), 1.0)
    tone = 0.98 + 0.04 * noise(table, px / stage.grain_m * 7.0, pz / stage.grain_m * 7.0)
    low, high, base, mark = (1.0 - rise) * tone, rise * tone, 0.0, 1
    if pz < 0.22 * stage.grain_m:
        low, high, base, mark = 0.0, 0.55, 0.35, 3
    r = stage.sky[0, 0] * low + stage.sky[1, 0] * high + base
    g = stage.sky[0, 1] * low + stage.sky[1, 1] * high + base
    b = stage.sky[0, 2] * low + stage.sky[1, 2] * high + base
    return r, g, b, mark


@numba.njit(cache=True, inline="always")
def _on_floor(stage, table, px, py, footprint):
    """Return colour and mark of a point of the floor, of which a pixel shows ``footprint`` metres."""
    share, tile = ground_mix(stage, table, px, py, footprint)
    share *= stage.texture
    if tile % 2 == 1 and stage.ground == 2:
        share = 0.45 + 0.55 * share
    r = stage.colors[0, 0] * (1.0 - share) + stage.colors[1, 0] * share
    g = stage.colors[0, 1] * (1.0 - share) + stage.colors[1, 1] * share
    b = stage.colors[0, 2] * (1.0 - share) + stage.colors[1, 2] * share
    return r, g, b, -2 - tile


@numba.njit(cache=True, inline="always")
def _lit(solids, stage, spheres, px, py, pz, nx, ny, nz, t, n, owner, gloss, dx, dy, dz):
    """Return the light on a point, from the lamp and from all sides, and its highlight."""
    sun = stage.light
    facing = nx * sun[0] + ny * sun[1] + nz * sun[2]
    shine = 0.0
    if facing > 0.0:
        bias = SHADOW_BIAS * t
        if in_shadow(solids, spheres, sun, px + bias * nx, py + bias * ny, pz + bias * nz, n):
            facing *= stage.softness
        elif gloss > 0.0:
            shine = gloss * _highlight(sun, nx, ny, nz, dx, dy, dz)
    open_ = contact(spheres, px, py, pz, owner)
    s = stage.ambient * (0.78 + 0.22 * nz) * open_ + stage.strength * max(facing, 0.0)
    return s, shine


@numba.njit(cache=True)
def _highlight(sun, nx, ny, nz, dx, dy, dz):
    length = math.sqrt(dx * dx + dy * dy + dz * dz)
    hx, hy, hz = sun[0] - dx / length, sun[1] - dy / length, sun[2] - dz / length
    size = math.sqrt(hx * hx + hy * hy + hz * hz) + 1e-9
    return max(0.0, (nx * hx + ny * hy + nz * hz) / size) ** SHININESS


@numba.njit(cache=True)
def _sky(stage, table, dx, dy, dz):
    """Return the light of the sky, with clouds, or of far hills."""
    length = math.sqrt(dx * dx + dy * dy + dz * dz)
    around, rise = math.atan2(dx, dy), dz / length
    hills = 0.035 * noise(table, around * 5.0 + stage.shift, 3.5) + 0.02 * noise(table, around * 19.0, 7.5)
    if rise < hills - 0.006:
        tone = 0.72
        return stage.sky[0, 0] * tone, stage.sky[0, 1] * (tone + 0.06), stage.sky[0, 2] * tone
    mix = min(1.0, max(0.0, rise * 2.2))
    depth = max(rise, 0.04)
    cloud = noise(table, dx / depth * 0.7 + stage.shift, dy / depth * 0.7) * 0.7 + 0.3 * noise(
        table, dx / depth * 2.1, dy / depth * 2.1
    )
    cloud = min(1.0, max(0.0, (cloud - 0.5) * 3.0)) * 0.6 * mix
    r = stage.sky[0, 0] * (1 - mix) + stage.sky[1, 0] * mix
    g = stage.sky[0, 1] * (1 - mix) + stage.sky[1, 1] * mix
    b = stage.sky[0, 2] * (1 - mix) + stage.sky[1, 2] * mix
    return r + (0.95 - r) * cloud, g + (0.95 - g) * cloud, b + (0.95 - b) * cloud


@numba.njit(cache=True)
def edge_rays(solids, view, ids, marks, offsets):
    """Return extra rays of the pixels whose surface differs from a neighbour's.

    Args:
        solids: solids of the scene.
        view: its camera.
        ids: solid of each pixel, int64 (H, W).
        marks: mark of the surface of each pixel, int64 (H, W).
        offsets: places of the extra rays relative to a pixel's middle, float64 (K, 2).

    Returns:
        The flat indices of the pixels, (P,), and of their rays (P * K,): columns, rows, solids and distances.
    """
    near, count = np.empty(9, np.int64), 0
    pixels = np.empty(ids.size, np.int64)
    for i in range(view.height):
        for j in range(view.width):
            if _is_edge(marks, i, j):
                pixels[count] = i * view.width + j
                count += 1
    pixels = pixels[:count]
    xs, ys = np.empty(count * len(offsets)), np.empty(count * len(offsets))
    owners, distances = np.empty(len(xs), np.int64), np.empty(len(xs))
    for k in range(count):
        i, j = pixels[k] // view.width, pixels[k] % view.width
        candidates = _neighbours(ids, i, j, near)
        for m in range(len(offsets)):
            ray = k * len(offsets) + m
            xs[ray], ys[ray] = j + 0.5 + offsets[m, 0], i + 0.5 + offsets[m, 1]
            owners[ray], distances[ray] = _nearest(solids, view, near, candidates, xs[ray], ys[ray])
    return pixels, xs, ys, owners, distances


@numba.njit(cache=True)
def _is_edge(marks, i, j):
    height, width = marks.shape
    mark = marks[i, j]
    return (
        (i > 0 and marks[i - 1, j] != mark)
        or (j > 0 and marks[i, j - 1] != mark)
        or (i < height - 1 and marks[i + 1, j] != mark)
        or (j < width - 1 and marks[i, j + 1] != mark)
    )


@numba.njit(cache=True)
def _neighbours(ids, i, j, near):
    """Write the different solids of a pixel and its eight neighbours, and return their count."""
    height, width = ids.shape
    count = 0
    for row in range(max(i - 1, 0), min(i + 2, height)):
        for column in range(max(j - 1, 0), min(j + 2, width)):
            n = ids[row, column]
            is_counted = n < 0
            for k in range(count):
                is_counted = is_counted or near[k] == n
            if not is_counted:
                near[count] = n
                count += 1
    return count


@numba.njit(cache=True)
def _nearest(solids, view, near, count, x, y):
    """Return the solid that a ray hits first among some, or -1, and the distance."""
    best, owner = FAR, -1
    for k in range(count):
        n = near[k]
        ox, oy, oz, dx, dy, dz = local_ray(solids.inverses, n, view, x, y)
        t = hit(solids.shapes[n], solids.params[n, 0], solids.params[n, 1], ox, oy, oz, dx, dy, dz)
        if t < best:
            best, owner = t, n
    return owner, best
