"""Array on disk in shards, which is written shard by shard, resumed after an interruption, and read without loading it.

A :class:`ShardedArray` is a folder of plain ``NAME-00000.npy`` files, each followed by the SHA-256 of its content. A
single rename makes a complete shard with its checksum visible. Writers on several machines therefore need no locks, and
a killed writer leaves no damaged shards.
"""

from __future__ import annotations

import hashlib
import io
import math
import operator
import os
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from vg_gym.errors import VGGymError
from vg_gym.runtime.command_stages import label
from vg_gym.storage.files import cache_place, fingerprint, make_folder, replacing
from vg_gym.storage.npy import read_npy

CHECKSUM_BYTES = hashlib.sha256().digest_size
"""Size of the checksum at the end of each file, in bytes."""
MAX_OPEN_SHARDS = 128
"""Maximum number of shards of an array that are mapped at a time; each takes a file descriptor."""
STALE_AFTER_S = 3600
"""Seconds after which an unchanged temporary file counts as that of a killed writer."""
COMPUTED_SHARD_BYTES = 2**25
"""Approximate size of the shards of :func:`computed`, in bytes."""


def even_sizes(count: int, size: int) -> list[int]:
    """Return the number of rows of each shard, ``size`` for all but the last.

    >>> even_sizes(10, 4)
    [4, 4, 2]
    """
    return [min(size, count - start) for start in range(0, count, size)]


class ShardedArray:
    """Rows of one shape and type in ``.npy`` shards, with ``array[i]``, ``array[indices]`` and ``len(array)``.

    The constructor reads and writes nothing. Objects of this class are cheap to pickle.

    Args:
        folder: folder of the shards.
        name: prefix of the files' names.
        sizes: number of rows of each shard.
        row_shape: shape of a row.
        dtype: type of the values.
    """

    def __init__(
        self, folder: Path, name: str, sizes: Sequence[int], row_shape: tuple[int, ...],
        dtype: type[np.generic] = np.float16,
    ):  # fmt: skip
        self.folder, self.name, self.sizes, self.dtype = Path(folder), name, tuple(sizes), np.dtype(dtype)
        self.row_shape = row_shape
        self._starts = np.cumsum([0, *self.sizes]).tolist()
        self._maps: dict[int, np.ndarray] = {}

    def __getstate__(self):
        return {**self.__dict__, "_maps": {}}  # a mapped array would be pickled with all its values

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape (rows, *row_shape)."""
        return (self._starts[-1], *self.row_shape)

    def __len__(self) -> int:
        """Return the number of rows, including those that are not yet written."""
        return self._starts[-1]

    def path(self, number: int) -> Path:
        """Return the file of a shard."""
        return self.folder / f"{self.name}-{number:05d}.npy"

    def span(self, number: int) -> tuple[int, int]:
        """Return the first row and the end row, exclusive, of a shard."""
        return self._starts[number], self._starts[number + 1]

    def file_size(self, number: int) -> int:
        """Return the size of a shard's complete file in bytes."""
        values = self.sizes[number] * math.prod(self.row_shape) * self.dtype.itemsize
        return len(self._header(number)) + values + CHECKSUM_BYTES

    def has(self, number: int) -> bool:
        """Return True if a shard exists in its full size."""
        try:
            return self.path(number).stat().st_size == self.file_size(number)
        except FileNotFoundError:
            return False

    def missing(self) -> list[int]:
        """Return the numbers of the shards that do not exist in their full size."""
        return [number for number in range(len(self.sizes)) if not self.has(number)]

    def verify(self) -> list[int]:
        """Read all existing shards, and return the numbers of the damaged ones."""
        present = [number for number in range(len(self.sizes)) if self.path(number).exists()]
        return [number for number in present if not (self.has(number) and is_intact(self.path(number)))]

    def clean(self) -> None:
        """Remove the temporary files of killed writers."""
        for part in self.folder.glob(f"{self.name}-*.part"):
            try:
                if time.time() - part.stat().st_mtime > STALE_AFTER_S:
                    part.unlink()
            except FileNotFoundError:  # its writer has just finished
                pass

    def write(self, number: int, rows: np.ndarray) -> None:
        """Write a shard atomically; among several writers the last one wins.

        Args:
            number: number of the shard.
            rows: rows (sizes[number], *row_shape), which are converted to the array's type.

        Raises:
            ValueError: the rows have another shape.
        """
        rows = np.ascontiguousarray(rows, dtype=self.dtype)
        if rows.shape != (self.sizes[number], *self.row_shape):
            raise ValueError(f"shard {number} has rows {(self.sizes[number], *self.row_shape)}, got {rows.shape}")
        make_folder(self.folder)
        header, values = self._header(number), rows.data.cast("B")
        digest = hashlib.sha256(header)
        digest.update(values)
        with replacing(self.path(number)) as part:
            with part.open("wb") as file:
                file.writelines([header, values, digest.digest()])
                file.flush()
                os.fsync(file.fileno())  # else a power cut may leave the name without the contents
        self._maps.pop(number, None)

    def shard(self, number: int) -> np.ndarray:
        """Return all rows of a shard, memory-mapped and read-only.

        Raises:
            VGGymError: the shard is missing, truncated, or has other rows; the message names the file and the remedy.
        """
        if number not in self._maps:
            if len(self._maps) >= MAX_OPEN_SHARDS:
                self._maps.clear()
            self._maps[number] = self._map(number)
        return self._maps[number]

    def __getitem__(self, index: int | np.integer | slice | Sequence[int] | np.ndarray) -> np.ndarray:
        """Return a row as a read-only view, or a copy of the rows of a slice or indices (N,), without negative ones."""
        if isinstance(index, slice):
            return self._gather(np.arange(*index.indices(len(self))))
        rows = np.asarray(index)
        if rows.ndim:
            return self._gather(rows if rows.size else rows.astype(np.intp))
        row = operator.index(rows.item())
        if not 0 <= row < len(self):
            raise IndexError(f"{self.name} has rows 0 to {len(self) - 1}, got {row}")
        number = bisect_right(self._starts, row) - 1
        return self.shard(number)[row - self._starts[number]]

    def _gather(self, rows: np.ndarray) -> np.ndarray:
        if rows.dtype.kind not in "iu" or rows.ndim != 1:
            raise IndexError(f"indices must be integers (N,), got {rows.dtype} {rows.shape}")
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(self):
            raise IndexError(f"{self.name} has rows 0 to {len(self) - 1}, got {rows.min()} to {rows.max()}")
        values = np.empty((len(rows), *self.row_shape), self.dtype)
        shards = np.searchsorted(self._starts, rows, side="right") - 1
        for number in np.unique(shards).tolist():
            places = np.flatnonzero(shards == number)
            values[places] = self.shard(number)[rows[places] - self._starts[number]]
        return values

    def _map(self, number: int) -> np.ndarray:
        path = self.path(number)
        remedy = "rerun the command that writes it, which adds the missing shards"
        try:
            whole = path.stat().st_size == self.file_size(number)
            rows = np.asarray(read_npy(path, "r"))
        except FileNotFoundError as error:
            raise VGGymError(f"no {path}; {remedy}") from error
        except (OSError, ValueError) as error:
            raise VGGymError(f"cannot read {path} ({error}); delete it and {remedy}") from error
        if not whole or rows.dtype != self.dtype or rows.shape != (self.sizes[number], *self.row_shape):
            expected = f"{(self.sizes[number], *self.row_shape)} {self.dtype}"
            raise VGGymError(f"{path} is truncated or is not {expected}; delete it and {remedy}")
        return rows

    def _header(self, number: int) -> bytes:
        header = io.BytesIO()
        shape = (self.sizes[number], *self.row_shape)
        descr = np.lib.format.dtype_to_descr(self.dtype)
        np.lib.format.write_array_header_1_0(header, {"descr": descr, "fortran_order": False, "shape": shape})
        return header.getvalue()


