"""Drawing of scenes: light of every pixel, with smooth edges, and the truth."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from vg_gym.data.worlds.refscenes.catalogue import GLOSS, detail_rgb, model_of, rgb
from vg_gym.data.worlds.refscenes.kinds import COLORS, KINDS, PATTERNS
from vg_gym.data.worlds.refscenes.lighting import edge_rays, shade
from vg_gym.data.worlds.refscenes.raster import (
    Solids,
    View,
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
    Paint,
    Spheres,
    Stage,
)  # fmt: skip
from vg_gym.data.worlds.refscenes.solids import unit_halves

SUBSAMPLES = np.array([(-0.33, -0.12), (0.12, -0.33), (0.3, 0.3)])
"""Offsets in pixels of the extra rays of a pixel where two surfaces meet, float64 (3, 2)."""
COLOR_JITTER = 0.06
"""Standard deviation of the brightness of a thing's colours, as a fraction."""


def render(scene: Scene) -> tuple[np.ndarray, Truth]:
    """Draw a scene.

    Returns:
        The light of each pixel before the camera's photometry, float64 (H, W, 3), 1 for white, and the truth.
    """
    solids, view, rects, depth, ids = traced(scene)
    truth = truth_of(scene, solids, view, rects, ids)
    light = light_of(scene, solids, view, depth, ids)
    return (light[:, ::-1] if scene.photometry.mirrored else light), truth


def light_of(scene: Scene, solids: Solids, view: View, depth: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Return the light of each pixel, float64 (H, W, 3).

    Args:
        scene: the scene.
        solids: its solids.
        view: its camera.
        depth: distance of the solid that each pixel shows, float64 (H, W).
        ids: number of that solid, int64 (H, W).
    """
    scenery = solids, view, paint_of(scene, solids), stage_of(scene), spheres_of(scene, solids), NOISE
    light, marks = np.empty((ids.size, 3)), np.empty(ids.size, np.int64)
    shade(*scenery, *_middles(view.width, view.height), ids.ravel(), depth.ravel(), light, marks)
    light = light.reshape(*ids.shape, 3)
    pixels, x, y, owners, distances = edge_rays(solids, view, ids, marks.reshape(ids.shape), SUBSAMPLES)
    extra, marks = np.empty((len(x), 3)), np.empty(len(x), np.int64)
    shade(*scenery, x, y, owners, distances, extra, marks)
    light.reshape(-1, 3)[pixels] += extra.reshape(len(pixels), -1, 3).sum(1)
    light.reshape(-1, 3)[pixels] /= len(SUBSAMPLES) + 1
    return light


@lru_cache(8)
def _middles(width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """Return columns and rows of the middles of all pixels, float64 (P,)."""
    rows, columns = np.indices((height, width))
    return columns.ravel() + 0.5, rows.ravel() + 0.5


def truth_alone(scene: Scene) -> Truth:
    """Return the truth of a scene without its colours."""
    solids, view, rects, _, ids = traced(scene)
    return truth_of(scene, solids, view, rects, ids)


def traced(scene: Scene) -> tuple[Solids, View, np.ndarray, np.ndarray, np.ndarray]:
    """Return solids, view, rectangles, and distance and number (H, W) of the solid that each pixel shows."""
    solids, view = solids_of(scene), view_of(scene.camera, scene.width, scene.height)
    rects = rectangles(solids, view)
    depth, ids = np.empty((scene.height, scene.width)), np.empty((scene.height, scene.width), np.int64)
    rasterise(solids, view, rects, depth, ids)
    return solids, view, rects, depth, ids


def paint_of(scene: Scene, solids: Solids) -> Paint:
    """Return the colours of the solids."""
    base, second, patterns, periods, gloss = [], [], [], [], []
    rng = np.random.default_rng(scene.texture_seed)
    for index, thing in enumerate(scene.things):
        model, part_by_name = model_of(scene, index), {part.name: part for part in thing.parts}
        jitter = 1.0 + COLOR_JITTER * rng.standard_normal()
        shine = GLOSS.get(KINDS[thing.kind].supercategory, 0.0)
        for name in model.parts:
            part = part_by_name.get(name)
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
