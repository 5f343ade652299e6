"""A compact index beside a large annotation file: columns as ``.npy`` arrays, memory-mapped at the next opening.

A source file is parsed once, by a function that returns named columns; they are written to a folder whose name is
derived from the source's size and modification time, so that a changed source gets a new index. No pickles: strings are
UTF-8 blobs with offsets.
"""

from __future__ import annotations

import hashlib
import shutil
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal

import numpy as np

from vg_gym.storage.files import cache_folder, temporary_folder
from vg_gym.storage.npy import read_npy

Columns = dict[str, np.ndarray]
"""Name -> column."""

FORMAT = 3
"""Part of an index's name; raise it when the columns change their meaning."""
SMALL = 8 * 2**20
"""Sources below this many bytes are parsed at every opening: it takes no longer than to read an index."""


class Strings:
    """A column of strings, stored as one UTF-8 blob and the offsets (N + 1) of its parts."""

    def __init__(self, columns: Columns, name: str):
        self._blob, self._offsets = columns[f"{name}.utf8"], columns[f"{name}.offsets"]

    def __len__(self) -> int:
        """Number of strings."""
        return len(self._offsets) - 1

    def __getitem__(self, index: int) -> str:
        """String ``index``."""
        return self._blob[self._offsets[index] : self._offsets[index + 1]].tobytes().decode("utf-8")

    @staticmethod
    def pack(name: str, texts: Iterable[str]) -> Columns:
        """The two columns that hold ``texts`` under ``name``."""
        parts = [text.encode("utf-8", "replace") for text in texts]
        offsets = np.cumsum([0, *map(len, parts)], dtype=np.int64)
        return {f"{name}.utf8": np.frombuffer(b"".join(parts), np.uint8), f"{name}.offsets": offsets}


def indexed(source: Path, build: Callable[[Path], Columns]) -> Columns:
    """The columns that ``build`` makes of ``source``, from its index if there is one; else made, and the index written.

    The index lies in ``.vg_gym_index`` beside the source or, where that cannot be written, in the user's cache
    (``$XDG_CACHE_HOME/vg_gym``). Where neither can be written a warning says so. Threads and processes may race: an
    index appears under its name complete or not at all.

    Args:
        source: the annotation file.
        build: parses it into columns; runs only when there is no valid index.
    """
    if source.stat().st_size < SMALL:
        return build(source)
    places = [folder / _name(source) for folder in _folders(source)]
    for place in places:
        if (columns := _read(place)) is not None:
            return columns
    return _write_somewhere(places, build(source))


def _folders(source: Path) -> list[Path]:
    home = hashlib.sha256(str(source.parent.resolve()).encode()).hexdigest()[:16]
    return [source.parent / ".vg_gym_index", cache_folder() / "index" / home]


def _name(source: Path) -> str:
    state = source.stat()
    digest = hashlib.sha256(f"{FORMAT} {state.st_size} {state.st_mtime_ns}".encode()).hexdigest()
    return f"{source.name}.{digest[:16]}"


def _read(place: Path) -> Columns | None:
    if not place.is_dir():
        return None
    try:
        return {path.stem: _load(path) for path in place.glob("*.npy")}
    except (OSError, ValueError, EOFError) as error:
        warnings.warn(f"the index {place} is damaged ({error}) and is made anew", stacklevel=4)
        shutil.rmtree(place, ignore_errors=True)
        return None


def _load(path: Path) -> np.ndarray:
    # An empty array cannot be mapped; its file is a header alone. The plain view indexes faster than a memmap.
    mode: Literal["r"] | None = "r" if path.stat().st_size > 128 else None
    return np.asarray(read_npy(path, mode))


def _write_somewhere(places: list[Path], columns: Columns) -> Columns:
    reasons = []
    for place in places:
        try:
            _write(place, columns)
            return _read(place) or columns  # mapped: what was built is let go
        except OSError as error:
            reasons.append(str(error))
    warnings.warn(f"no index could be written, every opening will be slow: {'; '.join(reasons)}", stacklevel=4)
    return columns


def _write(place: Path, columns: Columns) -> None:
    with temporary_folder(place) as part:
        for name, column in columns.items():
            np.save(part / f"{name}.npy", column, allow_pickle=False)
        try:
            part.rename(place)
        except OSError:
            if not place.is_dir():  # else another process was first, and its index is as good
                raise
    _remove_old(place)


def _remove_old(place: Path) -> None:
    source_name = place.name.rpartition(".")[0]
    for other in place.parent.iterdir():
        if other != place and other.suffix != ".part" and other.name.rpartition(".")[0] == source_name:
            shutil.rmtree(other, ignore_errors=True)
