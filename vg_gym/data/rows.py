"""Rows of a user's own data, checked and gathered into columns.

A row is a dictionary of :data:`FIELDS`; docs/data.md is the page about them. Columns, not objects: a million rows take
some 100 MB, and are mapped from an index (:mod:`vg_gym.data.index`) at the next opening. Rows that have the same fields
are checked together, field by field, in a fifth of the time that each alone would take; where something is wrong they
are checked one by one, and the first wrong one is named.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import accumulate, chain, groupby, islice
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym.data.index import Columns, Strings
from vg_gym.data.pixels import ORIENTATIONS, UNKNOWN
from vg_gym.errors import VGGymError

FIELDS = (
    "image", "expression", "box", "frame", "box_format", "width", "height", "category", "kind", "split", "id",
    "image_id", "ann_id", "ref_id", "orientation",
)  # fmt: skip
"""What a row may hold; other fields are ignored."""
DEFAULTS = ("frame", "box_format", "width", "height", "category", "kind", "split", "orientation")
"""Fields that may be said once for all rows."""
TOGETHER = ("split", "id", "image_id", "ann_id", "ref_id")
"""Fields that all rows of a file have, or none."""
FRAMES = {"pixels": 0.0, "normalised": 1.0, "0-1000": 1000.0}
"""Frame of a box -> the coordinate of the image's right and lower edge; pixels have the image's own."""
FORMATS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "xyxy": lambda box: box,
    "xywh": box_ops.from_xywh,
    "cxcywh": box_ops.from_cxcywh,
    "yxyx": lambda box: box[..., [1, 0, 3, 2]],
}
"""Format of a box -> function to ``xyxy``."""
SLACK = 1.0
"""Pixels, or hundredths of another frame, that a box may lie outside its image; it is cut to the image."""
ALL = "all"
"""Name of the split that is every row."""
TOGETHER_AT_MOST = 1024
"""Rows that are checked together."""

_FRAMES, _FORMATS = tuple(FRAMES), tuple(FORMATS)
ORIENTATION_CODES = (UNKNOWN, *ORIENTATIONS)
"""What a row's box refers to; its code is its place here."""
NO_NUMBER = -1
"""In place of the number that an id is, where it is none."""
_NO_BOX = array("d", [math.nan] * 4)
Row = dict[str, Any]


class WrongRow(ValueError):
    """What is wrong with a row."""


class Texts:
    """A column of texts that grows; see :class:`vg_gym.data.index.Strings`."""

    def __init__(self) -> None:
        self._blob, self._offsets = bytearray(), array("q", [0])

    def extend(self, texts: Sequence[str], encoded: bytes) -> None:
        """Add texts.

        Args:
            texts: to add.
            encoded: all of them, one after the other, in UTF-8.
        """
        together = "".join(texts)
        lengths = map(len, texts) if len(together) == len(encoded) else (len(text.encode()) for text in texts)
        self._offsets.extend(islice(accumulate(lengths, initial=len(self._blob)), 1, None))
        self._blob += encoded

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

    def extend(self, texts: Sequence[str] | None, count: int) -> None:
        """Add ``count`` texts, or so often none."""
        if texts is None:
            self._column.extend([-1] * count)
            return
        for text in dict.fromkeys(texts):
            self._numbers.setdefault(text, len(self._numbers))
        self._column.extend(map(self._numbers.__getitem__, texts))

    def columns(self, name: str) -> Columns:
        """The numbers under a name, and the texts under that and ``_name``."""
        return {name: np.frombuffer(self._column, np.int32), **Strings.pack(f"{name}_name", self._numbers)}


