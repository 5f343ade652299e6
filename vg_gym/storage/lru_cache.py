"""Cache in memory that drops the least recently used values."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from threading import Lock
from typing import Generic, TypeVar

import cachetools

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")
_LOCK = Lock()
"""Lock of all caches, each of which is used for a microsecond at a time; a cache with its own could not be pickled."""


class LRUCache(cachetools.LRUCache, Generic[Value]):
    """Dictionary that drops the least recently used values while their total weight exceeds ``capacity``.

    Threads may share a cache; they use only the methods of this class.

    Args:
        capacity: maximum total weight of the values.
        weigh: function from a value to its weight; by default each value weighs 1.

    >>> cache = LRUCache(2)
    >>> cache.add("a", 1), cache.add("b", 2), cache.get("a"), cache.add("c", 3)
    (None, None, 1, None)
    >>> "a" in cache, "b" in cache, len(cache)
    (True, False, 2)
    """

    def __init__(self, capacity: int, weigh: Callable[[Value], int] | None = None):
        super().__init__(capacity, weigh)

    def get(self, key: Hashable) -> Value | None:  # type: ignore[override]
        """Return the value of a key, or None, and mark it as the most recently used."""
        with _LOCK:
            return super().get(key)

    def add(self, key: Hashable, value: Value) -> None:
        """Add or replace the value of a key; a value heavier than the capacity is not stored."""
        with _LOCK:
            try:
                self[key] = value
            except ValueError:  # too heavy
                self.pop(key, None)

    def get_or_make(self, keys: Iterable[Key], make: Callable[[list[Key]], Iterable[Value]]) -> dict[Key, Value]:
        """Return the values of all keys, even if they exceed the capacity.

        Args:
            keys: keys of the values.
            make: function that computes the values of the missing keys in one call.

        >>> LRUCache(1).get_or_make("ab", lambda missing: [key.upper() for key in missing])
        {'a': 'A', 'b': 'B'}
        """
        keys = list(dict.fromkeys(keys))
        with _LOCK:
            values = {key: self[key] for key in keys if key in self}
        missing = [key for key in keys if key not in values]
        values.update(zip(missing, make(missing) if missing else (), strict=True))
        for key in missing:
            self.add(key, values[key])
        return values
