"""Identity of files by their content, for names in caches.

Every byte is hashed: a name, a size and a time of change are equal of different files easily. Half a millisecond a
photograph, a tenth of what decoding it takes; a file that has not been changed since is not hashed again.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable
from pathlib import Path

DIGEST_BYTES = 12
"""Of a digest; there are more files than collisions of these."""
CHUNK_BYTES = 1 << 20
SETTLED_NANOSECONDS = 2_000_000_000
"""Age of a change after which the next one has another time, however coarse the clock of the file system."""
MOST_FILES = 1 << 18
"""Files whose digests are remembered; some 300 bytes each."""

_State = tuple[int, ...]
_known: dict[str, tuple[_State, str]] = {}


def digest_of(data: bytes) -> str:
    """The digest of bytes, as hexadecimal digits."""
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES).hexdigest()


def digest_of_file(places: Iterable[Path]) -> str:
    """The digest of the first file that exists and can be read; empty where there is none.

    It is remembered with the file's number, size and times. The time at which the system last changed anything about
    a file (``ctime``) cannot be set back; a change younger than the clock's step is not trusted, and hashed again.

    Args:
        places: of the file.
    """
    for place in map(str, places):
        try:
            state, now = _state(place), time.time_ns()
            if (before := _known.get(place)) is not None and before[0] == state:
                return before[1]
            digest = _hashed(place)
        except OSError:
            continue
        if max(state[3:]) + SETTLED_NANOSECONDS < now:
            if len(_known) >= MOST_FILES:
                _known.clear()
            _known[place] = state, digest
        return digest
    return ""


def _state(path: str) -> _State:
    about = os.stat(path)
    return about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns


def _hashed(path: str) -> str:
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
