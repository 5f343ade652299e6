"""Boxes in values of JSON, lists and brackets, by their names: corners, sizes, polygons, points.

A box is read only if its names and its shape have one meaning. ``box_2d`` has y first, ``x, y, width, height`` may
start at a corner or at a centre, and two ``points`` are not corners.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

MAX_DEPTH = 8
"""Largest number of nested levels of brackets that is read."""
NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
"""Pattern of a number."""
CORNERS = (
    ("x1", "y1", "x2", "y2"), ("xmin", "ymin", "xmax", "ymax"), ("minx", "miny", "maxx", "maxy"),
    ("left", "top", "right", "bottom"), ("xtl", "ytl", "xbr", "ybr"), ("x0", "y0", "x1", "y1"),
)  # fmt: skip
"""Names of x1, y1, x2 and y2, without underscores."""
_CORNER_AND_SIZE = (("left", "top", "width", "height"), ("xmin", "ymin", "width", "height"))
_CENTER_AND_SIZE = tuple(
    (x, y, w, h)
    for x, y in (("cx", "cy"), ("xcenter", "ycenter"), ("centerx", "centery"), ("xc", "yc"))
    for w, h in (("w", "h"), ("width", "height"))
)
_NAMED = {"corners": CORNERS, "corner and size": _CORNER_AND_SIZE, "center and size": _CENTER_AND_SIZE}
_PAIRS = (("topleft", "bottomright"), ("upperleft", "lowerright"), ("lefttop", "rightbottom"), ("tl", "br"))
_OUTLINES = re.compile("polygon|segmentation|quad|vertices|corners|contour|outline")
_NO_BOX = re.compile(
    "point|click|colou?r|^rgb|^hsl|cmyk|size|shape|resolution|score|confidence|^rect|3d|tlbr|xxyy|^image|time|mask|rle"
)
_BOX = re.compile("box|^rect|coord|xyxy|xywh|ltrb|location|position|region|" + _OUTLINES.pattern)

_OF_COCO = {"categoryid", "iscrowd"}
"""Keys of COCO annotations, whose ``bbox`` is a corner and a size, unlike in other formats."""

Box = list[float]


def plain(name: str) -> str:
    """Return the letters and digits of a name in lower case.

    >>> plain("Box_2D")
    'box2d'
    """
    return re.sub(r"[^a-z0-9]", "", name.lower())


def layout_of(name: str, vertical_first: bool) -> str:
    """Return the layout of four numbers under a name: ``corners``, ``corner and size`` or ``center and size``.

    The layout is empty if it is unknown.

    Args:
        name: output of :func:`plain`; empty: no name.
        vertical_first: True if the frame has y before x.
    """
    if "cxcywh" in name or "xywh" in name or "ltwh" in name:
        return "" if vertical_first else "center and size" if "cxcywh" in name else "corner and size"
    if _NO_BOX.search(name):
        return ""
    says_vertical = "yxyx" in name or bool(re.match("box(es)?2d", name))
    says_horizontal = "xyxy" in name or "ltrb" in name or "bbox2d" in name
    return "" if (says_horizontal if vertical_first else says_vertical) else "corners"


def boxes_in(value: Any, name: str, vertical_first: bool, depth: int = 0) -> list[Box]:
    """Return the boxes in a value of JSON or of nested brackets, four numbers each in the order of the frame.

    Args:
        value: mapping or list; other values do not contain boxes.
        name: key of the value; empty: no name.
        vertical_first: True if the frame has y before x.
        depth: level of the value in the brackets.

    >>> boxes_in({"bbox_2d": [10, 20, 30, 40], "label": "cat"}, "", False)
    [[10.0, 20.0, 30.0, 40.0]]
    >>> boxes_in([[10, 20], [30, 15], [25, 40]], "polygon", False)
    [[10.0, 15.0, 30.0, 40.0]]
    """
    if depth > MAX_DEPTH:
        return []
    if isinstance(value, Mapping):
        return _of_mapping({plain(str(key)): part for key, part in value.items()}, name, vertical_first, depth)
    if not isinstance(value, (list, tuple)):
        return []
    parts = [part for part in value if not isinstance(part, str) or number(part) is not None]  # without labels
    numbers = [number(part) for part in parts]
    if parts and None not in numbers:
        return _of_numbers(numbers, layout_of(name, vertical_first))
    if points := _points(value, name):
        return [_around(points)] if layout_of(name, vertical_first) == "corners" else []
    return [box for part in value for box in boxes_in(part, name, vertical_first, depth + 1)]


def named_box(values: Mapping[str, Any], vertical_first: bool) -> Box | None:
    """Return the box of corners or sizes under known names (see :func:`plain`), or None.

    >>> named_box({"left": 10, "top": 20, "width": 5, "height": 6}, False)
    [10.0, 20.0, 15.0, 26.0]
    """
    if "x3" in values or values.keys() >= {"x0", "x2"}:  # more than two points
        return None
    for layout, key_sets in _NAMED.items():
        for names in key_sets:
            if values.keys() >= set(names):
                boxes = _of_numbers([number(values[name]) for name in names], layout)
                return [boxes[0][i] for i in (1, 0, 3, 2)] if boxes and vertical_first else next(iter(boxes), None)
    return None


def number(value: Any) -> float | None:
    """Return a finite number or the number in a text; None for other values.

    >>> number("1e2"), number("10 %"), number(True), number(float("nan"))
    (100.0, None, None, None)
    """
    if isinstance(value, str):
        value = float(value) if re.fullmatch(rf"\s*{NUMBER}\s*", value) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def _of_mapping(values: dict[str, Any], name: str, vertical_first: bool, depth: int) -> list[Box]:
    if (box := named_box(values, vertical_first)) is not None:
        return [box]
    if box := _of_corner_pair(values, vertical_first):
        return [box]
    if values.keys() & _OF_COCO:
        return []
    form = plain(str(next((values[key] for key in ("format", "bboxformat", "boxformat") if key in values), "")))
    form = {"coco": "xywh", "yolo": "cxcywh"}.get(form, form)
    box_keys = [key for key in values if _BOX.search(key) and isinstance(values[key], (list, tuple, dict, str))]
    box_keys = [key for key in box_keys if "box" in key] or box_keys
    boxes: list[Box] = []
    for key in box_keys or values:
        part = values[key]
        if isinstance(part, str):
            part = [piece for piece in re.split(r"[\s,;()\[\]]+", part) if piece] if key in box_keys else None
        boxes += boxes_in(part, plain(key + form), vertical_first, depth + 1)
    return boxes


def _of_corner_pair(values: dict[str, Any], vertical_first: bool) -> Box | None:
    """Return the box of two named corners that are lists or ``{"x": .., "y": ..}``."""
    for names in _PAIRS:
        corners = [values.get(key) for key in names]
        if all(isinstance(corner, Mapping) and {"x", "y"} <= corner.keys() for corner in corners):
            order = "yx" if vertical_first else "xy"
            corners = [[corner[axis] for axis in order] for corner in corners]  # type: ignore[index]
        if points := _points(corners, ""):
            return _around(points)
    return None


def _of_numbers(numbers: Sequence[float | None], layout: str) -> list[Box]:
    """Return the box of four numbers, or of four numbers and a score, as a list; it is empty if a number is missing."""
    present = [value for value in numbers if value is not None]
    if len(present) != len(numbers) or not layout:
        return []
    if len(present) == 5 and 0 <= present[4] <= 1 < max(present[:4]):
        present = present[:4]
    if len(present) != 4:
        return []
    a, b, c, d = present
    if layout == "corner and size":
        a, b, c, d = a, b, a + c, b + d
    elif layout == "center and size":
        a, b, c, d = a - c / 2, b - d / 2, a + c / 2, b + d / 2
    return [[a, b, c, d]] if all(map(math.isfinite, (a, b, c, d))) else []


def _points(value: Sequence[Any], name: str) -> list[list[float]]:
    """Return the points of a list of at least two pairs of numbers, or of ``x`` and ``y`` under an outline's name."""
    points = []
    for part in value:
        if isinstance(part, Mapping) and _OUTLINES.search(name) and {"x", "y"} <= part.keys():
            part = [part["x"], part["y"]]
        if not isinstance(part, (list, tuple)) or len(part) != 2:
            return []
        pair = [number(x) for x in part]
        if None in pair:
            return []
        points.append(pair)
    return points if len(points) >= 2 else []  # type: ignore[return-value]


def _around(points: Sequence[Sequence[float]]) -> Box:
    """Return the box around points, in their order of axes; two points are returned unchanged as corners."""
    if len(points) == 2:
        return [*points[0], *points[1]]
    first, second = zip(*points, strict=True)
    return [min(first), min(second), max(first), max(second)]
