"""Writing files and folders whole or not at all."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary name beside ``path`` to write to; renamed to ``path`` at the end, removed after an error."""
    part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")  # others may be writing the same
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def temporary_folder(path: Path) -> Iterator[Path]:
    """Give an empty folder to write to, on the disk of ``path``, so that it or a part of it can be renamed to ``path``.

    It is removed at the end, with all that is still in it. Missing parents of ``path`` are made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{path.name}.", suffix=".part", dir=path.parent) as around:
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
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vg_gym"


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
