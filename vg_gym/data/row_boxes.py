"""Boxes in the rows of a user's data: one in ``box``, or any number in ``boxes``; their checks and numbers."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable
from contextlib import suppress
from itertools import chain
from typing import Any

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym.data.column_arrays import first_equal
from vg_gym.frames import FRAMES

IMAGE_EDGES = {name: FRAMES[name].span or 0.0 for name in ("pixels", "normalised", "0-1000")}
"""Frame of a box -> coordinate of the right and lower edge of the image; 0 for pixels, which use the image's size."""
FORMATS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "xyxy": lambda box: box,
    "xywh": box_ops.from_xywh,
    "cxcywh": box_ops.from_cxcywh,
    "yxyx": lambda box: box[..., [1, 0, 3, 2]],
}
"""Format of a box -> function to ``xyxy``."""
SLACK = 1.0
"""Distance in pixels, or hundredths of another frame, by which a box may leave its image before it is clamped."""
_NO_BOX = array("d", [math.nan] * 4)
Row = dict[str, Any]


class WrongRow(ValueError):
    """A row is wrong; the message states the fault."""


def boxes_of_rows(rows: list[Row]) -> tuple[array, list[int]]:
    """Return the sides of all boxes of rows with the same fields, and the number of boxes of each row."""
    if "boxes" in rows[0]:
        lists = [row["boxes"] for row in rows]
        if not all(isinstance(boxes, list) for boxes in lists):
            raise WrongRow(f'"boxes": {lists[0]!r:.60} is not a list of boxes; write [] if nothing is meant')
        return _four_numbers([*chain.from_iterable(lists)], "boxes"), [*map(len, lists)]
    if "box" in rows[0]:
        return _four_numbers([row["box"] for row in rows], "box"), [1] * len(rows)
    return _NO_BOX * len(rows), [1] * len(rows)


def _four_numbers(boxes: list[Any], field: str) -> array:
    """Return the sides of boxes.

    Raises:
        WrongRow: a box is not four finite numbers; the message names the first one.
    """
    four = all(isinstance(box, list) and len(box) == 4 for box in boxes)
    if four and not {type(side) for side in chain.from_iterable(boxes)} - {int, float}:
        with suppress(OverflowError):
            sides = array("d", chain.from_iterable(boxes))
            if np.isfinite(sides).all():
                return sides
    wrong = next(box for box in boxes if len(boxes) == 1 or not _is_box(box))
    raise WrongRow(f'"{field}": {wrong!r:.60} is not four finite numbers')


def _is_box(box: Any) -> bool:
    if not isinstance(box, list) or len(box) != 4 or {*map(type, box)} - {int, float}:
        return False
    with suppress(OverflowError):
        return all(map(math.isfinite, box))
    return False


def bounds_text(edges: np.ndarray) -> str:
    """Return the text on the edges of an image (2,) for errors; empty if they are unknown."""
    return f" (right and lower edge of the image: {edges[0]:g}, {edges[1]:g})" if np.isfinite(edges).all() else ""


def object_keys(images: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Return a number for each box, int64 (B,), equal for equal boxes in the same image (or row)."""
    keys = images.astype(np.uint64)
    for column in boxes.T:
        keys = keys * np.uint64(0x9E3779B97F4A7C15) + np.ascontiguousarray(column).view(np.uint64)
        keys ^= keys >> np.uint64(29)
    missing = np.isnan(boxes[:, 0])
    keys[missing] = np.arange(len(keys), dtype=np.uint64)[missing]
    return keys.view(np.int64)


def object_numbers(ids: array, keys: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of the rows' (first) objects (N,), and of the objects of all boxes (B,), int64.

    If the file numbers only some objects, the others get negative numbers.

    Args:
        ids: numbers of the rows in the file (N,); -1 if it has none.
        keys: keys of the boxes (B,), see :func:`object_keys`.
        counts: numbers of boxes of the rows (N,).
    """
    ranks = np.unique(first_equal(keys), return_inverse=True)[1]
    starts, boxed = np.cumsum(counts) - counts, counts > 0
    if ids[0] < 0:
        objects = len(keys) + np.arange(len(counts))  # numbers that no box has
        objects[boxed] = ranks[starts[boxed]]
        return objects, ranks
    objects = np.frombuffer(ids, np.int64)
    order = starts[boxed][::-1]
    named = np.full(len(keys) + 1, -1)
    named[ranks[order]] = objects[boxed][::-1]  # of several names of one object, the first
    box_ids = np.where(named[ranks] >= 0, named[ranks], -2 - ranks)  # no id of a file is negative
    box_ids[starts[boxed]] = objects[boxed]
    return objects, box_ids
