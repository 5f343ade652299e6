"""Choice of the camera: it comes so close that one thing has the size that the targets of photographs have."""

from __future__ import annotations

from collections.abc import Sequence

import numba
import numpy as np

from vg_gym.data.worlds.refscenes.layout import bounds_of
from vg_gym.data.worlds.refscenes.raster import NEAR_M, View, view_of
from vg_gym.data.worlds.refscenes.scene import Camera, Thing

AREA_QUANTILES = ((0.0, 0.05), (0.05, 0.085), (0.25, 0.18), (0.5, 0.52), (0.75, 1.4), (0.95, 2.4), (1.0, 3.2))
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
    axes = view_of(Camera(tuple(middle + away), tuple(middle), focal), width, height).axes
    distance, wide, high = _distance(
        along_axes(corners - middle, axes), focal * max(width, height), area * width * height, extent
    )
    return _aimed(rng, Camera(tuple(middle + away * distance), tuple(middle), focal), (wide, high), width, height)


@numba.njit(cache=True)
def _distance(corners, focal, area, extent):
    """Return the distance from which corners have a box of an area, and the box's width and height in pixels.

    Args:
        corners: corners (8, 3) along the camera's axes, from the point that it looks at.
        focal: focal length in pixels.
        area: area of the box in pixels.
        extent: largest distance of a corner from the point.
    """
    near, far = 1.02 * extent, 60.0 * extent
    for _ in range(BISECTIONS):
        distance = np.sqrt(near * far)
        depth = corners[:, 2] + distance
        x, y = focal * corners[:, 0] / depth, focal * corners[:, 1] / depth
        wide, high = x.max() - x.min(), y.max() - y.min()
        if wide * high > area:
            near = distance
        else:
            far = distance
    return distance, wide, high


def _aimed(
    rng: np.random.Generator, camera: Camera, box: tuple[float, float], width: int, height: int
) -> Camera:  # fmt: skip
    """Turn a camera so that a box (width, height), which is in the middle of the picture, lies elsewhere in it."""
    view = view_of(camera, width, height)
    distance = float(np.sqrt(((np.array(camera.target) - camera.position) ** 2).sum()))
    shift = []
    for size, extent in ((width, box[0]), (height, box[1])):
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


def may_show(view: View, corners: np.ndarray) -> bool:
    """Return whether a picture may show something of the box around corners (N, 3)."""
    in_view = along_axes(corners - view.origin, view.axes)
    if in_view[:, 2].min() < NEAR_M:
        return True
    x, y = view.focal * in_view[:, 0] / in_view[:, 2], view.focal * in_view[:, 1] / in_view[:, 2]
    across = x.max() > -view.width / 2 and x.min() < view.width / 2
    return bool(across and y.max() > -view.height / 2 and y.min() < view.height / 2)


def along_axes(vectors: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """Return vectors (N, 3) along three axes, summed in one order, so that labels are the same everywhere."""
    return (vectors[:, None] * axes).sum(-1)
