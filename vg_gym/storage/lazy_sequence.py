"""Sequences that compute their items on access, so that long ones take little memory."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from typing import TypeVar, overload

from vg_gym.storage.lru_cache import LRUCache

Item = TypeVar("Item")


class IndexedSequence(Sequence[Item]):
    """Sequence of a subclass that defines ``__len__`` and ``_item``, which computes the item of an index from 0 on."""

    def _item(self, number: int) -> Item:
        raise NotImplementedError

    @overload
    def __getitem__(self, index: int) -> Item: ...

    @overload
    def __getitem__(self, index: slice) -> list[Item]: ...

    def __getitem__(self, index):
        """Return item ``index``, or the list of items of a slice."""
        try:
            numbers = range(len(self))[index]
        except IndexError:
            raise IndexError(f"index {index} is out of range for {len(self):,} items") from None
        return [self._item(number) for number in numbers] if isinstance(numbers, range) else self._item(numbers)


class LazySequence(IndexedSequence[Item]):
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
        self._recent: LRUCache[Item] = LRUCache(keep)

    def __len__(self) -> int:
        """Return the number of items."""
        return self._count

    def _item(self, number: int) -> Item:
        item = self._recent.get(number)
        if item is None:
            self._recent.add(number, item := self._make(number))
        return item


class Chained(IndexedSequence[Item]):
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

    def _item(self, number: int) -> Item:
        part = bisect_right(self._ends, number)
        return self._parts[part][number - self._ends[part]]
