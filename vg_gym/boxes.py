"""Box arithmetic: batched, pure functions of numpy arrays or torch tensors.

Boxes are ``xyxy``, continuous (no +1), in any one unit unless a docstring says pixels or normalised. Leading
dimensions broadcast, so ``iou(boxes, target)`` works for (N, 4) against (4,) or (N, 4).
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    import torch

Array = TypeVar("Array", np.ndarray, "torch.Tensor")
"""Array or tensor; a function returns the type of its argument."""

_NUMPY = (np.ndarray, np.generic)
PIXEL_PARTS = 8.0
"""Fractions of a pixel that :func:`pixels` recovers; three decimals of a file hold them."""
ROUNDING = 2.0**-23
"""Largest error of a normalised float32 coordinate, with a margin of two, as a fraction of the image's side."""
EDGES = ("left", "top", "right", "bottom")
"""Names of the edges in the order of the coordinates."""
FULL = np.array([0.0, 0.0, 1.0, 1.0], dtype=np.float32)
"""The whole image as a normalised box."""


def namespace(array: Any) -> Any:
    """Return ``numpy`` for an array and ``torch`` for a tensor; functions with the same name exist in both."""
    return np if isinstance(array, _NUMPY) else sys.modules["torch"]


def clamp(array: Any, low: Any, high: Any) -> Any:
    """Limit values to [low, high]; numpy's own ``clip`` takes three times as long for a few values."""
    return np.minimum(np.maximum(array, low), high) if isinstance(array, _NUMPY) else array.clip(low, high)


def to_numpy(array: Any) -> np.ndarray:
    """Convert a tensor on any device to an array; return an array unchanged."""
    return array if isinstance(array, np.ndarray) else array.cpu().numpy()


def area(boxes: Array) -> Array:
    """Return the areas (...,) of boxes (..., 4); a box with ``x2 < x1`` or ``y2 < y1`` has area 0."""
    sides = _positive(boxes[..., 2:] - boxes[..., :2])
    return sides[..., 0] * sides[..., 1]


def _positive(array: Any) -> Any:
    return np.maximum(array, _ZERO) if isinstance(array, _NUMPY) else array.clip(0)


_ZERO = np.zeros((), dtype=np.float32)


def intersection(a: Array, b: Array) -> Array:
    """Return the areas (...,) of the overlaps of boxes (..., 4), broadcast against each other."""
    xp = namespace(a)
    sides = _positive(xp.minimum(a[..., 2:], b[..., 2:]) - xp.maximum(a[..., :2], b[..., :2]))
    return sides[..., 0] * sides[..., 1]


def iou(a: Array, b: Array) -> Array:
    """Return the intersection over union (...,) of boxes (..., 4), broadcast; 0 if both boxes are empty.

    >>> float(iou(np.array([0., 0., 2., 2.]), np.array([1., 0., 3., 2.])))
    0.3333333333333333
    """
    overlap = intersection(a, b)
    union = area(a) + area(b) - overlap
    return overlap / namespace(union).where(union > 0, union, 1)


def pixel_iou(a: Array, b: Array) -> Array:
    """Return the IoU (...,) of pixel boxes (..., 4), broadcast, in float64.

    Metrics, ``is_success`` and rewards use this function. It is exact for boxes of whole pixels. With float32 boxes
    divided by the size of the image, an IoU of exactly 1/2 often comes out below 0.5.

    >>> float(pixel_iou(np.array([0, 0, 3, 7], np.float32), np.array([0, 0, 6, 7], np.float32)))
    0.5
    """
    return iou(_double(a), _double(b))


def _double(boxes: Any) -> Any:
    return boxes.astype(np.float64) if isinstance(boxes, _NUMPY) else boxes.double()


