"""Digests of the contents of files, for keys of caches.

Every byte is hashed, since different files easily share a name, a size and a time of change. A photograph takes half a
millisecond, a tenth of the time to decode it. A file is hashed again only after it has changed.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable
from pathlib import Path

DIGEST_BYTES = 12
"""Size of a digest in bytes; two different files practically never share one."""
SETTLED_NANOSECONDS = 2_000_000_000
"""Age of a change after which the next change has a different time, even with a coarse clock of the file system."""
MAX_CACHED_FILES = 1 << 18
"""Maximum number of files whose digests are cached; an entry takes about 300 bytes."""

_State = tuple[int, ...]
_cache: dict[str, tuple[_State, str]] = {}


def digest_of(data: bytes) -> str:
    """Return the digest of bytes as hexadecimal digits."""
    return _hash(data).hexdigest()


def _hash(data: bytes = b"") -> hashlib.blake2b:
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES)


def digest_of_file(places: Iterable[Path]) -> str:
    """Return the digest of the first file that can be read, or an empty string if none can.

    The digest is cached with the file's inode number, size and times. The time of the last change of the file's
    metadata (``ctime``) cannot be set back. A file that changed within the resolution of the clock is hashed again.

    Args:
        places: paths of the file, tried in order.
    """
    for place in map(str, places):
        try:
            state, now = _state(place), time.time_ns()
            if (cached := _cache.get(place)) is not None and cached[0] == state:
                return cached[1]
            digest = _hashed(place)
        except OSError:
            continue
        if max(state[3:]) + SETTLED_NANOSECONDS < now:
            if len(_cache) >= MAX_CACHED_FILES:
                _cache.clear()
            _cache[place] = state, digest
        return digest
    return ""


def _state(path: str) -> _State:
    about = os.stat(path)
    return about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns


def _hashed(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, _hash).hexdigest()  # type: ignore[arg-type]
