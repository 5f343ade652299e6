"""Data sets of parquet files, as public copies of RefCOCO on the hub are laid out: ``dataset=hub:ORG/NAME[:SPLIT]``.

A row is a referent with its image, its box and one or several expressions; every expression is a sample. The columns of
two layouts are known (:data:`LAYOUTS`): that of ``lmms-lab/RefCOCOg`` (images inside, boxes as left, top, width,
height) and that of ``jxu124/refcocog`` (file names of COCO's images, boxes as corners). Others are named by options.
Images stay encoded in their files until they are asked for.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import repeat
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym.answers.frames import place
from vg_gym.data.images import FileImage
from vg_gym.data.pixels import UPRIGHT, opened, size_in, to_rgb
from vg_gym.data.refcoco import image_folders, without_suffix
from vg_gym.errors import DatasetNotFound, VGGymError, importing, unknown
from vg_gym.storage.files import fingerprint
from vg_gym.storage.lru_cache import LRUCache
from vg_gym.types import ImageRef, Objects, Query, Sample

ALIASES = {"val": ("val", "validation", "dev"), "validation": ("validation", "val", "dev")}
"""Splits that go by several names."""
GROUPS = 2
"""Row groups of encoded images that are kept; one of the hub's has some hundred images."""
AT_A_TIME = 2**14
"""Rows of a column that are Python objects together."""
NO_CATEGORY = "object"
"""Category of what names none."""
BOX_FORMATS = ("xyxy", "xywh")
"""Corners; or left, top, width, height."""


@dataclass(frozen=True)
class Layout:
    """Names of columns; an empty one is not there."""

    image: str = ""
    """Encoded images: bytes, or the hub's struct of bytes and path."""
    file_name: str = ""
    """File name of the image; images are told apart by it."""
    expressions: str = ""
    """A text, a list of texts, or a list of structs with a text ``sent`` or ``raw``."""
    box: str = ""
    """Four numbers."""
    box_format: str = ""
    """One of :data:`BOX_FORMATS`."""
    frame: str = "pixels"
    """Of the box, a key of :data:`vg_gym.answers.frames.FRAMES`."""
    category: str = ""
    """Name of the category."""
    ref_id: str = ""
    """Number of the referent."""
    ann_id: str = ""
    """Number of the annotation."""
    image_id: str = ""
    """Number of the image."""
    sent_ids: str = ""
    """Numbers of the expressions."""


LAYOUTS: dict[str, Layout] = {
    "lmms-lab": Layout(
        "image", "file_name", "answer", "bbox", "xywh", ann_id="question_id"
    ),
    "jxu124": Layout(
        "", "image_path", "captions", "bbox", "xyxy", ref_id="ref_id", ann_id="ann_id", image_id="image_id",
        sent_ids="sent_ids",
    ),
}  # fmt: skip
"""Known layouts: the columns of the public copies of RefCOCO, RefCOCO+ and RefCOCOg by these publishers."""


def chosen_layout(columns: Sequence[str], options: Mapping[str, str], where: str) -> Layout:
    """The known layout whose columns are all there, with the given ones in place of its own.

    Args:
        columns: names of those that there are.
        options: fields of :class:`Layout`.
        where: what is read, for errors.

    Raises:
        VGGymError: a field or a column is unknown, or image, expressions, box or its format are not known.
    """
    for name in options:
        if name not in Layout.__dataclass_fields__:
            raise unknown("data set option", name, [*Layout.__dataclass_fields__, "revision"])
    optional = ("frame", "box_format")
    fits = (
        layout
        for layout in LAYOUTS.values()
        if all(name in columns for key, name in vars(layout).items() if name and key not in (*optional, *options))
    )
    layout = Layout(**{**vars(next(fits, Layout())), **options})
    for key, name in vars(layout).items():
        if name and key not in optional and name not in columns:
            raise unknown(f"column of {where}", name, columns)
    lacking = [key for key in ("expressions", "box", "box_format") if not getattr(layout, key)]
    lacking += [] if layout.image or layout.file_name else ["image"]
    if lacking:
        given = " ".join(f"dataset_options.{key}=..." for key in lacking)
        raise VGGymError(
            f"{where} has the columns {', '.join(columns)}, which are of no known layout; say which is what: {given} "
            f"(box_format: {' or '.join(BOX_FORMATS)})"
        )
    if layout.box_format not in BOX_FORMATS:
        raise unknown("box format", layout.box_format, BOX_FORMATS)
    return layout


