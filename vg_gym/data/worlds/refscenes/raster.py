"""Map from the pixels of a scene to the visible solids, and the truth that follows from it."""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from vg_gym.data.worlds.refscenes.catalogue import model_of
from vg_gym.data.worlds.refscenes.primitives import FAR, hit
from vg_gym.data.worlds.refscenes.scene import Camera, Scene, Truth
from vg_gym.data.worlds.refscenes.solids import FRAME_STEPS, cross, unit_halves

NEAR_M = 0.05
"""Distance of the near plane in metres; a solid that crosses it is tried at every pixel."""
COVERAGE_STEP_PX = 2
"""Distance in pixels of the rays that measure the whole silhouette of a thing."""
COVERAGE_FRAMES = 3
"""Width and height of the area where silhouettes are measured, as a multiple of the picture's."""
_CORNERS = np.array([(x, y, z) for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (-1.0, 1.0)])


class View(NamedTuple):
    """A camera as the kernels see it."""

    origin: np.ndarray
    """Place of the camera, float64 (3,)."""
    axes: np.ndarray
    """Unit vectors to the right, up and ahead, float64 (3, 3)."""
    focal: float
    """Focal length in pixels."""
    width: int
    height: int


class Solids(NamedTuple):
    """The solids of all things of a scene, in the order of the things."""

    shapes: np.ndarray
    """Shapes, int64 (S,)."""
    frames: np.ndarray
    """Maps from each primitive's frame to the world, float64 (S, 3, 4)."""
    inverses: np.ndarray
    """Maps from the world to each primitive's frame, float64 (S, 3, 4)."""
    params: np.ndarray
    """Parameters of the primitives, float64 (S, 2)."""
    owners: np.ndarray
    """Thing of each solid, int64 (S,)."""


def view_of(camera: Camera, width: int, height: int) -> View:
    """Return the view of a camera onto a picture."""
    origin = np.array(camera.position, float)
    ahead = np.array(camera.target, float) - origin
    ahead /= np.sqrt((ahead * ahead).sum())
    right = np.array((ahead[1], -ahead[0], 0.0))
    right /= np.sqrt((right * right).sum())
    up = (right[1] * ahead[2], -right[0] * ahead[2], right[0] * ahead[1] - right[1] * ahead[0])
    axes = np.array((right, up, ahead))
    return View(origin, axes, camera.focal * max(width, height), width, height)


def solids_of(scene: Scene) -> Solids:
    """Return the solids of a scene in the world."""
    models = [model_of(scene, index) for index in range(len(scene.things))]
    frames = [
        placed(model.frames, thing.size, thing.yaw, thing.position)
        for model, thing in zip(models, scene.things, strict=True)
    ]
    world = np.concatenate(frames)
    return Solids(
        np.concatenate([model.shapes for model in models]),
        world,
        inverted(world),
        np.concatenate([model.params for model in models]),
        np.repeat(np.arange(len(models)), [len(model.shapes) for model in models]),
    )


def placed(frames: np.ndarray, size: float, yaw: float, position: tuple[float, float, float]) -> np.ndarray:
    """Return frames (S, 3, 4) of a model as they are in the world, rounded so that labels are the same everywhere.

    Args:
        frames: maps from each primitive's frame to the thing's.
        size: scale of the thing.
        yaw: direction that it faces, in radians.
        position: middle of its base in metres.
    """
    cos, sin = np.cos(yaw), np.sin(yaw)
    world = np.empty_like(frames)
    world[:, 0] = (frames[:, 0] * cos - frames[:, 1] * sin) * size
    world[:, 1] = (frames[:, 0] * sin + frames[:, 1] * cos) * size
    world[:, 2] = frames[:, 2] * size
    world[:, :, 3] += np.asarray(position)
    return np.round(world * FRAME_STEPS) / FRAME_STEPS


def inverted(frames: np.ndarray) -> np.ndarray:
    """Return the inverses of affine maps, float64 (S, 3, 4), by cofactors."""
    a, b, c = (frames[:, :, i] for i in range(3))
    rows = np.stack([cross(b, c), cross(c, a), cross(a, b)], 1)
    rows /= (a * rows[:, 0]).sum(1)[:, None, None]
    shift = -(rows * frames[:, None, :, 3]).sum(2)
    return np.concatenate([rows, shift[:, :, None]], 2)


