"""Choice of the camera: it comes so close that one thing has the size that the targets of photographs have."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vg_gym.data.worlds.refscenes.layout import bounds_of
from vg_gym.data.worlds.refscenes.raster import view_of
from vg_gym.data.worlds.refscenes.scene import Camera, Thing

AREA_QUANTILES = ((0.0, 0.05), (0.05, 0.08), (0.25, 0.16), (0.5, 0.4), (0.75, 0.95), (0.95, 2.0), (1.0, 2.8))
"""(quantile, area of the focused thing's box as a fraction of the picture)."""
FOCALS = (0.8, 1.5)
"""Range of the focal length as a multiple of the long side."""
HEIGHTS_RAD = (0.05, 0.6)
"""Range of the angle at which the camera looks down."""
SIDEWAYS_RAD = 0.5
"""Largest angle between the camera's direction and the y axis."""
BISECTIONS = 14
"""Number of halvings of the range of the camera's distance."""


def sample_area(rng: np.random.Generator) -> float:
    """Sample the area of the focused thing's box, as a fraction of the picture."""
    quantiles, areas = np.array(AREA_QUANTILES).T
    return float(np.exp(np.interp(rng.random(), quantiles, np.log(areas))))


def sample_camera(
    rng: np.random.Generator, things: Sequence[Thing], focus: int, area: float, width: int, height: int
) -> Camera:
    """Return a camera that shows a thing with a given area.

    Args:
        rng: random generator.
        things: things of the scene.
        focus: index of the thing.
        area: area of its box as a fraction of the picture.
        width: width of the picture in pixels.
        height: height of the picture in pixels.
    """
    corners = corners_of(things, focus)
    middle = corners.mean(0)
    focal, rise = rng.uniform(*FOCALS), rng.uniform(*HEIGHTS_RAD)
    turn = rng.uniform(-SIDEWAYS_RAD, SIDEWAYS_RAD)
    away = np.array((np.sin(turn) * np.cos(rise), -np.cos(turn) * np.cos(rise), np.sin(rise)))
    extent = float(np.sqrt(((corners - middle) ** 2).sum(1)).max())
    near, far = 1.02 * extent, 60.0 * extent
    for _ in range(BISECTIONS):
        distance = float(np.sqrt(near * far))
        camera = Camera(tuple(middle + away * distance), tuple(middle), focal)
        box = projected(camera, corners, width, height)
        if (box[2] - box[0]) * (box[3] - box[1]) > area * width * height:
            near = distance
        else:
            far = distance
    return _aimed(rng, camera, box, width, height, distance)


def _aimed(
    rng: np.random.Generator, camera: Camera, box: np.ndarray, width: int, height: int, distance: float
) -> Camera:  # fmt: skip
    """Turn a camera so that the box, which is in the middle of the picture, lies elsewhere in it."""
    view = view_of(camera, width, height)
    shift = []
    for size, extent in ((width, box[2] - box[0]), (height, box[3] - box[1])):
        room = max(0.3 * size, (size - extent) / 2 + 0.2 * extent)
        shift.append(rng.uniform(-room, room) * (1.0 if size == width else 0.65))
    target = np.array(camera.target) - (view.axes[0] * shift[0] + view.axes[1] * shift[1]) * distance / view.focal
    target[2] = min(target[2], camera.position[2] + 0.1 * distance)
    return Camera(_floats(camera.position), _floats(target), float(camera.focal))


def _floats(values: Sequence[float]) -> tuple[float, float, float]:
    x, y, z = (float(value) for value in values)
    return x, y, z


def corners_of(things: Sequence[Thing], index: int) -> np.ndarray:
    """Return the corners of a thing's box in the world, float64 (8, 3)."""
    low, high = bounds_of(things, index)
    thing = things[index]
    grid = np.array([(x, y, z) for x in (low[0], high[0]) for y in (low[1], high[1]) for z in (low[2], high[2])])
    cos, sin = np.cos(thing.yaw), np.sin(thing.yaw)
    turned = np.stack([grid[:, 0] * cos - grid[:, 1] * sin, grid[:, 0] * sin + grid[:, 1] * cos, grid[:, 2]], 1)
    return turned + np.array(thing.position)


def projected(camera: Camera, corners: np.ndarray, width: int, height: int) -> np.ndarray:
    """Return the box (x1, y1, x2, y2) in pixels of points (N, 3), which must lie in front of the camera.

    Args:
        camera: camera.
        corners: points in the world.
        width: width of the picture in pixels.
        height: height of the picture in pixels.
    """
    view = view_of(camera, width, height)
    seen = ((corners - view.origin)[:, None] * view.axes).sum(-1)
    depth = np.maximum(seen[:, 2], 1e-3)
    x, y = view.width / 2 + view.focal * seen[:, 0] / depth, view.height / 2 - view.focal * seen[:, 1] / depth
    return np.array((x.min(), y.min(), x.max(), y.max()))
