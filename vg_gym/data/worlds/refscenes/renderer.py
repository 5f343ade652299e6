"""Drawing of scenes: light of every pixel, with smooth edges, and the truth."""

from __future__ import annotations

import math

import numba
import numpy as np

from vg_gym.data.worlds.refscenes.catalogue import GLOSS, detail_rgb, model_of, rgb
from vg_gym.data.worlds.refscenes.kinds import COLORS, KINDS, PATTERNS
from vg_gym.data.worlds.refscenes.primitives import FAR, hit, normal
from vg_gym.data.worlds.refscenes.raster import (
    Solids,
    local_ray,
    rasterise,
    rectangles,
    solids_of,
    truth_of,
    view_of,
)  # fmt: skip
from vg_gym.data.worlds.refscenes.scene import Scene, Truth
from vg_gym.data.worlds.refscenes.shading import (
    GROUNDS,
    NOISE,
    SHADOW_BIAS,
    Paint,
    Spheres,
    Stage,
    contact,
    ground_mix,
    in_pattern,
    in_shadow,
    noise,
    surface,
)  # fmt: skip
from vg_gym.data.worlds.refscenes.solids import unit_halves

SUBSAMPLES = np.array([(-0.33, -0.12), (0.12, -0.33), (0.3, 0.3)])
"""Offsets in pixels of the extra rays of a pixel where two surfaces meet, float64 (3, 2)."""
COLOR_JITTER = 0.06
"""Standard deviation of the brightness of a thing's colours, as a fraction."""
SHININESS = 36.0
"""Exponent of the highlight."""


def render(scene: Scene) -> tuple[np.ndarray, Truth]:
    """Draw a scene.

    Returns:
        The light of each pixel before the camera's photometry, float64 (H, W, 3), 1 for white, and the truth.
    """
    solids, view = solids_of(scene), view_of(scene.camera, scene.width, scene.height)
    rects = rectangles(solids, view)
    depth, ids = np.empty((scene.height, scene.width)), np.empty((scene.height, scene.width), np.int64)
    rasterise(solids, view, rects, depth, ids)
    truth = truth_of(scene, solids, view, rects, ids)
    light = np.empty((scene.height, scene.width, 3))
    paint, stage, spheres = paint_of(scene, solids), stage_of(scene), spheres_of(scene, solids)
    marks = np.empty((scene.height, scene.width), np.int64)
    shade_all(solids, view, paint, stage, spheres, NOISE, depth, ids, marks, light)
    smooth_edges(solids, view, paint, stage, spheres, NOISE, ids, marks, SUBSAMPLES, light)
    return (light[:, ::-1] if scene.photometry.mirrored else light), truth


def truth_alone(scene: Scene) -> Truth:
    """Return the truth of a scene without its colours."""
    solids, view = solids_of(scene), view_of(scene.camera, scene.width, scene.height)
    rects = rectangles(solids, view)
    depth, ids = np.empty((scene.height, scene.width)), np.empty((scene.height, scene.width), np.int64)
    rasterise(solids, view, rects, depth, ids)
    return truth_of(scene, solids, view, rects, ids)


def paint_of(scene: Scene, solids: Solids) -> Paint:
    """Return the colours of the solids."""
    base, second, patterns, periods, gloss = [], [], [], [], []
    rng = np.random.default_rng(scene.texture_seed)
    for index, thing in enumerate(scene.things):
        model, own = model_of(scene, index), {part.name: part for part in thing.parts}
        jitter = 1.0 + COLOR_JITTER * rng.standard_normal()
        shine = GLOSS.get(KINDS[thing.kind].supercategory, 0.0)
        for name in model.parts:
            part = own.get(name)
            color = rgb(part) * jitter if part else detail_rgb(name)
            base.append(color)
            second.append(np.array(COLORS[part.second]) / 255 * jitter if part else color)
            patterns.append(PATTERNS.index(part.pattern) if part else 0)
            periods.append(model.period_m * thing.size)
            gloss.append(0.8 if name in ("glass", "metal", "screen") else shine)
    scales = np.sqrt((solids.frames[..., :3] ** 2).sum(1))
    return Paint(
        np.array(base), np.array(second), np.array(patterns, np.int64), np.array(periods), scales, np.array(gloss)
    )  # fmt: skip


