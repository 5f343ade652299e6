"""Check of the rows of a user's data, and their conversion to columns.

A row is a dictionary of :data:`FIELDS`; docs/data.md describes them. As columns, a million rows take about 100 MB and
are memory-mapped from an index (:mod:`vg_gym.data.index`) when they are opened again. Rows with the same fields are
checked as a batch, field by field, which takes a fifth of the time. If a batch has an error, its rows are checked one
by one, and the message names the first wrong row.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from vg_gym.data.column_arrays import Codes, Columns, Texts, first_equal
from vg_gym.data.pixels import ORIENTATIONS, UNKNOWN
from vg_gym.data.row_boxes import (
    FORMATS,
    IMAGE_EDGES,
    SLACK,
    Row,
    WrongRow,
    bounds_text,
    boxes_of_rows,
    object_keys,
    object_numbers,
)
from vg_gym.errors import VGGymError

FIELDS = (
    "image", "expression", "box", "boxes", "frame", "box_format", "width", "height", "category", "kind", "split", "id",
    "image_id", "ann_id", "ref_id", "orientation",
)  # fmt: skip
"""Fields of a row; others are ignored."""
DEFAULTS = ("frame", "box_format", "width", "height", "category", "kind", "split", "orientation")
"""Fields that may have a default for all rows."""
TOGETHER = ("split", "id", "image_id", "ann_id", "ref_id")
"""Fields that either all rows of a file have, or no row."""
ALL = "all"
"""Name of the split of all rows."""
MAX_BATCH_ROWS = 1024
"""Maximum number of rows that are checked as a batch."""

_FRAMES, _FORMATS = tuple(IMAGE_EDGES), tuple(FORMATS)
ORIENTATION_CODES = (UNKNOWN, *ORIENTATIONS)
"""Pixels that a row's box refers to; the index in this tuple is the code in the column."""
NO_NUMBER = -1
"""Placeholder for ids that are not whole numbers."""
MAX_NUMBER = 2**63 - 1
"""Largest number of a row or id."""


