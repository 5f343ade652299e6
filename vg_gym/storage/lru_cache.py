"""A cache that forgets what was used longest ago."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class LRUCache(Generic[Value]):
    """A dictionary that drops the least recently used values once all together weigh more than ``capacity``.

    Args:
        capacity: the most that the values may weigh.
        weigh: gives the weight of a value; by default each weighs 1.

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
        """The value of a key, now the most recently used, or None."""
        if key in self._items:
            self._items.move_to_end(key)
        return self._items.get(key)

    def add(self, key: Hashable, value: Value) -> None:
        """Keep a value; one of the same key is replaced. What alone weighs more than the capacity is not kept."""
        if (old := self._items.pop(key, None)) is not None:
            self.weight -= self.weigh(old)
        self._items[key] = value
        self.weight += self.weigh(value)
        while self.weight > self.capacity:
            self.weight -= self.weigh(self._items.popitem(last=False)[1])

    def get_or_make(self, keys: Iterable[Key], make: Callable[[list[Key]], Iterable[Value]]) -> dict[Key, Value]:
        """The values of all keys, whether or not the cache has room for them together.

        Args:
            keys: what is asked for.
            make: makes the values of those keys that are missing, all in one call.

        >>> LRUCache(1).get_or_make("ab", lambda missing: [key.upper() for key in missing])
        {'a': 'A', 'b': 'B'}
        """
        keys = list(dict.fromkeys(keys))
        found = {key: self._items[key] for key in keys if key in self._items}
        missing = [key for key in keys if key not in found]
        found.update(zip(missing, make(missing) if missing else (), strict=True))
        for key in keys:
            self.add(key, found[key])
        return found


def _one(value: object) -> int:
    """What a value weighs where nothing else is said; a function with a name, so that caches can be pickled."""
    return 1