def stage_of(scene: Scene) -> Stage:
    """Return light and backdrop as the kernels see them."""
    backdrop, light = scene.backdrop, scene.light
    return Stage(
        np.array(light.direction), light.strength, light.ambient, light.softness, GROUNDS.index(backdrop.ground),
        np.array(backdrop.colors), backdrop.texture, backdrop.grain_m,
        np.inf if backdrop.wall_y is None else backdrop.wall_y, np.array(backdrop.sky), backdrop.fog_m,
        float(scene.texture_seed % 251),
    )  # fmt: skip


def spheres_of(scene: Scene, solids: Solids) -> Spheres:
    """Return spheres around all solids and things."""
    halves = unit_halves(solids.shapes, solids.params)
    radii = np.sqrt((((solids.frames[..., :3] * halves[:, None]) ** 2).sum(1)).sum(1))
    round_ = solids.shapes == 0
    radii[round_] = np.sqrt((solids.frames[round_, :, :3] ** 2).sum(1)).max(1)
    centers = solids.frames[..., 3]
    first = np.searchsorted(solids.owners, np.arange(len(scene.things) + 1))
    things, feet = [], []
    for index, (start, end) in enumerate(zip(first[:-1], first[1:], strict=True)):
        low, high = (centers - radii[:, None])[start:end].min(0), (centers + radii[:, None])[start:end].max(0)
        middle = (low + high) / 2
        radius = (np.sqrt(((centers[start:end] - middle) ** 2).sum(1)) + radii[start:end]).max()
        things.append((*middle, radius))
        width = model_of(scene, index).bounds[:, :2]
        size = scene.things[index].size
        feet.append((*scene.things[index].position, 0.42 * size * float(np.sqrt(((width[1] - width[0]) ** 2).mean()))))
    return Spheres(np.array(things), np.column_stack([centers, radii]), first, np.array(feet))


@numba.njit(cache=True)
def shade_all(solids, view, paint, stage, spheres, table, depth, ids, marks, light):
    """Fill the light, float64 (H, W, 3), of each pixel's middle, and the mark of its surface, int64 (H, W)."""
    for i in range(view.height):
        for j in range(view.width):
            r, g, b, mark = shade(
                solids, view, paint, stage, spheres, table, j + 0.5, i + 0.5, ids[i, j], depth[i, j]
            )  # fmt: skip
            light[i, j, 0], light[i, j, 1], light[i, j, 2] = r, g, b
            marks[i, j] = mark


@numba.njit(cache=True)
def smooth_edges(solids, view, paint, stage, spheres, table, ids, marks, offsets, light):
    """Average several rays in the pixels whose surface differs from a neighbour's."""
    near = np.empty(9, np.int64)
    for i in range(view.height):
        for j in range(view.width):
            count = _neighbours(ids, marks, i, j, near)
            if count < 0:
                continue
            for k in range(len(offsets)):
                x, y = j + 0.5 + offsets[k, 0], i + 0.5 + offsets[k, 1]
                n, t = _nearest(solids, view, near, count, x, y)
                r, g, b, _ = shade(solids, view, paint, stage, spheres, table, x, y, n, t)
                light[i, j, 0] += r
                light[i, j, 1] += g
                light[i, j, 2] += b
            for c in range(3):
                light[i, j, c] /= len(offsets) + 1


@numba.njit(cache=True)
def _neighbours(ids, marks, i, j, near):
    """Write the different solids of a pixel and its eight neighbours, and return their count; -1 where all is one."""
    height, width = ids.shape
    count, differs = 0, False
    for di in range(-1, 2):
        for dj in range(-1, 2):
            row, column = min(max(i + di, 0), height - 1), min(max(j + dj, 0), width - 1)
            if (di == 0 or dj == 0) and marks[row, column] != marks[i, j]:
                differs = True
            n = ids[row, column]
            known = n < 0
            for k in range(count):
                known = known or near[k] == n
            if not known:
                near[count] = n
                count += 1
    return count if differs else -1


