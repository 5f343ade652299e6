"""A user's data set: JSON Lines, CSV, or a JSON file in COCO's style with expressions (docs/data.md)."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym.data.column_arrays import Columns, Strings
from vg_gym.data.images import FileImage
from vg_gym.data.index import indexed
from vg_gym.data.own_files import parse_coco_style, parse_csv, parse_json_lines
from vg_gym.data.pixels import ORIENTATIONS, STORED, UNKNOWN, UPRIGHT, UnknownOrientation
from vg_gym.data.row_boxes import IMAGE_EDGES, SLACK
from vg_gym.data.rows import ALL, ORIENTATION_CODES
from vg_gym.errors import ImageError, VGGymError, unknown, unknown_split
from vg_gym.storage.lazy_sequence import IndexedSequence
from vg_gym.types import ImageRef, Objects, Query, Sample

PARSERS = {".jsonl": parse_json_lines, ".json": parse_coco_style, ".csv": parse_csv}
"""Suffix of a file -> its parser."""
MAX_PROBED_IMAGES = 16
"""Maximum number of images whose size is read at opening, to check that boxes in pixels lie inside them."""
_EDGES = tuple(IMAGE_EDGES.values())


class OwnData(IndexedSequence[Sample]):
    """A split of a file of rows. Every row is checked at the first opening; images are read on demand.

    Without splits in the file, every split consists of all rows, and a warning says so. A sample has the boxes of its
    row: none, one or several; one of NaN if the row states no boxes. Boxes are NaN, too, if they are not in pixels and
    the image cannot be read. The ``category`` is ``""`` if the row has none.

    Args:
        path: ``FILE.jsonl``, ``FILE.csv`` or ``FILE.json``.
        split: a split that rows name, or ``all`` for every row.
        root: folder of the image paths; by default the file's folder.
        orientation: pixels that boxes refer to, of :data:`vg_gym.data.pixels.ORIENTATIONS`, for rows that do not state
            it. The default is the stored pixels in COCO's style and the upright image without boxes. Otherwise it is
            unknown, and an image whose two orientations differ is an error.
        parse: parser of the file; by default that of its suffix.
        beside: further files that the parser reads.

    Raises:
        VGGymError: the file or the split does not exist, a row is wrong (the message names it), or boxes leave their
            images.
    """

    def __init__(
        self,
        path: Path,
        split: str,
        root: str | Path | None = None,
        orientation: str = UNKNOWN,
        parse: Callable[[Path], Columns] | None = None,
        beside: Sequence[Path] = (),
    ):
        if not path.is_file():
            raise VGGymError(f"no data set {path}: there is no such file; correct the path")
        self.path, self.name, self.split = path, path.name, split
        self._root = Path(root) if root else path.parent
        self._home = hashlib.sha256(str(self._root.resolve()).encode()).hexdigest()[:12]
        self._columns = indexed(path, parse or PARSERS[path.suffix.lower()], beside)
        self._texts, self._images, self._ids = (Strings(self._columns, name) for name in ("text", "image", "id"))
        self._names = {field: tuple(Strings(self._columns, f"{field}_name")) for field in ("category", "kind", "split")}
        self._rows = self._rows_of(split)
        if orientation not in (UNKNOWN, *ORIENTATIONS):
            raise unknown("orientation", orientation, ORIENTATIONS)
        coco_style = STORED if path.suffix.lower() == ".json" else UNKNOWN
        self._orientation = orientation or (coco_style if self.labeled else UPRIGHT)
        self._probe()

    def _rows_of(self, split: str) -> np.ndarray:
        chosen = np.diff(self._columns["text.offsets"]) > 0
        if split != ALL and self.splits:
            if split not in self.splits:
                raise unknown_split(self.path, split, self.splits, f", and {ALL}")
            chosen &= self._columns["split"] == self._names["split"].index(split)
        elif split != ALL:
            _warn_once(
                f'{self.path} has no "split": all its {int(chosen.sum()):,} rows serve as every split, so training '
                "and evaluation use the same rows"
            )
        return np.flatnonzero(chosen)

    def _probe(self) -> None:
        """Check boxes against a few images of unknown size, since boxes in an unstated frame are a likely mistake."""
        columns = self._columns
        unsized = self._rows[columns["size"][self._rows, 0] == 0]
        for row in unsized[:: max(1, len(unsized) // MAX_PROBED_IMAGES)][:MAX_PROBED_IMAGES].tolist():
            try:
                width, height = self._image(row).size
            except UnknownOrientation as error:
                raise VGGymError(f"{self.path} row {columns['number'][row]}: {error}") from error
            except ImageError:
                continue
            frames = ", ".join(IMAGE_EDGES)
            boxes = self._stored_boxes(row)
            leaves = (boxes[:, 2:] > np.array([width, height]) + SLACK).any(axis=1)
            if self.labeled and not columns["frame"][row] and leaves.any():
                raise VGGymError(
                    f'{self.path} row {columns["number"][row]}: "box": {boxes[leaves][0].tolist()} leaves the '
                    f'image, {width} x {height} pixels; say the "frame" it is in ({frames}) or its "box_format"'
                )

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits in the rows; empty for rows without splits."""
        return self._names["split"]

    @cached_property
    def labeled(self) -> bool:
        """True if all rows of this split state their boxes; an empty list does."""
        offsets, boxes = self._columns["box.offsets"], self._columns["box"]
        starts = offsets[self._rows][offsets[self._rows] < offsets[self._rows + 1]]
        return bool(np.isfinite(boxes[starts, 0]).all())

    @property
    def categories(self) -> tuple[str, ...]:
        """Names of all categories in the rows, sorted."""
        return tuple(sorted(self._names["category"]))

    def __len__(self) -> int:
        """Return the number of samples (expressions)."""
        return len(self._rows)

    def means_one(self) -> np.ndarray:
        """Return which samples have one box, bool (N,)."""
        return np.diff(self._columns["box.offsets"])[self._rows] == 1

    def _item(self, number: int) -> Sample:
        row, columns = int(self._rows[number]), self._columns
        image = self._image(row)
        return Sample(
            query=Query(image, self._texts[row], self._key(row)),
            boxes=self._in_pixels(self._stored_boxes(row), row, image),
            category=self._text_of("category", row),
            ref_id=int(columns["ref_id"][row]),
            ann_id=int(columns["ann_id"][row]),
            sent_id=int(columns["sent_id"][row]),
            image_id=int(columns["image_id"][row]),
            split=self._text_of("split", row) or self.split,
            kind=self._text_of("kind", row),
        )

    def _key(self, row: int) -> str:
        return f"{self.path.stem}/{self._ids[row]}"

    def _image(self, row: int) -> ImageRef:
        name, (width, height) = self._images[row], self._columns["size"][row].tolist()
        size, code = (width, height) if width else None, int(self._columns["orientation"][row])
        orientation = ORIENTATION_CODES[code] or self._orientation
        return FileImage(self._root / name, f"{self._home}/{name}", size, (), orientation)

    def _stored_boxes(self, row: int) -> np.ndarray:
        """Return the boxes of a row (k, 4) in the frame of its column."""
        first, last = self._columns["box.offsets"][row : row + 2]
        return np.array(self._columns["box"][first:last])

    def _in_pixels(self, boxes: np.ndarray, row: int, image: ImageRef) -> np.ndarray:
        """Return boxes (k, 4) of a row in pixels; NaN if that needs its image, which cannot be read."""
        edge = _EDGES[self._columns["frame"][row]]
        if not edge or not len(boxes):
            return boxes
        try:
            return box_ops.denormalize(boxes / edge, image.size)
        except ImageError:
            return np.full_like(boxes, np.nan)

    def _text_of(self, field: str, row: int) -> str:
        code = int(self._columns[field][row])
        return self._names[field][code] if code >= 0 else ""

    @cached_property
    def _by_image(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows sorted by their image, and the image ids in that order."""
        order = np.argsort(self._columns["image_id"], kind="stable")
        return order, self._columns["image_id"][order]

    def objects(self, image_id: int) -> Objects:
        """Return the objects of an image that have boxes in rows of the file, in any split.

        Raises:
            VGGymError: the file does not have this image, or a box is not in pixels and the image cannot be read.
        """
        order, images = self._by_image
        first, last = np.searchsorted(images, [image_id, image_id + 1])
        if first == last:
            raise VGGymError(f"{self.path} has no image {image_id}; image ids are those of its samples")
        columns, offsets = self._columns, self._columns["box.offsets"]
        counts = np.diff(offsets)[order[first:last]]
        rows = np.repeat(order[first:last], counts)
        places = np.repeat(offsets[order[first:last]] - (np.cumsum(counts) - counts), counts) + np.arange(len(rows))
        chosen = np.unique(columns["box_id"][places], return_index=True)[1]
        chosen = chosen[np.isfinite(columns["box"][places[chosen]]).all(axis=1)]
        pairs = [(columns["box"][place], row) for place, row in zip(places[chosen], rows[chosen].tolist(), strict=True)]
        boxes = [self._in_pixels(box[None], row, self._image(row))[0] for box, row in pairs]
        if np.isnan(boxes).any():
            self._image(pairs[0][1]).array()  # raises the error of this image
        categories = tuple(self._text_of("category", row) for _, row in pairs)
        ids = tuple(columns["box_id"][places[chosen]].tolist())
        return Objects(np.array(boxes, np.float32).reshape(-1, 4), categories, ids)


@lru_cache(None)
def _warn_once(text: str) -> None:
    """Warn once in a process; Python's own count restarts whenever filters change."""
    warnings.warn(text, stacklevel=2)


def open_own(name: str, split: str, root: str | None = None, **options: object) -> OwnData:
    """Open a user's file; this is the registry's factory for files.

    Args:
        name: path of a ``.jsonl``, ``.csv`` or ``.json`` file.
        split: name of a split; ``all`` for every row.
        root: folder of the image paths; by default the file's folder.
        **options: ``orientation``, see :class:`OwnData`.

    Raises:
        VGGymError: an option is unknown, or see :class:`OwnData`.
    """
    orientation = str(options.pop("orientation", UNKNOWN))
    if options:
        raise VGGymError(
            f"{name} takes no options but orientation, got {', '.join(sorted(options))}: leave them out "
            "(dataset_options=null removes all)"
        )
    return OwnData(Path(name), split, root, orientation)