def pixels(boxes: Array, scales: Array) -> Array:
    """Return normalised boxes (..., 4) as pixel boxes in float64.

    A coordinate that is a whole number of 1/:data:`PIXEL_PARTS` pixels, up to the rounding of a normalised float32, is
    exactly that number.

    Args:
        boxes: normalised boxes.
        scales: (W, H, W, H) of the images, see :func:`image_scale`; broadcast.

    >>> pixels(normalize(np.array([1, 2, 31, 48]), (49, 49)), image_scale((49, 49))).tolist()
    [1.0, 2.0, 31.0, 48.0]
    """
    xp, scales = namespace(boxes), _double(scales)
    values = _double(boxes) * scales
    near = xp.round(values * PIXEL_PARTS) / PIXEL_PARTS
    return xp.where(abs(values - near) <= scales * ROUNDING, near, values)


def iou_matrix(a: Array, b: Array) -> Array:
    """Return the IoU (N, M) of all pairs of boxes (N, 4) and (M, 4)."""
    return iou(a[:, None, :], b[None, :, :])


def giou(a: Array, b: Array) -> Array:
    """Return the generalised IoU (...,) in [-1, 1] (Rezatofighi et al., CVPR 2019) of boxes (..., 4), broadcast.

    >>> float(giou(np.array([0., 0., 1., 1.]), np.array([1., 0., 2., 1.])))
    0.0
    """
    xp = namespace(a)
    overlap = intersection(a, b)
    union = area(a) + area(b) - overlap
    hull = area(xp.concatenate([xp.minimum(a, b)[..., :2], xp.maximum(a, b)[..., 2:]], axis=-1))
    ratio = overlap / xp.where(union > 0, union, 1)
    return ratio - (hull - union) / xp.where(hull > 0, hull, 1)


def to_cxcywh(boxes: Array) -> Array:
    """Convert ``xyxy`` (..., 4) to centre x, centre y, width, height (..., 4)."""
    low, high = boxes[..., :2], boxes[..., 2:]
    return namespace(boxes).concatenate([(low + high) / 2, high - low], axis=-1)


def from_cxcywh(boxes: Array) -> Array:
    """Convert centre x, centre y, width, height (..., 4) to ``xyxy`` (..., 4)."""
    half = boxes[..., 2:] / 2
    return namespace(boxes).concatenate([boxes[..., :2] - half, boxes[..., :2] + half], axis=-1)


def from_xywh(boxes: np.ndarray) -> np.ndarray:
    """Convert COCO's left, top, width, height (..., 4) to ``xyxy`` (..., 4)."""
    return np.concatenate([boxes[..., :2], boxes[..., :2] + boxes[..., 2:]], axis=-1)


def image_scale(size: tuple[int, int]) -> np.ndarray:
    """Return the float32 vector (W, H, W, H) that scales normalised boxes to pixel boxes, for ``size`` (W, H)."""
    return np.array([size[0], size[1], size[0], size[1]], dtype=np.float32)


