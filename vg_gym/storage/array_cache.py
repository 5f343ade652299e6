"""Cache of arrays by name in one file on disk, for results that later runs need again."""

from __future__ import annotations

import io
import os
import sqlite3
import threading
import warnings
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

MAX_FILE_BYTES = 2**33
"""Size of a file in bytes from which on it accepts no new arrays; it keeps those that it has."""
LOCK_TIMEOUT_S = 5.0
"""Seconds to wait for another process that is writing."""


class ArrayCache:
    """Table of arrays in a SQLite file, which several processes and threads may use at once.

    If the file cannot be read or written (a full disk, no permission), the cache warns once, and from then on stays
    empty.

    Args:
        path: path of the file, which is created at the first use.
        limit: size of the file in bytes from which on it accepts no new arrays.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     cache = ArrayCache(Path(folder) / "arrays.sqlite")
    ...     cache.put("ones", np.ones(3))
    ...     print(cache.get("ones").tolist(), cache.get("twos"))
    ...     cache.close()
    [1.0, 1.0, 1.0] None
    """

    def __init__(self, path: Path, limit: int = MAX_FILE_BYTES):
        self.path, self.limit = path, limit
        self._forget()

    def _forget(self) -> None:
        self._lock, self._process = threading.Lock(), 0
        self._connection: sqlite3.Connection | None = None
        self._broken = False

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "limit": self.limit}  # a connection belongs to its process

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def get(self, name: str) -> np.ndarray | None:
        """Return the read-only array of a name, or None."""
        row = self._ask("SELECT array FROM arrays WHERE name = ?", (name,))
        return _decode(row[0]) if row else None

    def put(self, name: str, array: np.ndarray) -> None:
        """Store an array under a name, unless the file is full."""
        if not self._broken and (not self.path.exists() or self.path.stat().st_size < self.limit):
            buffer = io.BytesIO()
            np.save(buffer, array, allow_pickle=False)
            self._ask("INSERT OR IGNORE INTO arrays VALUES (?, ?)", (name, buffer.getvalue()))

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        with self._lock:
            if self._connection is not None and self._process == os.getpid():
                self._connection.close()
            self._connection = None

    def _ask(self, statement: str, values: tuple[Any, ...]) -> Any:
        """Execute a statement, and return the first row of the result, or None."""
        if self._broken:
            return None
        with self._lock:
            try:
                return self._open().execute(statement, values).fetchone()
            except (sqlite3.Error, OSError) as error:
                self._broken = True
                warnings.warn(f"nothing is stored in {self.path} for the next run: {error}", stacklevel=5)
                return None

    def _open(self) -> sqlite3.Connection:
        if self._connection is None or self._process != os.getpid():  # a forked child opens its own
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(self.path, LOCK_TIMEOUT_S, isolation_level=None, check_same_thread=False)
            self._process = os.getpid()
            self._connection.execute("PRAGMA journal_mode = WAL")  # readers and a writer do not wait for each other
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._connection.execute("CREATE TABLE IF NOT EXISTS arrays (name TEXT PRIMARY KEY, array BLOB)")
        return self._connection


def _decode(file: bytes) -> np.ndarray:
    """Return the array of an .npy file in memory, without a copy."""
    begin = 10 + int.from_bytes(file[8:10], "little")
    shape, columns_first, dtype = _header(file[:begin])
    return np.frombuffer(file, dtype, offset=begin).reshape(shape, order="F" if columns_first else "C")


@lru_cache
def _header(header: bytes) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Parse a header of :func:`numpy.save`; results are cached, since this takes longer than reading the array."""
    file = io.BytesIO(header)
    np.lib.format.read_magic(file)
    return np.lib.format.read_array_header_1_0(file)