def rectangles(solids: Solids, view: View) -> np.ndarray:
    """Return the rectangle in pixels of each solid's projection, unclipped, float64 (S, 4); an infinite one if near."""
    halves = unit_halves(solids.shapes, solids.params)
    local = _CORNERS[None] * halves[:, None]
    world = (solids.frames[:, None, :, :3] * local[:, :, None]).sum(-1) + solids.frames[:, None, :, 3]
    in_view = ((world - view.origin)[:, :, None] * view.axes).sum(-1)
    near = (in_view[..., 2] < NEAR_M).any(1)
    depth = np.maximum(in_view[..., 2], NEAR_M)
    x = view.width / 2 + view.focal * in_view[..., 0] / depth
    y = view.height / 2 - view.focal * in_view[..., 1] / depth
    rects = np.stack([x.min(1), y.min(1), x.max(1), y.max(1)], 1)
    rects[near] = (-np.inf, -np.inf, np.inf, np.inf)
    return rects


@numba.njit(cache=True)
def _clipped(rect, left, top, right, bottom):
    """Return the first and last (exclusive) column and row of a rectangle inside a frame."""
    x1 = int(np.floor(min(max(rect[0], left), right)))
    y1 = int(np.floor(min(max(rect[1], top), bottom)))
    x2 = int(np.ceil(min(max(rect[2], left), right)))
    y2 = int(np.ceil(min(max(rect[3], top), bottom)))
    return x1, y1, x2, y2


@numba.njit(cache=True)
def local_ray(m, n, view, x, y):
    """Return origin and direction, in the frame of a solid, of the ray through a point of the picture in pixels.

    Args:
        m: maps from the world to the frames of the solids, float64 (S, 3, 4).
        n: number of the solid.
        view: camera.
        x: column of the point.
        y: row of the point.
    """
    u, v = (x - view.width / 2) / view.focal, -(y - view.height / 2) / view.focal
    dx = view.axes[0, 0] * u + view.axes[1, 0] * v + view.axes[2, 0]
    dy = view.axes[0, 1] * u + view.axes[1, 1] * v + view.axes[2, 1]
    dz = view.axes[0, 2] * u + view.axes[1, 2] * v + view.axes[2, 2]
    o = view.origin
    ox = m[n, 0, 0] * o[0] + m[n, 0, 1] * o[1] + m[n, 0, 2] * o[2] + m[n, 0, 3]
    oy = m[n, 1, 0] * o[0] + m[n, 1, 1] * o[1] + m[n, 1, 2] * o[2] + m[n, 1, 3]
    oz = m[n, 2, 0] * o[0] + m[n, 2, 1] * o[1] + m[n, 2, 2] * o[2] + m[n, 2, 3]
    lx = m[n, 0, 0] * dx + m[n, 0, 1] * dy + m[n, 0, 2] * dz
    ly = m[n, 1, 0] * dx + m[n, 1, 1] * dy + m[n, 1, 2] * dz
    lz = m[n, 2, 0] * dx + m[n, 2, 1] * dy + m[n, 2, 2] * dz
    return ox, oy, oz, lx, ly, lz


@numba.njit(cache=True)
def rasterise(solids, view, rects, depth, ids):
    """Fill a depth buffer, float64 (H, W), and the number of the nearest solid, int64 (H, W), -1 for none.

    Args:
        solids: solids of the scene.
        view: its camera.
        rects: rectangles of the solids' projections.
        depth: output.
        ids: output.
    """
    depth[:] = FAR
    ids[:] = -1
    for n in range(len(solids.shapes)):
        x1, y1, x2, y2 = _clipped(rects[n], 0.0, 0.0, float(view.width), float(view.height))
        shape, p, q = solids.shapes[n], solids.params[n, 0], solids.params[n, 1]
        for i in range(y1, y2):
            for j in range(x1, x2):
                ox, oy, oz, dx, dy, dz = local_ray(solids.inverses, n, view, j + 0.5, i + 0.5)
                t = hit(shape, p, q, ox, oy, oz, dx, dy, dz)
                if t < depth[i, j]:
                    depth[i, j] = t
                    ids[i, j] = n