def is_intact(path: Path) -> bool:
    """Return True if the checksum at the end of a file agrees with its content."""
    digest, remaining = hashlib.sha256(), path.stat().st_size - CHECKSUM_BYTES
    with path.open("rb") as file:
        while block := file.read(min(2**20, remaining)):
            digest.update(block)
            remaining -= len(block)
        return file.read() == digest.digest()


def computed(
    identity: Sequence[str], row_shape: tuple[int, ...], count: int, make: Callable[[int, int], np.ndarray],
    what: str, progress: bool = True, dtype: type[np.generic] = np.float16, most: int | None = None,
) -> ShardedArray:  # fmt: skip
    """Read rows from the cache folder, after computing and writing those that are missing.

    An interrupted computation is resumed. Rows are always computed in the same shards, of about 32 MB or ``most`` rows.
    If the cache folder is not writable, the rows stay until this process ends (:func:`cache_place`).

    Args:
        identity: texts that identify all inputs of the rows.
        row_shape: shape of a row.
        count: number of rows.
        make: function from a range (start, end) of rows to their values (n, *row_shape).
        what: label of the progress bar.
        progress: show a progress bar.
        dtype: type of the values.
        most: maximum number of rows of a shard, for small rows that are slow to compute.
    """
    digest = fingerprint("\n".join([*identity, str(row_shape), str(count)]))
    size = max(8, COMPUTED_SHARD_BYTES // (np.dtype(dtype).itemsize * math.prod(row_shape)) // 8 * 8)
    size = min(size, most or size)
    rows = ShardedArray(cache_place("features", digest[:24]), "rows", even_sizes(count, size), row_shape, dtype)
    fill(rows, make, what, progress)
    return rows


def fill(rows: ShardedArray, make: Callable[[int, int], np.ndarray], what: str, progress: bool = True) -> None:
    """Compute the missing shards of an array; each is written as soon as it is complete.

    Args:
        rows: the array.
        make: function from a range (start, end) of rows to their values (n, *row_shape).
        what: label of the progress bar.
        progress: show a progress bar.
    """
    rows.clean()
    missing = rows.missing()
    done = len(rows) - sum(rows.sizes[number] for number in missing)
    with tqdm(desc=label(what), total=len(rows), initial=done, disable=not (progress and missing)) as bar:
        for number in missing:
            rows.write(number, make(*rows.span(number)))
            bar.update(rows.sizes[number])