class RowTable:
    """Takes rows, refuses wrong ones, and makes columns of them.

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
        self._frames, self._formats, self._orientations = array("b"), array("b"), array("b")
        self._sent_ids = array("q")
        self._image_hash, self._id_hash = array("q"), array("q")
        self._together: dict[str, bool] | None = None
        self._waiting: list[tuple[int, Row, bool]] = []

    def add(self, number: int, row: Any, expression: bool = True) -> None:
        """Add a row; it is checked with others, at the latest in :meth:`columns`.

        Args:
            number: what the file calls it, from 1.
            row: its fields.
            expression: whether it needs one; without, it is an object that no expression means.

        Raises:
            VGGymError: a row is wrong; names the file, the row and what is wrong.
        """
        if isinstance(row, dict):
            row = {**self.defaults, **row} if self.defaults else row
            if None in row.values():
                row = {field: value for field, value in row.items() if value is not None}
        self._waiting.append((number, row, expression))
        if len(self._waiting) == TOGETHER_AT_MOST:
            self.check()

    def check(self) -> None:
        """Take all rows that wait.

        Raises:
            VGGymError: as :meth:`add`.
        """
        waiting, self._waiting = self._waiting, []
        for _, alike in groupby(waiting, lambda one: (one[2], tuple(one[1]) if isinstance(one[1], dict) else None)):
            self._take_or_refuse(list(alike))

    def _take_or_refuse(self, alike: list[tuple[int, Row, bool]]) -> None:
        """Take rows of the same fields, or refuse the first that is wrong."""
        numbers, rows, _ = (list(part) for part in zip(*alike, strict=True))
        try:
            self._take(numbers, rows, expression=alike[0][2])
        except (ValueError, OverflowError) as error:
            if len(alike) == 1:
                raise VGGymError(f"{self.path} {self.unit} {numbers[0]}: {error}") from error
            for one in alike:
                self._take_or_refuse([one])

    def _take(self, numbers: list[int], rows: list[Row], expression: bool) -> None:
        """Take all of some rows of the same fields, or none.

        Raises:
            ValueError: one is wrong; says how, where it is the only one.
            OverflowError: so is one of the numbers of a box.
        """
        self._check_fields(rows[0])
        count, fields = len(rows), rows[0].keys()
        images, names = _texts(rows, "image"), _names(rows, numbers)
        texts = {"text": _texts(rows, "expression") if expression else [""] * count, "image": images, "id": names}
        encoded = {column: "".join(parts).encode() for column, parts in texts.items()}
        if b"\0" in encoded["image"] or b"://" in encoded["image"]:
            raise WrongRow(f'"image": {images[0]!r:.60} is not the path of a file')
        if b"./" in encoded["image"] or b"//" in encoded["image"]:  # one image has one spelling
            images = texts["image"] = [str(PurePosixPath(image)) for image in images]
            encoded["image"] = "".join(images).encode()
        coded = {field: _texts(rows, field) if field in fields else None for field in self._codes}
        whole = {field: _whole(rows, field) if field in fields else [-1] * count for field in self._whole}
        boxes = _four_numbers(rows) if "box" in fields else _NO_BOX * count
        frames = _choices(rows, "frame", _FRAMES) if "frame" in fields else [0] * count
        formats = _choices(rows, "box_format", _FORMATS) if "box_format" in fields else [0] * count
        turned = (
            [1 + code for code in _choices(rows, "orientation", ORIENTATIONS)]
            if "orientation" in fields
            else [0] * count
        )
        for column, parts in texts.items():
            self._texts[column].extend(parts, encoded[column])
        for field, kinds in coded.items():
            self._codes[field].extend(kinds, count)
        for field, values in whole.items():
            self._whole[field].extend(values)
        self._numbers.extend(numbers)
        self._boxes.extend(boxes)
        self._frames.extend(frames)
        self._formats.extend(formats)
        self._orientations.extend(turned)
        self._sent_ids.extend(_numbers_of(names) if "id" in fields or "sent_id" in fields else numbers)
        self._image_hash.extend(map(hash, images))
        self._id_hash.extend(map(hash, names if expression else ((number,) for number in numbers)))

    def _check_fields(self, row: Any) -> None:
        """Refuse what is no row, and a row that has what rows before it lack, or the other way round."""
        if not isinstance(row, dict):
            raise WrongRow('is not an object like {"image": "a.jpg", "expression": "the red cup", "box": [1, 2, 3, 4]}')
        if "bbox" in row and "box" not in row:
            raise WrongRow('"bbox" means several things; call it "box", with "box_format" xyxy, xywh, cxcywh or yxyx')
        given = {field: field in row or field == "id" and "sent_id" in row for field in TOGETHER}
        before = self._together = self._together or given
        for field in (field for field in TOGETHER if given[field] != before[field]):
            verbs = ("has", "lack") if given[field] else ("no", "have")
            raise WrongRow(f'{verbs[0]} "{field}", which rows before it {verbs[1]}; give it to all rows or to none')

    def columns(self) -> Columns:
        """All rows as columns.

        ``number`` (N,), ``text`` (empty where no expression means the object), ``image``, ``id``, ``box`` (N, 4)
        float32 ``xyxy``, NaN where there is none, ``frame`` (N,) row of :data:`FRAMES`, ``size`` (N, 2) or 0,
        ``category``, ``kind`` and ``split`` (N,) with their names, ``image_id``, ``ann_id``, ``ref_id``, ``sent_id``
        (N,), ``orientation`` (N,) row of :data:`ORIENTATION_CODES`.

        Raises:
            VGGymError: there is no row, a box or a size is wrong, or two rows have the same id; names them.
        """
        self.check()
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
                "image_id": images, "ann_id": objects, "ref_id": refs, "sent_id": self._sentence_numbers(),
                "orientation": np.frombuffer(self._orientations, np.int8)}  # fmt: skip

    def _sentence_numbers(self) -> np.ndarray:
        """Numbers (N,) that differ: the ids where all are whole numbers, else the rows' own, else their places."""
        places = np.arange(1, len(self._numbers) + 1)
        for numbers in (np.frombuffer(self._sent_ids, np.int64), np.frombuffer(self._numbers, np.int64)):
            if numbers.min() > NO_NUMBER and ((np.diff(numbers) > 0).all() or len(np.unique(numbers)) == len(numbers)):
                return numbers
        return places

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