def normalize(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Convert pixel boxes (..., 4) to normalised float32 boxes, for an image of ``size`` (W, H)."""
    return (np.asarray(boxes, dtype=np.float32) / image_scale(size)).astype(np.float32)


def denormalize(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Convert normalised boxes (..., 4) to float32 pixel boxes, for an image of ``size`` (W, H)."""
    return pixels(np.asarray(boxes, dtype=np.float32), image_scale(size)).astype(np.float32)


def mirror(boxes: np.ndarray, width: float = 1.0) -> np.ndarray:
    """Return the boxes (..., 4) in the image mirrored left to right, which is ``width`` wide in their unit.

    >>> mirror(np.array([1, 2, 4, 6]), 10).tolist()
    [6, 2, 9, 6]
    """
    x1, y1, x2, y2 = (boxes[..., i] for i in range(4))
    return np.stack([width - x2, y1, width - x1, y2], axis=-1)


def scale(boxes: Array, factor: float | Array) -> Array:
    """Scale boxes (..., 4) by ``factor`` about their centres; they may leave the image."""
    low, high = boxes[..., :2], boxes[..., 2:]
    center, half = (low + high) / 2, (high - low) * (factor / 2)
    return namespace(boxes).concatenate([center - half, center + half], axis=-1)


def fit_inside(boxes: Array, size: tuple[float, float] = (1.0, 1.0), min_side: float = 0.0) -> Array:
    """Clamp boxes (..., 4) to [0, W] x [0, H] and widen sides shorter than ``min_side`` about their centres.

    The result always lies inside the image and, when ``min_side`` > 0, has ``x2 > x1`` and ``y2 > y1``.
    """
    width, height = size
    limit: Any = width if width == height else np.asarray(size, dtype=boxes.dtype)  # type: ignore[call-overload]  # for tensors a square, such as [0, 1]
    return fit_edges(boxes[..., :2], boxes[..., 2:], limit, min_side)


def fit_edges(low: Any, high: Any, limit: Any = 1.0, min_side: float = 0.0) -> Any:
    """Apply :func:`fit_inside` to boxes with two corners in any order.

    Args:
        low: left and top (..., 2).
        high: right and bottom (..., 2).
        limit: right and bottom of the image, one number or (2,).
        min_side: minimum side.

    Returns:
        ``xyxy`` boxes (..., 4).
    """
    xp = namespace(low)
    ends = np.concatenate([limit, limit]) if isinstance(limit, np.ndarray) else limit
    edges = clamp(xp.concatenate([low, high], axis=-1), 0, ends)
    low, high = edges[..., :2], edges[..., 2:]
    if xp is np and not np.count_nonzero(high - low < min_side):  # the usual case: no side is short or reversed
        return edges
    low, high = xp.minimum(low, high), xp.maximum(low, high)
    if min_side > 0:
        short = high - low < min_side
        low = xp.where(short, clamp((low + high - min_side) / 2, 0, limit - min_side), low)
        high = xp.where(short, low + min_side, high)
    return xp.concatenate([low, high], axis=-1)


def is_valid(boxes: np.ndarray, size: tuple[float, float], tolerance: float = 1e-3) -> np.ndarray:
    """Return True (...,) for finite boxes with ``x2 > x1``, ``y2 > y1`` inside a (W, H) image up to ``tolerance``."""
    limit = np.asarray(size, dtype=np.float32)
    low, high = boxes[..., :2], boxes[..., 2:]
    inside = (low >= -tolerance).all(-1) & (high <= limit + tolerance).all(-1)
    return np.isfinite(boxes).all(-1) & (high > low).all(-1) & inside


def lattice_boxes(cells: int, step: float = 1.0, smallest: float = 1.0, largest: float | None = None) -> np.ndarray:
    """Return all boxes (N, 4), normalised float32, whose edges lie on the lines of a lattice.

    Args:
        cells: number of cells per side.
        step: distance between lines, in cells.
        smallest: minimum side of a box, in cells.
        largest: maximum side of a box, in cells; default: the whole image.

    >>> len(lattice_boxes(8)), lattice_boxes(2)[:2].tolist()
    (1296, [[0.0, 0.0, 0.5, 0.5], [0.0, 0.0, 0.5, 1.0]])
    """
    lines = np.arange(0, cells + 1e-6, step)
    low, high = np.meshgrid(lines, lines, indexing="ij")
    side = high - low
    spans = np.stack([low, high], -1)[(side >= smallest - 1e-6) & (side <= (largest or cells) + 1e-6)]
    x, y = np.repeat(spans, len(spans), axis=0), np.tile(spans, (len(spans), 1))
    return (np.stack([x[:, 0], y[:, 0], x[:, 1], y[:, 1]], -1) / cells).astype(np.float32)


def cell_overlaps(boxes: Array, cells: int) -> Array:
    """Return the lengths of the overlaps of boxes with each column and each row of a square grid.

    Args:
        boxes: normalised ``xyxy`` (..., 4).
        cells: number g of cells per side.

    Returns:
        Lengths (..., 2, g), each at most 1 / g: first of the columns (along x), then of the rows (along y).

    >>> cell_overlaps(np.array([0.0, 0.25, 0.75, 0.5]), 2).tolist()
    [[0.5, 0.25], [0.25, 0.0]]
    """
    xp = namespace(boxes)
    low = xp.arange(cells, dtype=boxes.dtype, device=boxes.device) / cells
    inside = xp.minimum(boxes[..., 2:, None], low + 1 / cells) - xp.maximum(boxes[..., :2, None], low)
    return _positive(inside)