@dataclass
class EncodedImages:
    """The encoded images of some parquet files, by row; opened when first asked for, here or in another process."""

    files: tuple[Path, ...]
    column: str
    _groups: LRUCache[Any] = field(default_factory=lambda: LRUCache(GROUPS), repr=False)
    _sizes: dict[int, tuple[int, int]] = field(default_factory=dict, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        return {"files": self.files, "column": self.column}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    @cached_property
    def _starts(self) -> list[tuple[int, int, int]]:
        """First row, file and number of every row group."""
        parquet, found, row = parquet_package(), [], 0
        for number, path in enumerate(self.files):
            about = parquet.read_metadata(path)
            for group in range(about.num_row_groups):
                found.append((row, number, group))
                row += about.row_group(group).num_rows
        return found

    def read(self, row: int) -> bytes:
        """The encoded image of a row.

        Raises:
            VGGymError: the row has none.
        """
        at = np.searchsorted([start for start, _, _ in self._starts], row, side="right") - 1
        start, number, group = self._starts[at]
        loaded = self._groups.get_or_make([f"{number}/{group}"], lambda _: [self._load(number, group)])
        found = next(iter(loaded.values()))[row - start].as_py()
        data = found.get("bytes") if isinstance(found, dict) else found
        if not data:
            raise VGGymError(f"{self.files[number]} row {row - start} of group {group} has no image")
        return data

    def size(self, row: int) -> tuple[int, int]:
        """(width, height) of a row's image, upright, from its header; read once."""
        if row not in self._sizes:
            with opened(f"{self.files[0].parent} row {row}", io.BytesIO(self.read(row))) as image:
                self._sizes[row] = size_in(image, UPRIGHT)
        return self._sizes[row]

    def _load(self, number: int, group: int) -> Any:
        file = parquet_package().ParquetFile(self.files[number])
        return file.read_row_group(group, columns=[self.column]).column(0).combine_chunks()


@dataclass(frozen=True)
class ParquetImage:
    """An image in a parquet file; implements :class:`vg_gym.types.ImageRef`."""

    key: str
    """Identity of the pixels."""
    images: EncodedImages = field(repr=False)
    row: int

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels, upright, from the header."""
        return self.images.size(self.row)

    def array(self) -> np.ndarray:
        """The pixels, uint8 RGB (H, W, 3).

        Raises:
            VGGymError: the image is missing or damaged.
        """
        with opened(self.key, io.BytesIO(self.images.read(self.row))) as image:
            return to_rgb(image)


class ParquetDataset(Sequence[Sample]):
    """A split of a data set of parquet files: one sample per expression, in the order of the rows.

    Args:
        name: of the data set.
        split: name of the split.
        folder: of the files, whose names or folders begin with the name of their split.
        root: folder of images, where the files hold their names alone.
        **columns: fields of :class:`Layout` in place of those of the known layouts.

    Raises:
        VGGymError: there is no such split, the columns are not known, or images are asked for and there is no ``root``.
    """

    def __init__(self, name: str, split: str, folder: Path, root: str | Path | None = None, **columns: str):
        self.name, self.split = name, split
        files = split_files(folder, split)
        schema = parquet_package().read_schema(files[0]).names
        self._layout = layout = chosen_layout(schema, columns, str(folder))
        if not layout.image and root is None:
            raise DatasetNotFound(f"{name} holds names of images alone: give root=, the folder with COCO's train2014")
        wanted = {v for k, v in vars(layout).items() if v and k not in ("image", "frame", "box_format")}
        self._table = _read_table(files, sorted(wanted))
        self._images = EncodedImages(tuple(files), layout.image) if layout.image else None
        self._folders = image_folders(Path(root)) if root is not None else []
        self._digest = fingerprint(*((file.name, file.stat().st_size) for file in files))[:12]
        counts = (len(_texts(value)) for value in self._values("expressions"))
        self._starts = np.append(0, np.cumsum(np.fromiter(counts, np.int64, len(self._table))))
        """First sample of every row, and the number of samples."""

    def __len__(self) -> int:
        """Number of samples (expressions)."""
        return int(self._starts[-1])

    def __getitem__(self, index: Any) -> Any:
        """Sample ``index``, or the list of samples of a slice.

        Raises:
            VGGymError: its box is empty, or outside its image.
        """
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        position = range(len(self))[index]
        row = int(np.searchsorted(self._starts, position, side="right")) - 1
        number = position - int(self._starts[row])
        image = self._image(row)
        sentences = self._value("sent_ids", row)
        return Sample(
            query=Query(
                image, _texts(self._value("expressions", row))[number], f"{self._digest}/{self.split}/{position}"
            ),
            box=self._box(row, image),
            category=self._category(row),
            ref_id=int(self._value("ref_id", row, row)),
            ann_id=int(self._value("ann_id", row, row)),
            sent_id=int(sentences[number]) if isinstance(sentences, list) and len(sentences) > number else position,
            image_id=int(self._image_ids[row]),
            split=self.split,
        )

    @property
    def categories(self) -> tuple[str, ...]:
        """Every category name of the split, sorted."""
        if not self._layout.category:
            return (NO_CATEGORY,)
        return tuple(sorted({_category(name) for name in self._table[self._layout.category].unique().to_pylist()}))

    def objects(self, image_id: int) -> Objects:
        """The referents of an image; other objects are not in such files.

        Raises:
            VGGymError: there is no such image.
        """
        rows = np.flatnonzero(self._image_ids == image_id).tolist()
        if not rows:
            raise VGGymError(f"{self.name} has no image {image_id}; image ids are those of its samples")
        first = {self._box(row, self._image(row)).tobytes(): row for row in reversed(rows)}  # a referent has many rows
        rows = sorted(first.values())
        boxes = np.stack([self._box(row, self._image(row)) for row in rows])
        numbers = tuple(int(self._value("ann_id", row, row)) for row in rows)
        return Objects(boxes, tuple(self._category(row) for row in rows), numbers)

    def _value(self, field: str, row: int, default: Any = None) -> Any:
        column = getattr(self._layout, field)
        found = self._table[column][row].as_py() if column else None
        return default if found is None else found

    def _values(self, field: str) -> Iterator[Any]:
        """All values of a column, a few of them in memory; None where there is no such column."""
        column = getattr(self._layout, field)
        if not column:
            return repeat(None, len(self._table))
        batches = self._table.select([column]).to_batches(AT_A_TIME)
        return (value for batch in batches for value in batch.column(0).to_pylist())

    def _category(self, row: int) -> str:
        return _category(self._value("category", row))

    def _file_name(self, row: int) -> str:
        return _file_name(self._value("file_name", row), row)

    @cached_property
    def _image_ids(self) -> np.ndarray:
        """The number of the image of every row (R,): the file's, else counted by file name."""
        if self._layout.image_id:
            return np.fromiter(map(int, self._values("image_id")), np.int64, len(self._table))
        numbers: dict[str, int] = {}
        names = (_file_name(name, row) for row, name in enumerate(self._values("file_name")))
        return np.fromiter((numbers.setdefault(name, len(numbers)) for name in names), np.int64, len(self._table))

    def _image(self, row: int) -> ImageRef:
        name = self._file_name(row)
        if self._images is not None:
            return ParquetImage(f"{self._digest}/{name}", self._images, row)
        first, *others = [folder / name for folder in self._folders]
        return FileImage(first, f"{self._digest}/{name}", None, tuple(others))

    def _box(self, row: int, image: ImageRef) -> np.ndarray:
        said = np.asarray(self._value("box", row), dtype=np.float64)
        corners = box_ops.from_xywh(said) if self._layout.box_format == "xywh" else said
        box = place(corners.tolist(), self._layout.frame, image.size)
        if box is None:
            raise VGGymError(
                f"{self.name}/{self.split} row {row}: the box {said.tolist()} is not inside its image of {image.size}; "
                "check dataset_options.box_format and dataset_options.frame"
            )
        return box


def _texts(value: Any) -> list[str]:
    """The expressions of a row."""
    several = value if isinstance(value, list) else [value]
    texts = [(v.get("sent") or v.get("raw") or "") if isinstance(v, dict) else (v or "") for v in several]
    return [text.strip() for text in texts if text.strip()]


def _category(name: Any) -> str:
    return NO_CATEGORY if name is None else str(name)


def _file_name(name: Any, row: int) -> str:
    return without_suffix(PurePosixPath(str(f"row {row}" if name is None else name)).name)


def parquet_package() -> Any:
    """``pyarrow.parquet``.

    Raises:
        VGGymError: it is not installed.
    """
    with importing("data sets of parquet files", "pyarrow", "foundation"):
        import pyarrow.parquet
    return pyarrow.parquet


def _read_table(files: Sequence[Path], names: Sequence[str]) -> Any:
    """Columns of all files together, as Arrow holds them; images are not among them."""
    import pyarrow

    tables = [parquet_package().read_table(file, columns=list(names)) for file in files]
    return pyarrow.concat_tables(tables, promote_options="permissive").combine_chunks()


def split_files(folder: Path, split: str) -> list[Path]:
    """The files of a split: ``test-00000-of-00002.parquet``, ``test.parquet``, or in a folder ``test``, sorted.

    Raises:
        VGGymError: there are none; names the splits that there are.
    """
    files = sorted(folder.rglob("*.parquet"))
    if not files:
        raise VGGymError(f"no parquet files in {folder}; give the folder that holds them")
    by_split: dict[str, list[Path]] = {}
    for file in files:
        inside = file.relative_to(folder).parts[:-1]
        stem = file.stem.split("-")[0]
        by_split.setdefault(inside[-1] if stem.isdigit() and inside else stem, []).append(file)
    for name in ALIASES.get(split, (split,)):
        if name in by_split:
            return by_split[name]
    raise VGGymError(f"{folder} has no split {split!r}; it has {', '.join(by_split)}")


def fetch(repository: str, split: str, revision: str | None = None) -> Path:
    """The parquet files of a split of a data set on the hub, fetched once.

    Args:
        repository: ``ORG/NAME``.
        split: name of the split.
        revision: commit, tag or branch; default: the main one.

    Raises:
        VGGymError: huggingface_hub is missing, the hub cannot be reached, or has no such data set.
    """
    with importing(f"hub:{repository}", "huggingface_hub", "foundation"):
        import huggingface_hub
    shapes = ("*{}-*.parquet", "*{}/*.parquet", "*{}.parquet")
    patterns = [shape.format(name) for name in ALIASES.get(split, (split,)) for shape in shapes]
    try:
        return Path(
            huggingface_hub.snapshot_download(
                repository, repo_type="dataset", revision=revision, allow_patterns=patterns
            )
        )
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise VGGymError(
            f"no data set {repository!r} from the hub: {reason}. Without hub access give a folder of its parquet "
            "files: hub:/path/to/folder"
        ) from error


def open_hub(name: str, split: str, root: str | Path | None = None, **options: str) -> ParquetDataset:
    """Factory of the registry for ``hub:ORG/NAME[:SPLIT]`` and ``hub:/folder/of/parquet[:SPLIT]``.

    Args:
        name: the data set; SPLIT is what stands for ``test``, which is evaluated by default.
        split: name of the split.
        root: folder of images, where the files hold their names alone.
        **options: ``revision`` on the hub, and fields of :class:`Layout`.

    Raises:
        VGGymError: there is no such data set or split, or its columns are not known.
    """
    revision = options.pop("revision", None)
    where, _, stands_for_test = name.partition(":")[2].partition(":")
    if stands_for_test and split == "test":
        split = stands_for_test
    if where and Path(where).is_dir():
        return ParquetDataset(name, split, Path(where), root, **options)
    if not where or where.startswith((".", "/", "~")) or where.count("/") != 1:
        raise VGGymError(f"{name!r} is no folder, and no data set on the hub: hub:ORG/NAME or hub:/folder/of/parquet")
    return ParquetDataset(name, split, fetch(where, split, revision), root, **options)
