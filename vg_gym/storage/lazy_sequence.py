"""Sequences that compute their items on access, so that long ones take little memory."""

from __future__ import annotations

import operator
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from typing import TypeVar, overload

from vg_gym.storage.lru_cache import LRUCache

Item = TypeVar("Item")


class LazySequence(Sequence[Item]):
    """Sequence of items that are computed by index; the most recently used ones stay in memory.

    Args:
        count: number of items.
        make: deterministic function from an index to an item.
        keep: number of items that stay in memory.

    >>> squares = LazySequence(4, lambda number: number**2)
    >>> squares[3], squares[-2], squares[1:3], list(squares)
    (9, 4, [1, 4], [0, 1, 4, 9])
    """

    def __init__(self, count: int, make: Callable[[int], Item], keep: int = 0):
        self._count, self._make = count, make
        self._kept: LRUCache[Item] = LRUCache(keep)

    def __len__(self) -> int:
        """Return the number of items."""
        return self._count

    @overload
    def __getitem__(self, index: int) -> Item: ...

    @overload
    def __getitem__(self, index: slice) -> list[Item]: ...

    def __getitem__(self, index):
        """Return item ``index``, or the list of items of a slice."""
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(self._count))]
        number = operator.index(index)
        if not -self._count <= number < self._count:
            raise IndexError(f"index {number} is out of range for {self._count:,} items")
        number %= self._count
        item = self._kept.get(number)
        if item is None:
            self._kept.add(number, item := self._make(number))
        return item


class Chained(Sequence[Item]):
    """Concatenation of sequences.

    >>> both = Chained([LazySequence(2, str), "ab"])
    >>> len(both), both[1], both[-1], both[1:3], list(both)
    (4, '1', 'b', ['1', 'a'], ['0', '1', 'a', 'b'])
    """

    def __init__(self, parts: Iterable[Sequence[Item]]):
        self._parts = [part for part in parts if len(part)]
        self._ends = [*accumulate(map(len, self._parts))]

    def __len__(self) -> int:
        """Return the number of items."""
        return self._ends[-1] if self._ends else 0

    @overload
    def __getitem__(self, index: int) -> Item: ...

    @overload
    def __getitem__(self, index: slice) -> list[Item]: ...

    def __getitem__(self, index):
        """Return item ``index``, or the list of items of a slice."""
        numbers = range(len(self))[index]  # raises what a list would
        if isinstance(numbers, range):
            return [self[number] for number in numbers]
        part = bisect_right(self._ends, numbers)
        return self._parts[part][numbers - self._ends[part]]