@numba.njit(cache=True)
def _nearest(solids, view, near, count, x, y):
    best, owner = FAR, -1
    for k in range(count):
        n = near[k]
        ox, oy, oz, dx, dy, dz = local_ray(solids.inverses[n], view, x, y)
        t = hit(solids.shapes[n], solids.params[n, 0], solids.params[n, 1], ox, oy, oz, dx, dy, dz)
        if t < best:
            best, owner = t, n
    return owner, best


@numba.njit(cache=True)
def shade(solids, view, paint, stage, spheres, table, x, y, n, t):
    """Return the light (red, green, blue) of a ray through a point of the picture, and the mark of its surface.

    Args:
        solids: solids of the scene.
        view: its camera.
        paint: its colours.
        stage: its light and backdrop.
        spheres: spheres around its things and solids.
        table: noise.
        x: column of the point in pixels.
        y: row of the point in pixels.
        n: solid that the ray hits first, or -1.
        t: distance of the hit.
    """
    u, v = (x - view.width / 2) / view.focal, -(y - view.height / 2) / view.focal
    dx = view.axes[0, 0] * u + view.axes[1, 0] * v + view.axes[2, 0]
    dy = view.axes[0, 1] * u + view.axes[1, 1] * v + view.axes[2, 1]
    dz = view.axes[0, 2] * u + view.axes[1, 2] * v + view.axes[2, 2]
    if n < 0:
        return _shade_backdrop(solids, view, stage, spheres, table, dx, dy, dz)
    px, py, pz = view.origin[0] + t * dx, view.origin[1] + t * dy, view.origin[2] + t * dz
    m = solids.inverses[n]
    lx = m[0, 0] * px + m[0, 1] * py + m[0, 2] * pz + m[0, 3]
    ly = m[1, 0] * px + m[1, 1] * py + m[1, 2] * pz + m[1, 3]
    lz = m[2, 0] * px + m[2, 1] * py + m[2, 2] * pz + m[2, 3]
    shape, p, q = solids.shapes[n], solids.params[n, 0], solids.params[n, 1]
    ax, ay, az = normal(shape, p, q, lx, ly, lz)
    nx = m[0, 0] * ax + m[1, 0] * ay + m[2, 0] * az
    ny = m[0, 1] * ax + m[1, 1] * ay + m[2, 1] * az
    nz = m[0, 2] * ax + m[1, 2] * ay + m[2, 2] * az
    length = math.sqrt(nx * nx + ny * ny + nz * nz) + 1e-12
    if nx * dx + ny * dy + nz * dz > 0.0:
        length = -length
    nx, ny, nz = nx / length, ny / length, nz / length
    mark, color = 2 * n + 4, paint.base[n]
    if paint.patterns[n] > 0:
        su, sv = surface(shape, p, q, lx, ly, lz, paint.scales[n])
        if in_pattern(paint.patterns[n], su, sv, paint.periods[n]):
            color = paint.second[n]
            mark += 1
    r, g, b = _lit(
        solids, stage, spheres, px, py, pz, nx, ny, nz, t, n, solids.owners[n], color, paint.gloss[n], dx, dy, dz
    )
    r, g, b = _fogged(stage, r, g, b, t)
    return r, g, b, mark


@numba.njit(cache=True)
def _lit(solids, stage, spheres, px, py, pz, nx, ny, nz, t, n, owner, color, gloss, dx, dy, dz):
    """Return a colour under the light from the lamp and from all sides."""
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
    return color[0] * s + shine, color[1] * s + shine, color[2] * s + shine


@numba.njit(cache=True)
def _highlight(sun, nx, ny, nz, dx, dy, dz):
    length = math.sqrt(dx * dx + dy * dy + dz * dz)
    hx, hy, hz = sun[0] - dx / length, sun[1] - dy / length, sun[2] - dz / length
    size = math.sqrt(hx * hx + hy * hy + hz * hz) + 1e-9
    return max(0.0, (nx * hx + ny * hy + nz * hz) / size) ** SHININESS