class RowTable:
    """Collection of rows that refuses wrong ones and converts the others to columns.

    Args:
        path: path of the rows' file, for errors.
        unit: name of a row in errors.
        defaults: default values of fields.
    """

    def __init__(self, path: Path, unit: str = "row", defaults: Mapping[str, Any] | None = None):
        self.path, self.unit, self.defaults = path, unit, dict(defaults or {})
        self._texts = {name: Texts() for name in ("text", "image", "id")}
        self._codes = {name: Codes() for name in ("category", "kind", "split")}
        self._whole = {name: array("q") for name in ("width", "height", "image_id", "ann_id", "ref_id")}
        self._numbers, self._boxes, self._counts = array("q"), array("d"), array("q")
        self._frames, self._formats, self._orientations = array("b"), array("b"), array("b")
        self._sent_ids = array("q")
        self._image_hash, self._id_hash = array("q"), array("q")
        self._together: dict[str, bool] | None = None
        self._waiting: list[tuple[int, Row, bool]] = []

    def add(self, number: int, row: Any, expression: bool = True) -> None:
        """Add a row, which is checked in a batch, at the latest in :meth:`columns`.

        Args:
            number: number of the row in the file, from 1.
            row: fields of the row.
            expression: whether the row needs an expression; otherwise it is an object that no expression refers to.

        Raises:
            VGGymError: a row is wrong; the message names the file, the row and the fault.
        """
        if isinstance(row, dict):
            row = {**self.defaults, **row} if self.defaults else row
            if None in row.values():
                row = {field: value for field, value in row.items() if value is not None}
        self._waiting.append((number, row, expression))
        if len(self._waiting) == MAX_BATCH_ROWS:
            self.check()

    def check(self) -> None:
        """Check all waiting rows and add them to the columns.

        Raises:
            VGGymError: see :meth:`add`.
        """
        waiting, self._waiting = self._waiting, []
        for _, batch in groupby(waiting, lambda one: (one[2], tuple(one[1]) if isinstance(one[1], dict) else None)):
            self._take_or_refuse(list(batch))

    def _take_or_refuse(self, batch: list[tuple[int, Row, bool]]) -> None:
        """Take rows with the same fields, or raise the error of the first wrong row."""
        numbers, rows, _ = (list(part) for part in zip(*batch, strict=True))
        try:
            self._take(numbers, rows, expression=batch[0][2])
        except (ValueError, OverflowError) as error:
            if len(batch) == 1:
                raise VGGymError(f"{self.path} {self.unit} {numbers[0]}: {error}") from error
            for one in batch:
                self._take_or_refuse([one])

    def _take(self, numbers: list[int], rows: list[Row], expression: bool) -> None:
        """Take rows with the same fields, all or nothing.

        Raises:
            ValueError: a row is wrong; the message states the fault if it is the only row.
            OverflowError: a number of a box is too large.
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
        boxes, box_counts = boxes_of_rows(rows)
        frames = _choices(rows, "frame", _FRAMES) if "frame" in fields else [0] * count
        formats = _choices(rows, "box_format", _FORMATS) if "box_format" in fields else [0] * count
        orientations = (
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
        self._counts.extend(box_counts)
        self._frames.extend(frames)
        self._formats.extend(formats)
        self._orientations.extend(orientations)
        self._sent_ids.extend(_numbers_of(names) if "id" in fields or "sent_id" in fields else numbers)
        self._image_hash.extend(map(hash, images))
        self._id_hash.extend(map(hash, names if expression else ((number,) for number in numbers)))

    def _check_fields(self, row: Any) -> None:
        """Raise an error unless a row is an object with the same shared fields as the rows before it."""
        if not isinstance(row, dict):
            raise WrongRow('is not an object like {"image": "a.jpg", "expression": "the red cup", "box": [1, 2, 3, 4]}')
        if "box" in row and "boxes" in row:
            raise WrongRow('has "box" and "boxes"; give one of them, "boxes" for none or several')
        if "bbox" in row and "box" not in row and "boxes" not in row:
            raise WrongRow('"bbox" means several things; call it "box", with "box_format" xyxy, xywh, cxcywh or yxyx')
        present = {field: field in row or field == "id" and "sent_id" in row for field in TOGETHER}
        before = self._together = self._together or present
        for field in (field for field in TOGETHER if present[field] != before[field]):
            verbs = ("has", "lack") if present[field] else ("no", "have")
            raise WrongRow(f'{verbs[0]} "{field}", which rows before it {verbs[1]}; give it to all rows or to none')

    def columns(self) -> Columns:
        """Return all rows as columns.

        The columns are ``number`` (N,), ``text`` (empty if no expression refers to the object), ``image``, ``id``,
        ``frame`` (N,) row of :data:`IMAGE_EDGES`, ``size`` (N, 2), 0 if missing, ``category``, ``kind`` and ``split``
        (N,) with their names, ``image_id``, ``ann_id``, ``ref_id`` and ``sent_id`` (N,), and ``orientation`` (N,) row
        of :data:`ORIENTATION_CODES`. The boxes of row i are ``box[box.offsets[i] : box.offsets[i + 1]]``, float32
        ``xyxy``, with the numbers ``box_id``; a row without boxes in the file has one of NaN.

        Raises:
            VGGymError: the file lacks rows, a box or a size is wrong, or two rows have the same id; the message names
                them.
        """
        self.check()
        if not len(self._numbers):
            raise VGGymError(f"{self.path} holds no {self.unit}; see docs/data.md for the format")
        columns: Columns = {"number": np.frombuffer(self._numbers, np.int64)}
        for name, texts in self._texts.items():
            columns.update(texts.columns(name))
        for name, codes in self._codes.items():
            columns.update(codes.columns(name))
        self._refuse_clashes()
        sizes = self._sizes()
        counts = np.frombuffer(self._counts, np.int64)
        rows = np.repeat(np.arange(len(counts)), counts)
        boxes, frames = self._checked_boxes(sizes, columns["split"], counts, rows)
        images = _ids_or_ranks(self._whole["image_id"], np.frombuffer(self._image_hash, np.int64))
        keys = object_keys(images[rows], boxes)
        double = first_equal(object_keys(rows, boxes)) != np.arange(len(rows))
        self._refuse(double, lambda i: f'"boxes": {boxes[i].tolist()} is there twice; give each object once', rows)
        objects, box_ids = object_numbers(self._whole["ann_id"], keys, counts)
        refs = _ids_or_ranks(self._whole["ref_id"], objects)
        return {**columns, "box": boxes.astype(np.float32), "box.offsets": np.cumsum([0, *counts], dtype=np.int64),
                "box_id": box_ids, "frame": frames, "size": sizes.astype(np.int32), "image_id": images,
                "ann_id": objects, "ref_id": refs, "sent_id": self._sentence_numbers(),
                "orientation": np.frombuffer(self._orientations, np.int8)}  # fmt: skip

    def _sentence_numbers(self) -> np.ndarray:
        """Return distinct numbers (N,): the ids that are whole numbers, and the next larger numbers for the other ids.

        If two ids are the same number, or no id is a number, they are the rows' numbers or, if two of these agree,
        positions.
        """
        ids, places = np.frombuffer(self._sent_ids, np.int64), np.arange(1, len(self._numbers) + 1)
        words: Any = ids == NO_NUMBER
        if words.any() and not words.all() and ids.max() < MAX_NUMBER - len(ids):
            ids = np.where(words, ids.max() + np.cumsum(words), ids)
        for numbers in (ids, np.frombuffer(self._numbers, np.int64)):
            if numbers.min() > NO_NUMBER and ((np.diff(numbers) > 0).all() or len(np.unique(numbers)) == len(numbers)):
                return numbers
        return places

    def _refuse(self, wrong: Any, reason: Callable[[int], str], rows: np.ndarray | None = None) -> None:
        """Raise the error of the first row that is marked in ``wrong``, bool (N,), or of the first box of ``rows``."""
        for index in np.flatnonzero(wrong)[:1].tolist():
            row = index if rows is None else int(rows[index])
            raise VGGymError(f"{self.path} {self.unit} {self._numbers[row]}: {reason(index)}")

    def _refuse_clashes(self) -> None:
        """Refuse two rows with the same id."""
        before = first_equal(np.frombuffer(self._id_hash, np.int64))
        self._refuse(
            before != np.arange(len(before)),
            lambda row: f'has the same "id" as {self.unit} {self._numbers[int(before[row])]}; ids must differ',
        )

    def _sizes(self) -> np.ndarray:
        """Return widths and heights, int64 (N, 2); 0 if missing."""
        sizes = np.stack([np.frombuffer(self._whole[side], np.int64) for side in ("width", "height")], axis=1)
        has_size: Any = (sizes >= 0).any(axis=1)
        wrong = has_size & ((sizes < 1) | (sizes >= 2**31)).any(axis=1)
        self._refuse(wrong, lambda row: '"width" and "height" are whole numbers of pixels from 1 on, both or none')
        return np.where(has_size[:, None], sizes, 0)

    def _checked_boxes(
        self, sizes: np.ndarray, split: np.ndarray, counts: np.ndarray, rows: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the boxes (B, 4) ``xyxy``, clamped to their images, and the frames of the rows (N,).

        Boxes in images of a known size are converted to pixels.

        Args:
            sizes: sizes of the images (N, 2).
            split: splits of the rows (N,).
            counts: numbers of boxes of the rows (N,).
            rows: row of every box (B,).
        """
        numbers, boxes = np.frombuffer(self._boxes, np.float64).reshape(-1, 4), np.empty((len(rows), 4))
        frames, formats = np.frombuffer(self._frames, np.int8), np.frombuffer(self._formats, np.int8)[rows]
        for code, convert in enumerate(FORMATS.values()):
            boxes[formats == code] = convert(numbers[formats == code])
        missing: Any = np.isnan(numbers[:, 0])
        self._refuse_half_boxed(np.isin(np.arange(len(counts)), rows[missing]), split)
        edges = np.array(list(IMAGE_EDGES.values()))[frames][:, None] * np.ones(2)
        pixels = frames == 0
        edges[pixels] = np.where(sizes > 0, sizes, np.inf)[pixels]
        clamped = self._inside(boxes, numbers, edges[rows], pixels[rows], missing, rows)
        convertible = ~pixels & (sizes[:, 0] > 0)
        scale = np.where(convertible[:, None], sizes / edges, 1)[rows]
        return clamped * np.concatenate([scale, scale], axis=1), np.where(convertible, 0, frames).astype(np.int8)

    def _refuse_half_boxed(self, missing: np.ndarray, split: np.ndarray) -> None:
        """Refuse a split in which some rows have boxes and some, bool (N,), have neither a box nor an empty list."""
        for code in np.unique(split):
            mine: Any = split == code
            self._refuse(mine & (missing != missing[mine.argmax()]), lambda row: _half_boxed(missing[row]))

    def _inside(
        self, boxes: np.ndarray, numbers: np.ndarray, edges: np.ndarray, pixels: np.ndarray, missing: np.ndarray,
        rows: np.ndarray,
    ) -> np.ndarray:  # fmt: skip
        """Return boxes (B, 4) clamped to their images.

        Args:
            boxes: boxes as ``xyxy``, (B, 4).
            numbers: the numbers in the file, for errors (B, 4).
            edges: right and lower edges of their images (B, 2).
            pixels: whether they are in pixels (B,).
            missing: whether the row lacks a box (B,).
            rows: their rows (B,).

        Raises:
            VGGymError: a box is empty, leaves its image, or is less than a pixel.
        """
        slack = np.where(pixels, SLACK, edges[:, 0] / 100)[:, None]
        clamped = np.clip(boxes, 0, np.concatenate([edges, edges], axis=1))
        empty = ~missing & ~(boxes[:, 2:] > boxes[:, :2]).all(axis=1)
        leaves = ~missing & ((boxes[:, :2] < -slack) | (boxes[:, 2:] > edges + slack)).any(axis=1)
        outside = ~missing & ~(clamped[:, 2:] > clamped[:, :2]).all(axis=1)
        tiny = ~missing & pixels & (boxes <= 1).all(axis=1)
        faults = (
            (empty, 'is empty: x2 > x1 and y2 > y1 as xyxy, or say another "box_format"'),
            (leaves | outside, "leaves the image"),
            (tiny, 'is less than a pixel; say "frame": "normalised" if it is in [0, 1]'),
        )
        for wrong, fault in faults:
            self._refuse(
                wrong,
                lambda i, fault=fault: f'"box": {numbers[i].tolist()} {fault}{bounds_text(edges[i])}',  # type: ignore[misc]
                rows,
            )
        return clamped


