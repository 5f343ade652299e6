"""Atomic writing of files and folders, and the cache folder."""

from __future__ import annotations

import atexit
import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any

from vg_gym.errors import CannotWrite, VGGymError

NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
"""Error numbers of a full disk."""
PART = ".part"
"""Suffix of incomplete files."""
PROBE_BYTES = 2**16
"""Size of the temporary file that tests whether a folder is writable."""


@contextmanager
def writing(path: Path | str) -> Iterator[None]:
    """Turn a system error of a block that writes to ``path`` into an error with the path and the reason.

    Raises:
        CannotWrite: the disk is full, the folder is read-only or belongs to another user, or a file is in place of a
            folder.
    """
    try:
        yield
    except (VGGymError, BrokenPipeError):
        raise
    except Exception as error:
        number = _errno(error)
        if number is None:
            raise
        remedy = "free some space there, or name another place" if number in NO_SPACE else "name another place"
        raise CannotWrite(f"cannot write {path}: {os.strerror(number)}; {remedy}") from error


def _errno(error: BaseException) -> int | None:
    """Return the error number of a system error, also of one that torch or safetensors wraps in its own."""
    if isinstance(error, OSError):
        return error.errno
    if match := re.search(r"os error (\d+)", str(error)):
        return int(match.group(1))
    inner = error.__context__
    return inner.errno if isinstance(error, RuntimeError) and isinstance(inner, OSError) else None


def make_folder(path: Path) -> Path:
    """Create a folder and its parents if missing, and return it.

    Raises:
        CannotWrite: the folder cannot be created.
    """
    with writing(path):
        path.mkdir(parents=True, exist_ok=True)
    return path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``, which is renamed to ``path`` at the end and removed after an error.

    Raises:
        CannotWrite: the file cannot be written.
    """
    part = path.with_name(f"{path.name}.{secrets.token_hex(4)}{PART}")  # other processes may write the same file
    try:
        with writing(path):
            yield part
            part.replace(path)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


@contextmanager
def temporary_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder on the disk of ``path``, so that it or a part of it can be renamed to ``path``.

    The folder and its remaining content are removed at the end. Missing parents of ``path`` are created.

    Raises:
        CannotWrite: the folder cannot be created or written.
    """
    make_folder(path.parent)
    with writing(path), TemporaryDirectory(prefix=f".{path.name}.", suffix=".part", dir=path.parent) as around:
        part = Path(around) / path.name  # a subfolder, because only the owner may read a temporary folder itself
        part.mkdir()
        yield part


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder, which replaces ``path`` at the end and is removed after an error.

    A reader of ``path`` finds either the complete old folder or the complete new one, except for a moment between two
    renames in which ``path`` is missing. After a crash in that moment :func:`recover_folder` restores the old folder.
    """
    recover_folder(path)
    with temporary_folder(path) as part:
        yield part
        if path.exists():
            path.rename(_old(path))
        try:
            part.rename(path)
        finally:
            recover_folder(path)


def recover_folder(path: Path) -> None:
    """Finish an interrupted replacement of a folder: restore the old folder, or delete it if the new one exists.

    Only the writer of the folder may call this function.
    """
    if (old := _old(path)).exists():
        if path.exists():
            shutil.rmtree(old)
        else:
            old.rename(path)


def _old(path: Path) -> Path:
    """Return the place of a folder's old content during its replacement."""
    return path.with_name(f".{path.name}.old")


def cache_folder() -> Path:
    """Return the folder of computed and downloaded files: ``$XDG_CACHE_HOME/vg_gym`` or ``~/.cache/vg_gym``."""
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vg_gym"
    except RuntimeError:  # HOME is not set, and the system does not know this user
        return _folder_of_this_process("this user has no home folder")


def cache_place(*names: str) -> Path:
    """Return a path in the cache folder.

    If the path does not exist and the cache folder is not writable, the path is in a temporary folder of this process
    instead; the first such call warns.
    """
    folder = cache_folder()
    refusal = None if folder.joinpath(*names).exists() else _refusal(folder)
    return (folder if refusal is None else _folder_of_this_process(refusal)).joinpath(*names)


def go_on_without_cache(error: CannotWrite) -> None:
    """Warn that a result cannot be written to the cache folder, and is computed without it."""
    warnings.warn(f"{str(error).partition(';')[0]}, so the run continues without the cache, slower", stacklevel=3)


def check_writable(folder: Path) -> None:
    """Create a folder if missing, and test it by writing and removing a temporary file.

    Raises:
        CannotWrite: the folder cannot be created or written.
    """
    make_folder(folder)
    with writing(folder), TemporaryFile(dir=folder) as file:
        file.write(bytes(PROBE_BYTES))
        file.flush()


def _refusal(folder: Path) -> str | None:
    """Return the reason why a folder is not writable, or None if it is."""
    try:
        check_writable(folder)
        return None
    except CannotWrite as error:
        return str(error).partition(";")[0]


def _folder_of_this_process(why: str) -> Path:
    if not _temporary_cache.cache_info().currsize:
        warnings.warn(
            f"{why}, so computed features are kept for this run only, and the next run computes them again: "
            "set XDG_CACHE_HOME to a writable folder",
            stacklevel=4,
        )
    return Path(_temporary_cache().name)


@lru_cache(1)
def _temporary_cache() -> TemporaryDirectory[str]:
    """Return the temporary cache folder of this process, which is removed when the process ends."""
    with writing("a temporary folder"):
        folder = TemporaryDirectory(prefix="vg_gym-cache-")
    atexit.register(folder.cleanup)
    return folder


def change_mark(path: Path) -> str:
    """Return the time of a file's last change and its size as text; empty for a missing file."""
    try:
        about = os.stat(path)
    except OSError:
        return ""
    return f"{about.st_mtime_ns:x}-{about.st_size:x}@"


def place_mark(*names: str) -> str:
    """Return the files at some paths with their change marks, as text; empty if none of the paths exists."""
    marks = []
    for path in filter(None, map(find_place, names)):
        marks += [f"{change_mark(file)}{file.resolve()}" for file in _files_of(path)]
    return "\n".join(marks)


def _files_of(path: Path) -> list[Path]:
    """Return the sorted files of a folder, or the one file of another path."""
    return sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]


def find_place(name: str) -> Path | None:
    """Return the file or folder at a path, or None if it does not exist."""
    try:
        path = Path(name).expanduser()
        return path if name and path.exists() else None
    except (OSError, ValueError, RuntimeError):
        return None


def fingerprint(*parts: object) -> str:
    """Return a hash of some values, for the names of cached files; a path is hashed by the content of its files."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, Path):
            for file in _files_of(part):
                digest.update(hashlib.sha256(file.read_bytes()).digest())
        else:
            digest.update(part if isinstance(part, bytes) else repr(part).encode())
    return digest.hexdigest()


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with replacing(path) as part:
        part.write_text(text)


def write_json(path: Path, content: Any) -> None:
    """Write strict JSON atomically.

    Raises:
        ValueError: the content contains NaN or an infinity.
    """
    write_text(path, json.dumps(content, indent=1, allow_nan=False))