@numba.njit(cache=True)
def _fogged(stage, r, g, b, t):
    clear = math.exp(-t / stage.fog_m)
    haze = stage.sky[0]
    return r * clear + haze[0] * (1 - clear), g * clear + haze[1] * (1 - clear), b * clear + haze[2] * (1 - clear)


@numba.njit(cache=True)
def _shade_backdrop(solids, view, stage, spheres, table, dx, dy, dz):
    floor = -view.origin[2] / dz if dz < -1e-9 else FAR
    wall = (stage.wall_y - view.origin[1]) / dy if dy > 1e-9 else FAR
    t = min(floor, wall)
    if t >= 0.5 * FAR:
        return _sky(stage, table, dx, dy, dz)
    px, py, pz = view.origin[0] + t * dx, view.origin[1] + t * dy, view.origin[2] + t * dz
    color = np.empty(3)
    if wall < floor:
        rise = min(max(pz / (6.0 * stage.grain_m), 0.0), 1.0)
        tone = 0.94 + 0.12 * noise(table, px / stage.grain_m * 2.0, pz / stage.grain_m * 2.0)
        skirting = pz < 0.22 * stage.grain_m
        for c in range(3):
            color[c] = (stage.sky[0, c] * (1.0 - rise) + stage.sky[1, c] * rise) * tone
            if skirting:
                color[c] = 0.35 + 0.55 * stage.sky[1, c]
        r, g, b = _lit(solids, stage, spheres, px, py, pz, 0.0, -1.0, 0.0, t, -1, -1, color, 0.0, dx, dy, dz)
        return r, g, b, 1 + 2 * int(skirting)
    share, tile = ground_mix(stage, table, px, py, t / view.focal / max(0.08, -dz))
    share *= stage.texture
    for c in range(3):
        color[c] = stage.colors[0, c] * (1.0 - share) + stage.colors[1, c] * share
        if tile >= 2 and stage.ground == 2 and tile % 2:
            color[c] = 0.55 * color[c] + 0.45 * stage.colors[1, c]
    gloss = 0.25 if stage.ground == 6 else 0.0
    r, g, b = _lit(solids, stage, spheres, px, py, pz, 0.0, 0.0, 1.0, t, -1, -1, color, gloss, dx, dy, dz)
    r, g, b = _fogged(stage, r, g, b, t)
    return r, g, b, -2 - tile


@numba.njit(cache=True)
def _sky(stage, table, dx, dy, dz):
    """Return the light of the sky, with clouds, or of far hills."""
    length = math.sqrt(dx * dx + dy * dy + dz * dz)
    around, rise = math.atan2(dx, dy), dz / length
    hills = 0.035 * noise(table, around * 5.0 + stage.shift, 3.5) + 0.02 * noise(table, around * 19.0, 7.5)
    if rise < hills - 0.006:
        tone = 0.72
        return stage.sky[0, 0] * tone, stage.sky[0, 1] * (tone + 0.06), stage.sky[0, 2] * tone, 0
    mix = min(1.0, max(0.0, rise * 2.2))
    depth = max(rise, 0.04)
    cloud = noise(table, dx / depth * 0.7 + stage.shift, dy / depth * 0.7) * 0.7 + 0.3 * noise(
        table, dx / depth * 2.1, dy / depth * 2.1
    )
    cloud = min(1.0, max(0.0, (cloud - 0.5) * 3.0)) * 0.6 * mix
    r = stage.sky[0, 0] * (1 - mix) + stage.sky[1, 0] * mix
    g = stage.sky[0, 1] * (1 - mix) + stage.sky[1, 1] * mix
    b = stage.sky[0, 2] * (1 - mix) + stage.sky[1, 2] * mix
    return r + (0.95 - r) * cloud, g + (0.95 - g) * cloud, b + (0.95 - b) * cloud, 0
