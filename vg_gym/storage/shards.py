"""An array on disk in pieces: made piece by piece, resumed where it was cut off, read without loading it.

A :class:`ShardedArray` is a folder of plain ``NAME-00000.npy`` files, each followed by the SHA-256 of all that stands
before it. A shard appears under its name complete or not at all, in one rename, its checksum within; so writers on
several machines need no locks, and a killed one leaves nothing to repair.
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
from vg_gym.storage.files import cache_place, fingerprint, make_folder, replacing
from vg_gym.storage.npy import read_npy

CHECKSUM_BYTES = hashlib.sha256().digest_size
"""At the end of each file, of all that stands before."""
OPEN_SHARDS = 128
"""Most shards of an array that are mapped at a time; each holds a file descriptor."""
STALE = 3600
"""Seconds after which an unchanged temporary file counts as left by a killed writer."""
COMPUTED_BYTES = 2**25
"""About the size of the shards of :func:`computed`."""


def even_sizes(count: int, size: int) -> list[int]:
    """Rows of each shard where all but the last have ``size``.

    >>> even_sizes(10, 4)
    [4, 4, 2]
    """
    return [min(size, count - start) for start in range(0, count, size)]


class ShardedArray:
    """Rows of one shape and type in ``.npy`` shards; ``array[i]``, ``array[indices]``, ``len(array)``.

    Nothing is read or written until asked for. Objects of this class are cheap to pickle.

    Args:
        folder: where the shards lie.
        name: how their files' names begin.
        sizes: rows of each shard.
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
        """(rows, *row_shape)."""
        return (self._starts[-1], *self.row_shape)

    def __len__(self) -> int:
        """Number of rows, there or not."""
        return self._starts[-1]

    def path(self, number: int) -> Path:
        """The file of a shard."""
        return self.folder / f"{self.name}-{number:05d}.npy"

    def span(self, number: int) -> tuple[int, int]:
        """(first row, row after the last) of a shard."""
        return self._starts[number], self._starts[number + 1]

    def file_size(self, number: int) -> int:
        """Size of a shard's file."""
        values = self.sizes[number] * math.prod(self.row_shape) * self.dtype.itemsize
        return len(self._header(number)) + values + CHECKSUM_BYTES

    def has(self, number: int) -> bool:
        """Is the shard there, at its full size?"""
        try:
            return self.path(number).stat().st_size == self.file_size(number)
        except FileNotFoundError:
            return False

    def missing(self) -> list[int]:
        """Numbers of the shards that are not there, or not at their full size."""
        return [number for number in range(len(self.sizes)) if not self.has(number)]

    def verify(self) -> list[int]:
        """Numbers of the shards that are there but are not what was written; reads all of them."""
        present = [number for number in range(len(self.sizes)) if self.path(number).exists()]
        return [number for number in present if not (self.has(number) and is_intact(self.path(number)))]

    def clean(self) -> None:
        """Remove what killed writers left."""
        for part in self.folder.glob(f"{self.name}-*.part"):
            try:
                if time.time() - part.stat().st_mtime > STALE:
                    part.unlink()
            except FileNotFoundError:  # its writer lives, and has just finished
                pass

    def write(self, number: int, rows: np.ndarray) -> None:
        """Write a shard, whole or not at all; of several writers at once the last one wins.

        Args:
            number: which.
            rows: its rows, (sizes[number], *row_shape); converted to the array's type.

        Raises:
            ValueError: the rows are of another shape.
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
        """All rows of a shard, mapped, read-only.

        Raises:
            VGGymError: it is not there, cut short, or of other rows; names the file and the remedy.
        """
        if number not in self._maps:
            if len(self._maps) >= OPEN_SHARDS:
                self._maps.clear()
            self._maps[number] = self._map(number)
        return self._maps[number]

    def __getitem__(self, index: int | np.integer | slice | Sequence[int] | np.ndarray) -> np.ndarray:
        """A row (a read-only view), or the rows (a copy) of a slice or of indices (N,). Negative ones are refused."""
        if isinstance(index, slice):
            return self._gather(np.arange(*index.indices(len(self))))
        rows = np.asarray(index)
        if rows.ndim:
            return self._gather(rows if rows.size else rows.astype(np.intp))
        row = operator.index(rows.item())
        if not 0 <= row < len(self):
            raise IndexError(f"{self.name} has rows 0 to {len(self) - 1}, asked for {row}")
        number = bisect_right(self._starts, row) - 1
        return self.shard(number)[row - self._starts[number]]

    def _gather(self, rows: np.ndarray) -> np.ndarray:
        if rows.dtype.kind not in "iu" or rows.ndim != 1:
            raise IndexError(f"indices must be integers (N,), got {rows.dtype} {rows.shape}")
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(self):
            raise IndexError(f"{self.name} has rows 0 to {len(self) - 1}, asked for {rows.min()} to {rows.max()}")
        found = np.empty((len(rows), *self.row_shape), self.dtype)
        shards = np.searchsorted(self._starts, rows, side="right") - 1
        for number in np.unique(shards).tolist():
            here = np.flatnonzero(shards == number)
            found[here] = self.shard(number)[rows[here] - self._starts[number]]
        return found

    def _map(self, number: int) -> np.ndarray:
        path = self.path(number)
        remedy = "run again what makes it; only what is missing is made"
        try:
            whole = path.stat().st_size == self.file_size(number)
            rows = np.asarray(read_npy(path, "r"))
        except FileNotFoundError as error:
            raise VGGymError(f"no {path}; {remedy}") from error
        except (OSError, ValueError) as error:
            raise VGGymError(f"cannot read {path} ({error}); delete it and {remedy}") from error
        if not whole or rows.dtype != self.dtype or rows.shape != (self.sizes[number], *self.row_shape):
            expected = f"{(self.sizes[number], *self.row_shape)} {self.dtype}"
            raise VGGymError(f"{path} is cut short or is not {expected}; delete it and {remedy}")
        return rows

    def _header(self, number: int) -> bytes:
        header = io.BytesIO()
        shape = (self.sizes[number], *self.row_shape)
        descr = np.lib.format.dtype_to_descr(self.dtype)
        np.lib.format.write_array_header_1_0(header, {"descr": descr, "fortran_order": False, "shape": shape})
        return header.getvalue()


def is_intact(path: Path) -> bool:
    """Does the checksum at the end of a file agree with what stands before it?"""
    digest, left = hashlib.sha256(), path.stat().st_size - CHECKSUM_BYTES
    with path.open("rb") as file:
        while block := file.read(min(2**20, left)):
            digest.update(block)
            left -= len(block)
        return file.read() == digest.digest()


def computed(
    identity: Sequence[str], row_shape: tuple[int, ...], count: int, make: Callable[[int, int], np.ndarray],
    what: str, progress: bool = True, dtype: type[np.generic] = np.float16, most: int | None = None,
) -> ShardedArray:  # fmt: skip
    """Rows kept in the cache folder: from there as far as they are there, else computed and put there.

    What is interrupted goes on where it was. Rows are always made in the same pieces, of about 32 MB or ``most`` rows.
    Where the cache folder takes no files, they are kept until this process ends (:func:`cache_place`).

    Args:
        identity: what the rows are a function of.
        row_shape: shape of a row.
        count: number of rows.
        make: computes the rows from the first number to before the second, (n, *row_shape).
        what: label of the progress bar.
        progress: show a bar.
        dtype: type of the values.
        most: rows of a piece at most, where they are small and take long.
    """
    digest = fingerprint("\n".join([*identity, str(row_shape), str(count)]))
    size = max(8, COMPUTED_BYTES // (np.dtype(dtype).itemsize * math.prod(row_shape)) // 8 * 8)
    size = min(size, most or size)
    rows = ShardedArray(cache_place("features", digest[:24]), "rows", even_sizes(count, size), row_shape, dtype)
    fill(rows, make, what, progress)
    return rows


def fill(rows: ShardedArray, make: Callable[[int, int], np.ndarray], what: str, progress: bool = True) -> None:
    """Make the shards of an array that are missing; each is kept when it is done.

    Args:
        rows: the array.
        make: computes the rows from the first number to before the second, (n, *row_shape).
        what: label of the progress bar.
        progress: show a bar.
    """
    rows.clean()
    missing = rows.missing()
    done = len(rows) - sum(rows.sizes[number] for number in missing)
    with tqdm(desc=what, total=len(rows), initial=done, disable=not (progress and missing)) as bar:
        for number in missing:
            rows.write(number, make(*rows.span(number)))
            bar.update(rows.sizes[number])
