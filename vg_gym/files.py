"""Writing files so that nothing is ever half there."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary name beside ``path`` to write to; renamed to ``path`` at the end, removed after an error."""
    part = path.with_name(f"{path.name}.part")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def cache_folder() -> Path:
    """Where computed and fetched things are kept: ``$XDG_CACHE_HOME/vg_gym`` or ``~/.cache/vg_gym``."""
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "vg_gym"


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


def computed(
    identity: Sequence[str], shape: tuple[int, ...], rows: Iterable[np.ndarray], what: str, cache: bool, progress: bool
) -> np.ndarray:
    """An fp16 array of rows, from the cache folder where it is there, else computed (and put there).

    Args:
        identity: what the rows are a function of.
        shape: (number of rows, ...).
        rows: made only where they are needed.
        what: label of the progress bar.
        cache: keep them in the cache folder, memory-mapped, for the next run and for others.
        progress: show a bar.
    """
    bar: Callable = lambda items: tqdm(items, desc=what, total=shape[0], disable=not progress)  # noqa: E731
    if not cache:
        return np.stack([row.astype(np.float16) for row in bar(rows)])
    digest = hashlib.sha256("\n".join([*identity, str(shape)]).encode()).hexdigest()
    path = cache_folder() / "features" / f"{digest[:24]}.npy"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.{os.getpid()}.part")
        try:
            store = np.lib.format.open_memmap(part, mode="w+", dtype=np.float16, shape=shape)
            for i, row in enumerate(bar(rows)):
                store[i] = row
            store.flush()
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    return np.load(path, mmap_mode="r")
