"""Data sets of parquet files, such as the public copies of RefCOCO on the hub: ``dataset=hub:ORG/NAME[:SPLIT]``.

A row is a referent with its image, its box or boxes and one or several expressions; every expression is a sample. The
columns of some publishers are known (:data:`vg_gym.data.parquet_layouts.LAYOUTS`). Options name the columns of other
layouts. Images stay encoded in their files until they are needed.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from functools import cached_property
from itertools import chain, repeat
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym.data.images import FileImage
from vg_gym.data.opaque import opaque
from vg_gym.data.parquet_cells import boxes_of, numbered, one_box, texts_of, whole_numbers
from vg_gym.data.parquet_files import columns_of, fetch, read_table, split_files
from vg_gym.data.parquet_images import EncodedImages, ParquetImage
from vg_gym.data.parquet_layouts import chosen_layout
from vg_gym.data.refcoco import image_folders, image_places, path_within, without_suffix
from vg_gym.data.row_boxes import SLACK
from vg_gym.errors import DatasetNotFound, ImageError, VGGymError
from vg_gym.frames import place, to_pixels
from vg_gym.storage.files import fingerprint
from vg_gym.storage.lazy_sequence import IndexedSequence
from vg_gym.types import ImageRef, Objects, Query, Sample

BATCH_ROWS = 2**14
"""Number of rows of a column that are converted to Python objects at a time."""
NO_CATEGORY = "object"
"""Category of objects without one."""


class ParquetDataset(IndexedSequence[Sample]):
    """A split of a data set of parquet files: one sample per expression, in the order of the rows.

    Rows without any text, and rows with a box that is not four finite numbers, are left out; a warning gives their
    number. Access to a sample with a box that is empty or leaves its image raises a ``VGGymError``.

    Args:
        name: name of the data set.
        split: name of the split.
        folder: folder of the files, whose names or folders begin with the name of their split.
        root: folder of the images, for files that contain only their names.
        configuration: name of a folder, needed if several folders have files of the split.
        **columns: fields of :class:`vg_gym.data.parquet_layouts.Layout` that replace those of the known layout.

    Raises:
        VGGymError: the split does not exist or lacks usable rows, one of its files is missing or damaged, the columns
            are unknown, or the files contain only names of images and there is no ``root``.
    """

    def __init__(
        self, name: str, split: str, folder: Path, root: str | Path | None = None, configuration: str | None = None,
        **columns: str,
    ):  # fmt: skip
        self.name, self.split = name, split
        files = split_files(folder, split, configuration)
        self._layout = layout = chosen_layout(columns_of(files), columns, str(folder))
        if not layout.image and root is None:
            raise DatasetNotFound(f"{name} holds names of images alone: give root=, the folder with COCO's train2014")
        names = {name for field, name in layout.columns.items() if field != "image"}
        self._table = read_table(files, sorted(names))
        self._images = EncodedImages(tuple(files), layout.image, layout.orientation) if layout.image else None
        self._folders = image_folders(Path(root)) if root is not None else []
        self._numbers: dict[str, np.ndarray] = {}
        self._digest = fingerprint(*((file.name, file.stat().st_size) for file in files))[:12]
        self._starts = np.append(0, np.cumsum(self._counts()))
        """First sample of every row, followed by the number of samples."""

    def _counts(self) -> np.ndarray:
        """Return the number of samples of every row, int64 (R,).

        Raises:
            VGGymError: the split is empty.
        """
        texts = (sum(map(bool, texts_of(value))) for value in self._values("expressions"))
        counts = np.fromiter(texts, np.int64, len(self._table))
        numbers = (-1 if boxes is None else len(boxes) for boxes in self._all_boxes())
        self._box_counts = np.fromiter(numbers, np.int64, len(self._table))
        usable = self._box_counts >= 0
        for lack, wrong in (("no text", counts == 0), ("no box of four finite numbers", (counts > 0) & ~usable)):
            if count := int(wrong.sum()):
                first = int(wrong.argmax())
                warnings.warn(
                    f"{self.name}/{self.split}: left out {count:,} rows with {lack}, the first is row {first}",
                    stacklevel=5,
                )
        counts[~usable] = 0
        if not counts.sum():
            raise VGGymError(
                f"{self.name}/{self.split}: none of {len(counts):,} rows has text in {self._layout.expressions!r} and "
                f"four finite numbers in {self._layout.box or self._layout.boxes!r}; name the right columns: "
                "dataset_options.expressions=... dataset_options.box=..."
            )
        return counts

    def __len__(self) -> int:
        """Return the number of samples (expressions)."""
        return int(self._starts[-1])

    def _item(self, position: int) -> Sample:
        row = int(np.searchsorted(self._starts, position, side="right")) - 1
        words = [text for text in texts_of(self._value("expressions", row)) if text]
        expression, image = words[position - int(self._starts[row])], self._image(row)
        return Sample(
            query=Query(image, expression, f"{self._digest}/{self.split}/{opaque(position)}"),
            boxes=self._boxes(row, image),
            category=self._category(row),
            ref_id=int(self._ids("ref_id")[row]),
            ann_id=int(self._ids("ann_id")[row]),
            sent_id=int(self._sent_ids[position]),
            image_id=int(self._image_ids[row]),
            split=self.split,
            kind=self._kind(row),
        )

    @property
    def categories(self) -> tuple[str, ...]:
        """All category names of the split, sorted."""
        if not self._layout.category:
            return (NO_CATEGORY,)
        return tuple(sorted({_category(name) for name in self._values("category")}))

    def objects(self, image_id: int) -> Objects:
        """Return the referents of an image; such files do not contain other objects.

        Raises:
            VGGymError: the image does not exist.
        """
        rows = np.flatnonzero((self._image_ids == image_id) & (np.diff(self._starts) > 0)).tolist()
        if not rows:
            raise VGGymError(f"{self.name} has no image {image_id}; image ids are those of its samples")
        first: dict[bytes, tuple[np.ndarray, int, int]] = {}  # a referent has many rows
        for row in rows:
            for i, box in enumerate(self._boxes(row, self._image(row))):
                first.setdefault(box.tobytes(), (box, row, i))
        boxes = np.array([box for box, _, _ in first.values()], np.float32).reshape(-1, 4)
        numbers = tuple(self._object_number(row, i) for _, row, i in first.values())
        return Objects(boxes, tuple(self._category(row) for _, row, _ in first.values()), numbers)

    def _object_number(self, row: int, i: int) -> int:
        """Return the number of box ``i`` of a row: that of the row for the first, otherwise one that no row has."""
        numbers = self._ids("ann_id")
        others = int(np.maximum(self._box_counts[:row], 0).sum()) + i
        return int(numbers[row]) if i == 0 else int(min(numbers.min(), 0)) - 1 - others

    def _value(self, field: str, row: int) -> Any:
        column = self._layout.columns.get(field)
        return self._table[column][row].as_py() if column else None

    def _values(self, field: str) -> Iterator[Any]:
        """Iterate over the values of a column without holding all in memory; over None if the column is missing."""
        column = self._layout.columns.get(field)
        if not column:
            return repeat(None, len(self._table))
        batches = self._table.select([column]).to_batches(BATCH_ROWS)
        return (value for batch in batches for value in batch.column(0).to_pylist())

    def _category(self, row: int) -> str:
        return _category(self._value("category", row))

    def _ids(self, field: str) -> np.ndarray:
        """Return the number of every row in a column of ids, int64 (R,)."""
        if field not in self._numbers:
            self._numbers[field] = numbered(list(self._values(field)))
        return self._numbers[field]

    @cached_property
    def _image_ids(self) -> np.ndarray:
        """Number of the image of every row (R,): from the files, otherwise counted by path."""
        if self._layout.image_id:
            return self._ids("image_id")
        numbers: dict[str, int] = {}
        names = (_path(name, row) for row, name in enumerate(self._values("file_name")))
        return np.fromiter((numbers.setdefault(name, len(numbers)) for name in names), np.int64, len(self._table))

    @cached_property
    def _sent_ids(self) -> np.ndarray:
        """Number of every expression: from the files if these are distinct whole numbers, otherwise its position."""
        positions = np.arange(len(self))
        if not self._layout.sent_ids:
            return positions
        pairs = zip(self._values("expressions"), self._values("sent_ids"), np.diff(self._starts), strict=True)
        lists = [_beside(texts_of(value), ids) for value, ids, count in pairs if count]
        numbers = whole_numbers(chain.from_iterable(lists))
        return numbers if numbers is not None and len(np.unique(numbers)) == len(self) else positions

    def _image(self, row: int) -> ImageRef:
        name = _path(self._value("file_name", row), row)
        if self._images is not None:
            return ParquetImage(name, self._images, row)
        first, *others = image_places(self._folders, PurePosixPath(name))
        return FileImage(first, f"{self._digest}/{name}", None, tuple(others), self._layout.orientation)

    def _kind(self, row: int) -> str:
        kind = self._value("kind", row)
        if isinstance(kind, bool):
            return self._layout.kind if kind else f"not {self._layout.kind}"
        return "" if kind is None else str(kind)

    def _all_boxes(self) -> Iterator[list[list[float]] | None]:
        """Iterate over the boxes of all rows as numbers; None for a row with a box that is not four finite numbers."""
        value_of_none = self._layout.nothing.partition("=")[2]
        read = one_box if self._layout.box else boxes_of
        for value, marked in zip(self._values(self._box_field), self._values("nothing"), strict=True):
            yield [] if marked is not None and str(marked) == value_of_none else read(value)

    @property
    def _box_field(self) -> str:
        return "box" if self._layout.box else "boxes"

    def _boxes(self, row: int, image: ImageRef) -> np.ndarray:
        """Return the boxes of a row (k, 4), checked against its image.

        If the image cannot be read, boxes in pixels are not checked, and others are NaN.
        """
        if not self._box_counts[row]:
            return np.zeros((0, 4), np.float32)
        value = self._value(self._box_field, row)
        boxes = one_box(value) if self._layout.box else boxes_of(value)
        return np.stack([self._checked(np.array(box), row, image) for box in boxes or []])

    def _checked(self, values: np.ndarray, row: int, image: ImageRef) -> np.ndarray:
        """Return one box (4,) in pixels.

        Raises:
            VGGymError: it is empty, leaves its image, or is less than a pixel.
        """
        corners, frame = box_ops.from_xywh(values) if self._layout.box_format == "xywh" else values, self._layout.frame
        try:
            size = image.size
        except ImageError:
            return (corners if frame == "pixels" else np.full(4, np.nan)).astype(np.float32)
        box, edges = place(corners.tolist(), frame, size), np.tile(size, 2)
        pixels, slack = to_pixels(corners, frame, size), SLACK if frame == "pixels" else np.maximum(SLACK, edges / 100)
        leaves = (pixels < -slack) | (pixels > edges + slack)
        tiny = frame == "pixels" and (corners <= 1).all() and max(size) > 1  # most likely normalised
        if box is None or tiny or leaves.any() or not (corners[2:] > corners[:2]).all():
            raise VGGymError(
                f"{self.name}/{self.split} row {row}: the box {values.tolist()} "
                f"{'is less than a pixel in' if tiny else 'is not inside'} its image of {size}; "
                "check dataset_options.box_format and dataset_options.frame"
            )
        return box


def _beside(texts: list[str], ids: Any) -> list[Any]:
    """Return the ids of the texts that are not empty; None for each if the numbers of ids and texts differ."""
    ids = ids if isinstance(ids, list) else [ids]
    ids = ids if len(ids) == len(texts) else [None] * len(texts)
    return [number for number, text in zip(ids, texts, strict=True) if text]


def _category(name: Any) -> str:
    return NO_CATEGORY if name is None else str(name)


def _path(name: Any, row: int) -> str:
    """Return the path of an image within its data set, or a name made from its row if there is none."""
    path = path_within(str(f"row {row}" if name is None else name))
    return str(path.with_name(without_suffix(path.name)) if path.name else path)


def open_hub(name: str, split: str, root: str | Path | None = None, **options: str) -> ParquetDataset:
    """Open ``hub:ORG/NAME[:SPLIT]`` or ``hub:/folder/of/parquet[:SPLIT]``; this is the registry's factory.

    Args:
        name: name of the data set; SPLIT replaces ``test``, which is evaluated by default.
        split: name of the split.
        root: folder of the images, for files that contain only their names.
        **options: ``revision`` on the hub, ``configuration``, and fields of
            :class:`vg_gym.data.parquet_layouts.Layout`.

    Raises:
        VGGymError: the data set or the split does not exist, or its columns are unknown.
    """
    revision = options.pop("revision", None)
    where, _, test_split = name.partition(":")[2].partition(":")
    if test_split and split == "test":
        split = test_split
    if where and Path(where).is_dir():
        return ParquetDataset(name, split, Path(where), root, **options)
    if not where or where.startswith((".", "/", "~")) or where.count("/") != 1:
        raise VGGymError(
            f"{name!r} is neither a folder nor a data set on the hub: hub:ORG/NAME or hub:/folder/of/parquet"
        )
    return ParquetDataset(name, split, fetch(where, split, revision), root, **options)