def _has(row: Row) -> str:
    return f"it has {', '.join(sorted(str(key) for key in row)[:12]) or 'nothing'}"


def _texts(rows: list[Row], field: str) -> list[str]:
    if field not in rows[0]:
        raise WrongRow(f'no "{field}"; {_has(rows[0])}')
    values = [row[field] for row in rows]
    texts = list(map(str.strip, values)) if {type(value) for value in values} == {str} else [""]
    if "" in texts:
        raise WrongRow(f'"{field}": {values[0]!r:.60} is not a text of a few words')
    if field == "split" and ALL in texts:
        raise WrongRow(f'"split": {ALL!r} is what all rows together are called; give it another name')
    return texts


def _numbers_of(names: list[str]) -> list[int]:
    """The whole numbers that ids are; :data:`NO_NUMBER` of those that are none."""
    return [int(name) if name.isdecimal() and len(name) < 19 else NO_NUMBER for name in names]


def _choices(rows: list[Row], field: str, known: tuple[str, ...]) -> list[int]:
    values = [row[field] for row in rows]
    if not all(value in known for value in values):
        raise WrongRow(f'"{field}": {values[0]!r:.60} is none of {", ".join(known)}')
    return [known.index(value) for value in values]


def _names(rows: list[Row], numbers: list[int]) -> list[str]:
    """The ids as texts; the rows' numbers where there are none."""
    field = next((field for field in ("id", "sent_id") if field in rows[0]), None)
    values = [row[field] for row in rows] if field else numbers
    if {type(value) for value in values} - {int, str} or "" in values:
        raise WrongRow(f'"id": {values[0]!r:.60} is neither a whole number nor a text')
    return [str(value) for value in values]


def _whole(rows: list[Row], field: str) -> list[int]:
    values = [row[field] for row in rows]
    if {type(value) for value in values} != {int} or min(values) < 0 or max(values) >= 2**63:
        raise WrongRow(f'"{field}": {values[0]!r:.60} is not a whole number from 0 on')
    return values


def _four_numbers(rows: list[Row]) -> array:
    boxes = [row["box"] for row in rows]
    four = all(isinstance(box, list) and len(box) == 4 for box in boxes)
    if four and not {type(side) for side in chain.from_iterable(boxes)} - {int, float}:
        with suppress(OverflowError):
            sides = array("d", chain.from_iterable(boxes))
            if np.isfinite(sides).all():
                return sides
    raise WrongRow(f'"box": {boxes[0]!r:.60} is not four finite numbers')
