"""A compact index beside a large annotation file: columns as ``.npy`` arrays that later runs memory-map.

A function parses a source file once and returns named columns. They are written to a folder whose name is derived from
the function and the source's size and modification time, so that a changed source gets a new index. Strings are UTF-8
blobs with offsets, not pickles.
"""

from __future__ import annotations

import hashlib
import shutil
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from vg_gym.data.column_arrays import Columns
from vg_gym.storage.files import cache_folder, temporary_folder
from vg_gym.storage.npy import read_npy

FORMAT = 5
"""Version of the columns, part of an index's name; increase it when columns change their meaning."""
MIN_INDEXED_BYTES = 8 * 2**20
"""Size in bytes from which a source is indexed; parsing a smaller one is as fast as reading an index."""


def indexed(source: Path, build: Callable[[Path], Columns], beside: Sequence[Path] = ()) -> Columns:
    """Return the columns of ``source``: read them from its index, or build them and write the index.

    The index lies in ``.vg_gym_index`` beside the source or, if that cannot be written, in the user's cache
    (``$XDG_CACHE_HOME/vg_gym``). If neither can be written, a warning says so. Threads and processes may race: an
    index appears under its name only when complete.

    Args:
        source: annotation file.
        build: function that parses it into columns; it is called only without a valid index.
        beside: further files that it reads; they exist.
    """
    if source.stat().st_size < MIN_INDEXED_BYTES:
        return build(source)
    places = [folder / _name(source, build, beside) for folder in _folders(source)]
    for place in places:
        if (columns := _read(place)) is not None:
            return columns
    return _write_somewhere(places, build(source))


def _folders(source: Path) -> list[Path]:
    home = hashlib.sha256(str(source.parent.resolve()).encode()).hexdigest()[:16]
    return [source.parent / ".vg_gym_index", cache_folder() / "index" / home]


def _name(source: Path, build: Callable[[Path], Columns], beside: Sequence[Path]) -> str:
    states = [(state.st_size, state.st_mtime_ns) for state in (file.stat() for file in (source, *beside))]
    digest = hashlib.sha256(f"{FORMAT} {getattr(build, '__qualname__', build)} {states}".encode()).hexdigest()
    return f"{source.name}.{digest[:16]}"


def _read(place: Path) -> Columns | None:
    if not place.is_dir():
        return None
    try:
        return {path.stem: _load(path) for path in place.glob("*.npy")}
    except (OSError, ValueError, EOFError) as error:
        warnings.warn(f"the index {place} is damaged ({error}) and is built again", stacklevel=4)
        shutil.rmtree(place, ignore_errors=True)
        return None


def _load(path: Path) -> np.ndarray:
    # An empty array cannot be mapped; its file has only a header. The plain view indexes faster than a memmap.
    mode: Literal["r"] | None = "r" if path.stat().st_size > 128 else None
    return np.asarray(read_npy(path, mode))


def _write_somewhere(places: list[Path], columns: Columns) -> Columns:
    reasons = []
    for place in places:
        try:
            _write(place, columns)
            return _read(place) or columns  # the mapped columns, so that the built ones are freed
        except OSError as error:
            reasons.append(str(error))
    warnings.warn(f"no index could be written, so every opening is slow: {'; '.join(reasons)}", stacklevel=4)
    return columns


def _write(place: Path, columns: Columns) -> None:
    with temporary_folder(place) as part:
        for name, column in columns.items():
            np.save(part / f"{name}.npy", column, allow_pickle=False)
        try:
            part.rename(place)
        except OSError:
            if not place.is_dir():  # otherwise another process was first, and its index is equal
                raise
    _remove_old(place)


def _remove_old(place: Path) -> None:
    source_name = place.name.rpartition(".")[0]
    for other in place.parent.iterdir():
        if other != place and other.suffix != ".part" and other.name.rpartition(".")[0] == source_name:
            shutil.rmtree(other, ignore_errors=True)
