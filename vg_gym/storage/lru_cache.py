"""Cache in memory that drops the least recently used values."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class LRUCache(Generic[Value]):
    """Dictionary that drops the least recently used values while their total weight exceeds ``capacity``.

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
        self.capacity, self.weigh, self.weight = capacity, weigh or _one, 0
        self._items: OrderedDict[Hashable, Value] = OrderedDict()

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._items

    def get(self, key: Hashable) -> Value | None:
        """Return the value of a key, or None, and mark it as the most recently used."""
        if key in self._items:
            self._items.move_to_end(key)
        return self._items.get(key)

    def add(self, key: Hashable, value: Value) -> None:
        """Add or replace the value of a key; a value heavier than the capacity is not stored."""
        if (old := self._items.pop(key, None)) is not None:
            self.weight -= self.weigh(old)
        self._items[key] = value
        self.weight += self.weigh(value)
        while self.weight > self.capacity:
            self.weight -= self.weigh(self._items.popitem(last=False)[1])

    def get_or_make(self, keys: Iterable[Key], make: Callable[[list[Key]], Iterable[Value]]) -> dict[Key, Value]:
        """Return the values of all keys, even if they exceed the capacity.

        Args:
            keys: keys of the values.
            make: function that computes the values of the missing keys in one call.

        >>> LRUCache(1).get_or_make("ab", lambda missing: [key.upper() for key in missing])
        {'a': 'A', 'b': 'B'}
        """
        keys = list(dict.fromkeys(keys))
        values = {key: self._items[key] for key in keys if key in self._items}
        missing = [key for key in keys if key not in values]
        values.update(zip(missing, make(missing) if missing else (), strict=True))
        for key in keys:
            self.add(key, values[key])
        return values


def _one(value: object) -> int:
    """Return the default weight of a value; a named function, so that caches can be pickled."""
    return 1
