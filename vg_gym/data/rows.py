"""Rows of a user's own data, checked one by one and gathered into columns.

A row is a dictionary of :data:`FIELDS`; docs/data.md is the page about them. Columns, not objects: a million rows take
some 100 MB, and are mapped from an index (:mod:`vg_gym.data.index`) at the next opening.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym.data.index import Columns
from vg_gym.errors import VGGymError

FIELDS = (
    "image", "expression", "box", "frame", "box_format", "width", "height", "category", "kind", "split", "id",
    "image_id", "ann_id", "ref_id",
)  # fmt: skip
"""What a row may hold; other fields are ignored."""
DEFAULTS = ("frame", "box_format", "width", "height", "category", "kind", "split")
"""Fields that may be said once for all rows."""
TOGETHER = ("split", "id", "image_id", "ann_id", "ref_id")
"""Fields that all rows of a file have, or none."""
FRAMES = {"pixels": 0.0, "normalised": 1.0, "0-1000": 1000.0}
"""Frame of a box -> the coordinate of the image's right and lower edge; pixels have the image's own."""
FORMATS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "xyxy": lambda box: box,
    "xywh": box_ops.from_xywh,
    "cxcywh": box_ops.from_cxcywh,
}
"""Format of a box -> function to ``xyxy``."""
SLACK = 1.0
"""Pixels, or hundredths of another frame, that a box may lie outside its image; it is cut to the image."""
ALL = "all"
"""Name of the split that is every row."""

_FRAMES, _FORMATS = tuple(FRAMES), tuple(FORMATS)
_NO_BOX = [math.nan] * 4


class WrongRow(ValueError):
    """What is wrong with a row."""


class Texts:
    """A column of texts that grows; see :class:`vg_gym.data.index.Strings`."""

    def __init__(self) -> None:
        self._blob, self._offsets = bytearray(), array("q", [0])

    def append(self, text: str) -> None:
        """Add a text."""
        self._blob += text.encode()
        self._offsets.append(len(self._blob))

    def columns(self, name: str) -> Columns:
        """The two columns under a name."""
        return {
            f"{name}.utf8": np.frombuffer(self._blob, np.uint8),
            f"{name}.offsets": np.frombuffer(self._offsets, np.int64),
        }


class Codes:
    """A column of few different texts, as their numbers; -1 stands for none."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._column = array("i")

    def append(self, text: str) -> None:
        """Add a text; ``""`` is none."""
        self._column.append(self._numbers.setdefault(text, len(self._numbers)) if text else -1)

    def columns(self, name: str) -> Columns:
        """The numbers under a name, and the texts under that and ``_name``."""
        texts = Texts()
        for text in self._numbers:
            texts.append(text)
        return {name: np.frombuffer(self._column, np.int32), **texts.columns(f"{name}_name")}