@numba.njit(cache=True)
def silhouettes(solids, view, rects, things):
    """Return the pixels that each thing alone would cover in an area larger than the picture, float64 (T,).

    Args:
        solids: solids of the scene.
        view: its camera.
        rects: rectangles of the solids' projections.
        things: number T of things.
    """
    step = COVERAGE_STEP_PX
    margin_x, margin_y = view.width * (COVERAGE_FRAMES - 1) / 2, view.height * (COVERAGE_FRAMES - 1) / 2
    columns, rows = int(view.width * COVERAGE_FRAMES / step), int(view.height * COVERAGE_FRAMES / step)
    owner = np.full((rows, columns), -1, np.int16)
    counts = np.zeros(things)
    scaled = np.empty(4)
    for n in range(len(solids.shapes)):
        scaled[0], scaled[2] = (rects[n, 0] + margin_x) / step, (rects[n, 2] + margin_x) / step
        scaled[1], scaled[3] = (rects[n, 1] + margin_y) / step, (rects[n, 3] + margin_y) / step
        x1, y1, x2, y2 = _clipped(scaled, 0.0, 0.0, float(columns), float(rows))
        shape, p, q = solids.shapes[n], solids.params[n, 0], solids.params[n, 1]
        thing = solids.owners[n]
        for i in range(y1, y2):
            for j in range(x1, x2):
                if owner[i, j] != thing:
                    x, y = (j + 0.5) * step - margin_x, (i + 0.5) * step - margin_y
                    ox, oy, oz, dx, dy, dz = local_ray(solids.inverses, n, view, x, y)
                    if hit(shape, p, q, ox, oy, oz, dx, dy, dz) < FAR:
                        owner[i, j] = thing
                        counts[thing] += step * step
    return counts


def truth_of(scene: Scene, solids: Solids, view: View, rects: np.ndarray, ids: np.ndarray) -> Truth:
    """Return what is true of a picture.

    Args:
        scene: the scene.
        solids: its solids.
        view: its camera.
        rects: rectangles of the solids.
        ids: solid of each pixel, int64 (H, W).
    """
    mirrored = scene.photometry.mirrored
    segments = np.concatenate([solids.owners + 1, [0]])[ids].astype(np.uint8)
    pixels = np.bincount(ids[ids >= 0], minlength=len(solids.shapes))
    things = len(scene.things)
    whole = silhouettes(solids, view, rects, things)
    visible_pixels = np.bincount(solids.owners, pixels, things)
    visible = np.minimum(visible_pixels / np.maximum(whole, np.maximum(visible_pixels, 1.0)), 1.0)
    if mirrored:
        segments = np.ascontiguousarray(segments[:, ::-1])
    depth = [_depth(view, scene, index) for index in range(things)]
    return Truth(
        boxes_of(segments, things),
        visible.astype(np.float32),
        np.array(depth, np.float32),
        _part_pixels(scene, solids, pixels),
        segments,
    )


def _depth(view: View, scene: Scene, index: int) -> float:
    thing = scene.things[index]
    middle = np.array(thing.position) + (0.0, 0.0, model_of(scene, index).bounds[:, 2].mean() * thing.size)
    return float(((middle - view.origin) * view.axes[2]).sum())


@numba.njit(cache=True)
def boxes_of(segments, things):
    """Return the box of each thing's pixels, float32 (T, 4); zeros where there are none.

    Args:
        segments: thing of each pixel, uint8 (H, W): numbers from 1, 0 for the backdrop.
        things: number T of things.
    """
    boxes = np.zeros((things, 4), np.float32)
    for i in range(segments.shape[0]):
        for j in range(segments.shape[1]):
            if segments[i, j]:
                box = boxes[segments[i, j] - 1]
                if box[3] == 0:
                    box[0], box[1] = j, i
                box[0], box[2], box[3] = min(box[0], j), max(box[2], j + 1), i + 1
    return boxes


def _part_pixels(scene: Scene, solids: Solids, pixels: np.ndarray) -> tuple[dict[str, int], ...]:
    counts: tuple[dict[str, int], ...] = tuple({} for _ in scene.things)
    names = [part for index in range(len(scene.things)) for part in model_of(scene, index).parts]
    for name, owner, count in zip(names, solids.owners.tolist(), pixels.tolist(), strict=True):
        if count:
            counts[owner][name] = counts[owner].get(name, 0) + count
    return counts
