"""Images inside parquet files, which stay encoded until their pixels are needed."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from vg_gym.data.content import digest_of
from vg_gym.data.parquet_files import parquet_package
from vg_gym.data.pixels import UPRIGHT, chosen_orientation, opened, size_in, to_rgb
from vg_gym.errors import ImageError
from vg_gym.storage.lru_cache import LRUCache
from vg_gym.types import ArrayLike

MAX_CACHED_GROUPS = 2
"""Maximum number of row groups of encoded images in memory; on the hub a group has a few hundred images."""


@dataclass
class EncodedImages:
    """The encoded images of parquet files by row; each process opens the files at its first access."""

    files: tuple[Path, ...]
    column: str
    orientation: str = UPRIGHT
    """Pixels that boxes refer to, of :data:`vg_gym.data.pixels.ORIENTATIONS`, or unknown."""
    _groups: LRUCache[Any] = field(default_factory=lambda: LRUCache(MAX_CACHED_GROUPS), repr=False)
    _sizes: dict[int, tuple[int, int]] = field(default_factory=dict, repr=False)
    _digests: dict[int, str] = field(default_factory=dict, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        return {"files": self.files, "column": self.column, "orientation": self.orientation}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    @cached_property
    def _starts(self) -> list[tuple[int, int, int]]:
        """First row, file and number of every row group."""
        parquet, groups, row = parquet_package(), [], 0
        for number, path in enumerate(self.files):
            about = parquet.read_metadata(path)
            for group in range(about.num_row_groups):
                groups.append((row, number, group))
                row += about.row_group(group).num_rows
        return groups

    def read(self, row: int) -> bytes:
        """Return the encoded image of a row.

        Raises:
            ImageError: the row lacks an image.
        """
        at = np.searchsorted([start for start, _, _ in self._starts], row, side="right") - 1
        start, number, group = self._starts[at]
        loaded = self._groups.get_or_make([f"{number}/{group}"], lambda _: [self._load(number, group)])
        data = next(iter(loaded.values()))[row - start].as_py()
        if isinstance(data, list) and len(data) == 1:
            data = data[0]
        if isinstance(data, dict):
            data = data.get("bytes")
        if not data or not isinstance(data, bytes):
            raise ImageError(
                f"{self.files[number]} row {row - start} of group {group} has no image in {self.column!r}; give a "
                "column of encoded images, or a column of names by dataset_options.file_name and their folder by root="
            )
        return data

    def digest(self, row: int) -> str:
        """Return a hash of a row's encoded image, computed once; empty if the row lacks an image."""
        if row not in self._digests:
            try:
                self._digests[row] = digest_of(self.read(row))
            except ImageError:
                self._digests[row] = ""
        return self._digests[row]

    def size(self, row: int) -> tuple[int, int]:
        """Return (width, height) of a row's image from its header, read once."""
        if row not in self._sizes:
            name = f"{self.files[0].parent} row {row}"
            with opened(name, io.BytesIO(self.read(row))) as image:
                self._sizes[row] = size_in(image, chosen_orientation(image, self.orientation, None, name))
        return self._sizes[row]

    def array(self, row: int, name: str) -> np.ndarray:
        """Return the pixels of a row's image, uint8 RGB (H, W, 3); errors call it ``name``.

        Raises:
            ImageError: the image is missing or damaged, or its orientation is unknown.
        """
        with opened(name, io.BytesIO(self.read(row))) as image:
            return to_rgb(image, chosen_orientation(image, self.orientation, None, name))

    def _load(self, number: int, group: int) -> Any:
        """Load only the bytes of a row group, since the path beside them may name the target."""
        file = parquet_package().ParquetFile(self.files[number])
        leaves = [file.schema.column(leaf).path for leaf in range(len(file.schema))]
        inside = [leaf for leaf in leaves if leaf.startswith(f"{self.column}.") and leaf.endswith(".bytes")]
        return file.read_row_group(group, columns=inside or [self.column]).column(0).combine_chunks()


@dataclass(frozen=True)
class ParquetImage(ArrayLike):
    """An image in a parquet file; implements :class:`vg_gym.types.ImageRef`."""

    name: str
    """Path within the data set."""
    images: EncodedImages = field(repr=False)
    row: int

    @property
    def key(self) -> str:
        """Identity of the pixels: a hash of the encoded image, the orientation, and the name."""
        return f"{self.images.digest(self.row)}-{self.images.orientation}@{self.name}"

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels, from the header."""
        return self.images.size(self.row)

    def array(self) -> np.ndarray:
        """Return the pixels, uint8 RGB (H, W, 3).

        Raises:
            ImageError: the image is missing or damaged, or its orientation is unknown.
        """
        return self.images.array(self.row, self.name)