class RowTable:
    """Takes rows one by one, refuses wrong ones, and makes columns of them.

    Args:
        path: the file the rows come from, for errors.
        unit: what it calls a row.
        defaults: fields of rows that do not say otherwise.
    """

    def __init__(self, path: Path, unit: str = "row", defaults: Mapping[str, Any] | None = None):
        self.path, self.unit, self.defaults = path, unit, dict(defaults or {})
        self._texts = {name: Texts() for name in ("text", "image", "id")}
        self._codes = {name: Codes() for name in ("category", "kind", "split")}
        self._whole = {name: array("q") for name in ("width", "height", "image_id", "ann_id", "ref_id")}
        self._numbers, self._boxes = array("q"), array("d")
        self._frames, self._formats = array("b"), array("b")
        self._image_hash, self._id_hash = array("q"), array("q")
        self._fields: tuple[str, ...] = ()
        self._together: dict[str, bool] | None = None

    def add(self, number: int, row: Any, expression: bool = True) -> None:
        """Add a row.

        Args:
            number: what the file calls it, from 1.
            row: its fields.
            expression: whether it needs one; without, it is an object that no expression means.

        Raises:
            VGGymError: the row is wrong; names the file, the row and what is wrong.
        """
        try:
            self._add(number, row, expression)
        except (ValueError, OverflowError) as error:
            raise VGGymError(f"{self.path} {self.unit} {number}: {error}") from error

    def _add(self, number: int, row: Any, expression: bool) -> None:
        row = self._filled(row)
        image, text = _text(row, "image"), _text(row, "expression") if expression else ""
        if "\0" in image or "://" in image:
            raise WrongRow(f'"image": {image!r:.60} is not the path of a file')
        name = _name(row, number)
        self._texts["text"].append(text)
        self._texts["image"].append(image)
        self._texts["id"].append(name)
        for field, codes in self._codes.items():
            codes.append(_text(row, field) if field in row else "")
        for field, column in self._whole.items():
            column.append(_whole(row, field) if field in row else -1)
        self._numbers.append(number)
        self._image_hash.append(hash(image))
        self._id_hash.append(hash(name) if expression else hash((number,)))
        self._boxes.extend(_four_numbers(row["box"]) if "box" in row else _NO_BOX)
        self._frames.append(_FRAMES.index(_choice(row, "frame", _FRAMES)) if "frame" in row else 0)
        self._formats.append(_FORMATS.index(_choice(row, "box_format", _FORMATS)) if "box_format" in row else 0)

    def _filled(self, row: Any) -> dict[str, Any]:
        """The row with what is said for all rows, and without nulls."""
        if not isinstance(row, dict):
            raise WrongRow('is not an object like {"image": "a.jpg", "expression": "the red cup", "box": [1, 2, 3, 4]}')
        if self.defaults:
            row = {**self.defaults, **row}
        if None in row.values():
            row = {field: value for field, value in row.items() if value is not None}
        if (fields := tuple(row)) != self._fields:
            self._check_fields(row)
            self._fields = fields
        return row

    def _check_fields(self, row: dict[str, Any]) -> None:
        """Refuse a row that has what rows before it lack, or the other way round."""
        if "bbox" in row and "box" not in row:
            raise WrongRow('"bbox" means several things; call it "box", with "box_format" xyxy, xywh or cxcywh')
        given = {field: field in row or field == "id" and "sent_id" in row for field in TOGETHER}
        before = self._together = self._together or given
        for field in (field for field in TOGETHER if given[field] != before[field]):
            verbs = ("has", "lack") if given[field] else ("no", "have")
            raise WrongRow(f'{verbs[0]} "{field}", which rows before it {verbs[1]}; give it to all rows or to none')

    def columns(self) -> Columns:
        """All rows as columns.

        ``number`` (N,), ``text`` (empty where no expression means the object), ``image``, ``id``, ``box`` (N, 4)
        float32 ``xyxy``, NaN where there is none, ``frame`` (N,) row of :data:`FRAMES`, ``size`` (N, 2) or 0,
        ``category``, ``kind`` and ``split`` (N,) with their names, ``image_id``, ``ann_id``, ``ref_id`` (N,).

        Raises:
            VGGymError: there is no row, a box or a size is wrong, or two rows have the same id; names them.
        """
        if not len(self._numbers):
            raise VGGymError(f"{self.path} holds no {self.unit}; see docs/data.md for the format")
        found: Columns = {"number": np.frombuffer(self._numbers, np.int64)}
        for name, texts in self._texts.items():
            found.update(texts.columns(name))
        for name, codes in self._codes.items():
            found.update(codes.columns(name))
        self._refuse_clashes()
        sizes = self._sizes()
        boxes, frames = self._checked_boxes(sizes, found["split"])
        images = _given_or(self._whole["image_id"], np.frombuffer(self._image_hash, np.int64))
        objects = _given_or(self._whole["ann_id"], _object_keys(images, boxes))
        refs = _given_or(self._whole["ref_id"], objects)
        size = sizes.astype(np.int32)
        return {**found, "box": boxes.astype(np.float32), "frame": frames, "size": size,
                "image_id": images, "ann_id": objects, "ref_id": refs}  # fmt: skip

    def _refuse(self, wrong: Any, reason: Callable[[int], str]) -> None:
        """Raise what is wrong with the first of the rows (N,) that are."""
        for row in np.flatnonzero(wrong)[:1].tolist():
            raise VGGymError(f"{self.path} {self.unit} {self._numbers[row]}: {reason(row)}")

    def _refuse_clashes(self) -> None:
        hashes = np.frombuffer(self._id_hash, np.int64)
        _, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
        before = first[inverse]
        self._refuse(
            before != np.arange(len(hashes)),
            lambda row: f'has the same "id" as {self.unit} {self._numbers[int(before[row])]}; ids must differ',
        )

    def _sizes(self) -> np.ndarray:
        """(N, 2) width and height, 0 where they are not given."""
        sizes = np.stack([np.frombuffer(self._whole[side], np.int64) for side in ("width", "height")], axis=1)
        known: Any = (sizes >= 0).any(axis=1)
        wrong = known & ((sizes < 1) | (sizes >= 2**31)).any(axis=1)
        self._refuse(wrong, lambda row: '"width" and "height" are whole numbers of pixels from 1 on, both or none')
        return np.where(known[:, None], sizes, 0)

    def _checked_boxes(self, sizes: np.ndarray, split: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Boxes (N, 4) ``xyxy`` cut to their images, and the frames (N,) they are in: pixels where sizes are known."""
        given, boxes = np.frombuffer(self._boxes, np.float64).reshape(-1, 4), np.empty((len(sizes), 4))
        frames, formats = np.frombuffer(self._frames, np.int8), np.frombuffer(self._formats, np.int8)
        for code, convert in enumerate(FORMATS.values()):
            boxes[formats == code] = convert(given[formats == code])
        lacks: Any = np.isnan(given[:, 0])
        for code in np.unique(split):
            mine: Any = split == code
            self._refuse(mine & (lacks != lacks[mine.argmax()]), lambda row: _half_boxed(lacks[row]))
        edges = np.array(list(FRAMES.values()))[frames][:, None] * np.ones(2)
        pixels = frames == 0
        edges[pixels] = np.where(sizes > 0, sizes, np.inf)[pixels]
        slack = np.where(pixels, SLACK, edges[:, 0] / 100)[:, None]
        cut = np.clip(boxes, 0, np.concatenate([edges, edges], axis=1))
        empty = ~lacks & ~(boxes[:, 2:] > boxes[:, :2]).all(axis=1)
        leaves = ~lacks & ((boxes[:, :2] < -slack) | (boxes[:, 2:] > edges + slack)).any(axis=1)
        outside = ~lacks & ~(cut[:, 2:] > cut[:, :2]).all(axis=1)
        tiny = ~lacks & pixels & (boxes <= 1).all(axis=1)
        said = (
            (empty, 'is empty: x2 > x1 and y2 > y1 as xyxy, or say another "box_format"'),
            (leaves | outside, "leaves the image"),
            (tiny, 'is less than a pixel; say "frame": "normalised" if it is in [0, 1]'),
        )
        for wrong, what in said:
            self._refuse(wrong, lambda row, what=what: f'"box": {given[row].tolist()} {what}{_bounds(edges[row])}')  # type: ignore[misc]
        known = ~pixels & (sizes[:, 0] > 0)
        scale = (sizes / edges)[known]
        cut[known] *= np.concatenate([scale, scale], axis=1)
        return cut, np.where(known, 0, frames).astype(np.int8)


def _bounds(edges: np.ndarray) -> str:
    return f" (right and lower edge of the image: {edges[0]:g}, {edges[1]:g})" if np.isfinite(edges).all() else ""


def _half_boxed(lacks: bool) -> str:
    said = 'no "box", which rows before it have' if lacks else 'has a "box", which rows before it lack'
    return f"{said}; give boxes to all rows of a split or to none"


def _object_keys(images: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """A number for each row: the same for the same box in the same image."""
    keys = images.astype(np.uint64)
    for column in boxes.T:
        keys = keys * np.uint64(0x9E3779B97F4A7C15) + np.ascontiguousarray(column).view(np.uint64)
        keys ^= keys >> np.uint64(29)
    lacks = np.isnan(boxes[:, 0])
    keys[lacks] = np.arange(len(keys), dtype=np.uint64)[lacks]
    return keys.view(np.int64)


def _given_or(ids: array, keys: np.ndarray) -> np.ndarray:
    """The ids that the file gives, or numbers in the order in which different ``keys`` first appear."""
    if ids[0] >= 0:
        return np.frombuffer(ids, np.int64)
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first, kind="stable")] = np.arange(len(first))
    return rank[inverse]


def _has(row: dict[str, Any]) -> str:
    return f"it has {', '.join(sorted(str(key) for key in row)[:12]) or 'nothing'}"


def _text(row: dict[str, Any], field: str) -> str:
    value = row.get(field)
    if value is None:
        raise WrongRow(f'no "{field}"; {_has(row)}')
    if not isinstance(value, str) or not (text := value.strip()):
        raise WrongRow(f'"{field}": {value!r:.60} is not a text of a few words')
    if field == "split" and text == ALL:
        raise WrongRow(f'"split": {ALL!r} is what all rows together are called; give it another name')
    return text


def _choice(row: dict[str, Any], field: str, known: tuple[str, ...]) -> str:
    if row[field] not in known:
        raise WrongRow(f'"{field}": {row[field]!r:.60} is none of {", ".join(known)}')
    return row[field]


def _name(row: dict[str, Any], number: int) -> str:
    """The id as a text; the row's number where there is none."""
    value = row.get("id", row.get("sent_id", number))
    if isinstance(value, bool) or not isinstance(value, (int, str)) or value == "":
        raise WrongRow(f'"id": {value!r:.60} is neither a whole number nor a text')
    return str(value)


def _whole(row: dict[str, Any], field: str) -> int:
    value = row[field]
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
        raise WrongRow(f'"{field}": {value!r:.60} is not a whole number from 0 on')
    return value


def _four_numbers(box: Any) -> list[float]:
    numbers = isinstance(box, list) and len(box) == 4 and not {type(side) for side in box} - {int, float}
    if not numbers or not math.isfinite(sum(box)):
        raise WrongRow(f'"box": {box!r:.60} is not four finite numbers')
    return box
