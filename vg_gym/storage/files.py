"""Writing files and folders whole or not at all."""

from __future__ import annotations

import atexit
import ctypes
import errno
import hashlib
import json
import os
import re
import secrets
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any

from vg_gym.errors import CannotWrite, VGGymError

NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
"""Numbers of the errors of a full disk."""
PART = ".part"
"""Ending of the names of files that are not yet whole."""
PROBE_BYTES = 2**16
"""Written, and removed, to see whether a folder takes files."""


@contextmanager
def writing(path: Path | str) -> Iterator[None]:
    """Around what writes ``path``, or into it: where the system refuses, the error names both.

    Raises:
        CannotWrite: the disk is full, the folder read-only or another's, or a file stands where a folder is to be.
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
    """The system's number of an error, which torch and safetensors wrap in others of their own."""
    if isinstance(error, OSError):
        return error.errno
    if said := re.search(r"os error (\d+)", str(error)):
        return int(said.group(1))
    inner = error.__context__
    return inner.errno if isinstance(error, RuntimeError) and isinstance(inner, OSError) else None


def make_folder(path: Path) -> Path:
    """Make a folder, and its parents, where there is none.

    Raises:
        CannotWrite: it cannot be made.
    """
    with writing(path):
        path.mkdir(parents=True, exist_ok=True)
    return path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary name beside ``path`` to write to; renamed to ``path`` at the end, removed after an error.

    Raises:
        CannotWrite: the system refuses.
    """
    part = path.with_name(f"{path.name}.{secrets.token_hex(4)}{PART}")  # others may be writing the same
    try:
        with writing(path):
            yield part
            part.replace(path)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


@contextmanager
def temporary_folder(path: Path) -> Iterator[Path]:
    """Give an empty folder to write to, on the disk of ``path``, so that it or a part of it can be renamed to ``path``.

    It is removed at the end, with all that is still in it. Missing parents of ``path`` are made.

    Raises:
        CannotWrite: the system refuses.
    """
    make_folder(path.parent)
    with writing(path), TemporaryDirectory(prefix=f".{path.name}.", suffix=".part", dir=path.parent) as around:
        part = Path(around) / path.name  # one deeper: a temporary folder itself is for its owner's eyes only
        part.mkdir()
        yield part


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Give an empty folder to fill; it takes the place of ``path`` at the end, and goes after an error.

    A reader of ``path`` finds the old folder or the new one, whole. Where the system cannot exchange two folders
    (it is not Linux, or a network file system), ``path`` is missing for the moment between two renames.
    """
    with temporary_folder(path) as part:
        yield part
        if not path.exists():
            part.rename(path)
        elif not _exchange(part, path):
            _swap(part, path)


def _exchange(a: Path, b: Path) -> bool:
    """Let two paths change places in one step; False where the system cannot."""
    if sys.platform != "linux" or not hasattr(libc := ctypes.CDLL(None), "renameat2"):
        return False
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return libc.renameat2(here, os.fsencode(a), here, os.fsencode(b), exchange) == 0


def _swap(part: Path, path: Path) -> None:
    """Exchange a new folder with an old one in three renames; the old one comes back after an error."""
    old = part.with_suffix(".old")
    path.rename(old)
    try:
        part.rename(path)
    except BaseException:
        old.rename(path)
        raise
    old.rename(part)


def cache_folder() -> Path:
    """Where computed and fetched things are kept: ``$XDG_CACHE_HOME/vg_gym`` or ``~/.cache/vg_gym``."""
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vg_gym"
    except RuntimeError:  # neither HOME nor an entry of this user in the system's list
        return _folder_of_this_process("this user has no home folder")


def cache_place(*names: str) -> Path:
    """The place of a thing in the cache folder.

    Where it is not there yet and the folder takes no files, its place is in a folder that goes when this process ends;
    a warning says so, once.
    """
    folder = cache_folder()
    refusal = None if folder.joinpath(*names).exists() else _refusal(folder)
    return (folder if refusal is None else _folder_of_this_process(refusal)).joinpath(*names)


def go_on_without_cache(error: CannotWrite) -> None:
    """Say that what could not be kept in the cache folder is computed, and not kept."""
    warnings.warn(f"{str(error).partition(';')[0]}, so the run goes on without the cache, slower", stacklevel=3)


def check_writable(folder: Path) -> None:
    """Make a folder, where there is none, and write something to it that goes at once.

    Raises:
        CannotWrite: the system refuses.
    """
    make_folder(folder)
    with writing(folder), TemporaryFile(dir=folder) as file:
        file.write(bytes(PROBE_BYTES))
        file.flush()


def _refusal(folder: Path) -> str | None:
    """Why a folder takes no files; None where it does."""
    try:
        check_writable(folder)
        return None
    except CannotWrite as error:
        return str(error).partition(";")[0]


def _folder_of_this_process(why: str) -> Path:
    if not _temporary_cache.cache_info().currsize:
        warnings.warn(
            f"{why}, so what is computed is kept for this run only, and the next one computes it again: "
            "set XDG_CACHE_HOME to a folder that can be written",
            stacklevel=4,
        )
    return Path(_temporary_cache().name)


@lru_cache(1)
def _temporary_cache() -> TemporaryDirectory[str]:
    """Removed when this process ends."""
    with writing("a temporary folder"):
        folder = TemporaryDirectory(prefix="vg_gym-cache-")
    atexit.register(folder.cleanup)
    return folder


def change_mark(path: Path) -> str:
    """When a file was last changed, and its size; empty where there is none."""
    try:
        about = os.stat(path)
    except OSError:
        return ""
    return f"{about.st_mtime_ns:x}-{about.st_size:x}@"


def place_mark(*names: str) -> str:
    """Which files some names stand for now, and when these were changed; empty where they name no file or folder."""
    marks = []
    for path in filter(None, map(find_place, names)):
        files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        marks += [f"{change_mark(file)}{file.resolve()}" for file in files]
    return "\n".join(marks)


def find_place(name: str) -> Path | None:
    """The file or folder of a name; None where there is none."""
    try:
        path = Path(name).expanduser()
        return path if name and path.exists() else None
    except (OSError, ValueError, RuntimeError):
        return None


def fingerprint(*parts: object) -> str:
    """A hash of some things, for the names of cached files; paths of files and folders stand for their contents."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, Path):
            files = sorted(p for p in part.rglob("*") if p.is_file()) if part.is_dir() else [part]
            for file in files:
                digest.update(hashlib.sha256(file.read_bytes()).digest())
        else:
            digest.update(part if isinstance(part, bytes) else repr(part).encode())
    return digest.hexdigest()


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    with replacing(path) as part:
        part.write_text(text)


def write_json(path: Path, content: Any) -> None:
    """Write strict JSON, whole or not at all.

    Raises:
        ValueError: there is a NaN or an infinity in it.
    """
    write_text(path, json.dumps(content, indent=1, allow_nan=False))