def _half_boxed(missing: bool) -> str:
    fault = 'no "box", which rows before it have' if missing else 'has a "box", which rows before it lack'
    return f"{fault}; give boxes to all rows of a split or to none"


def _ids_or_ranks(ids: array, keys: np.ndarray) -> np.ndarray:
    """Return the ids of the file or, if there are none, numbers of ``keys`` in the order of their first occurrence."""
    if ids[0] >= 0:
        return np.frombuffer(ids, np.int64)
    return np.unique(first_equal(keys), return_inverse=True)[1]


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
        raise WrongRow(f'"split": {ALL!r} is reserved for all rows; give it another name')
    return texts


def _numbers_of(names: list[str]) -> list[int]:
    """Convert ids to whole numbers; ids that are not become :data:`NO_NUMBER`."""
    return [int(name) if name.isdecimal() and len(name) < 19 else NO_NUMBER for name in names]


def _choices(rows: list[Row], field: str, choices: tuple[str, ...]) -> list[int]:
    values = [row[field] for row in rows]
    if not all(value in choices for value in values):
        raise WrongRow(f'"{field}": {values[0]!r:.60} is none of {", ".join(choices)}')
    return [choices.index(value) for value in values]


def _names(rows: list[Row], numbers: list[int]) -> list[str]:
    """Return the ids as texts, or the rows' numbers if there are none."""
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
