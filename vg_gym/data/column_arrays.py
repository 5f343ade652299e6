"""Columns of data sets as arrays, which can be written to files and memory-mapped."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from itertools import accumulate, islice

import numpy as np

Columns = dict[str, np.ndarray]
"""Name -> column."""


class Strings(Sequence[str]):
    """A column of strings, stored as one UTF-8 blob and the offsets (N + 1,) of its parts."""

    def __init__(self, columns: Columns, name: str):
        self._blob, self._offsets = columns[f"{name}.utf8"], columns[f"{name}.offsets"]

    def __len__(self) -> int:
        """Number of strings."""
        return len(self._offsets) - 1

    def __getitem__(self, index: int) -> str:  # type: ignore[override]
        """Return string ``index``, from 0 on."""
        return self._blob[self._offsets[index] : self._offsets[index + 1]].tobytes().decode("utf-8")

    @staticmethod
    def pack(name: str, texts: Iterable[str]) -> Columns:
        """Return the two columns that hold ``texts`` under ``name``."""
        parts = [text.encode("utf-8", "replace") for text in texts]
        offsets = np.cumsum([0, *map(len, parts)], dtype=np.int64)
        return {f"{name}.utf8": np.frombuffer(b"".join(parts), np.uint8), f"{name}.offsets": offsets}


class Texts:
    """A growing column of texts; see :class:`Strings`."""

    def __init__(self) -> None:
        self._blob, self._offsets = bytearray(), array("q", [0])

    def extend(self, texts: Sequence[str], encoded: bytes) -> None:
        """Add texts.

        Args:
            texts: texts to add.
            encoded: their concatenation in UTF-8.
        """
        together = "".join(texts)
        lengths = map(len, texts) if len(together) == len(encoded) else (len(text.encode()) for text in texts)
        self._offsets.extend(islice(accumulate(lengths, initial=len(self._blob)), 1, None))
        self._blob += encoded

    def columns(self, name: str) -> Columns:
        """Return the two columns with a name."""
        return {
            f"{name}.utf8": np.frombuffer(self._blob, np.uint8),
            f"{name}.offsets": np.frombuffer(self._offsets, np.int64),
        }


class Codes:
    """A growing column of a few different texts, stored as their numbers; -1 stands for a missing text."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._column = array("i")

    def extend(self, texts: Sequence[str] | None, count: int) -> None:
        """Add ``count`` texts, or ``count`` missing ones."""
        if texts is None:
            self._column.extend([-1] * count)
            return
        for text in dict.fromkeys(texts):
            self._numbers.setdefault(text, len(self._numbers))
        self._column.extend(map(self._numbers.__getitem__, texts))

    def columns(self, name: str) -> Columns:
        """Return the column of numbers with a name, and the texts with that name and the suffix ``_name``."""
        return {name: np.frombuffer(self._column, np.int32), **Strings.pack(f"{name}_name", self._numbers)}


def first_equal(values: np.ndarray) -> np.ndarray:
    """Return the index of the first equal value for each of the values (N,).

    >>> first_equal(np.array([7, 5, 7, 5])).tolist()
    [0, 1, 0, 1]
    """
    _, first, inverse = np.unique(values, return_index=True, return_inverse=True)
    return first[inverse]
