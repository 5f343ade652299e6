"""Order in which a sub-environment plays its episodes.

Neighbours in a data set are mostly about one image, and the features of an image are computed once. An order that mixes
the episodes of a few images before it moves on to other images is several times cheaper than one that jumps through
the whole data set.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vg_gym.boxes import to_numpy
from vg_gym.envs.rng import CounterRNG
from vg_gym.storage.lru_cache import LRUCache

RUN_LENGTH = 4
"""Number of neighbouring episodes in a run; RefShapes has four per image, RefCOCOg 3.7."""
SALT = 0x5EED0F0DE5
"""Mask that separates the random streams of orders from those of boxes."""


class EpisodeOrder:
    """Episodes by index, block after block: a block holds ``pool`` random runs of neighbours, shuffled.

    The episodes of a row are a pure function of its key and of the number of episodes that it has begun. They do not
    depend on other rows, and are known ahead of time.

    Args:
        count: number of episodes of the source.
        pool: number of runs in a block; with 0, each episode is drawn from all.

    >>> order = EpisodeOrder(count=8, pool=1)
    >>> rng = CounterRNG(np.array([7]))
    >>> sorted(int(order(np.array([0]), rng)[0]) for _ in range(4))
    [0, 1, 2, 3]
    """

    def __init__(self, count: int, pool: int):
        self.count, self.pool = count, pool
        self.length = RUN_LENGTH * pool
        """Number of episodes in a block."""
        self._blocks = np.zeros((0, self.length), dtype=np.int64)
        self._names = np.zeros((0, 2), dtype=np.int64)
        self._recent: LRUCache[np.ndarray] = LRUCache(2)

    def __call__(self, rows: np.ndarray, rng: CounterRNG) -> np.ndarray:
        """Return the next episode of each row, int64 (B,)."""
        if not self.pool:
            return to_numpy(rng.integers(rows, self.count))
        if len(rng.begun) == 1:  # the same result for a single row, in fewer operations
            number, place = divmod(int(rng.begun[0]), self.length)
            rng.begun[rows] += 1
            return self._block(int(rng.keys[0]), number)[place : place + 1]
        begun = rng.begun[rows]
        self._turn_to(rows, np.stack([to_numpy(rng.keys[rows]), begun // self.length], axis=1), len(rng.begun))
        rng.begun[rows] = begun + 1
        return self._blocks[rows, begun % self.length]

    def upcoming(self, row: int, rng: CounterRNG, count: int) -> list[int]:
        """Return the next ``count`` episodes of a row, if no seed or option changes them; [] if each is drawn."""
        if not self.pool:
            return []
        first = int(rng.begun[row])
        key, numbers = int(rng.keys[row]), range(first // self.length, (first + count - 1) // self.length + 1)
        blocks = np.concatenate([self._block(key, number) for number in numbers])
        start = first % self.length
        return blocks[start : start + count].tolist()

    def _block(self, key: int, number: int) -> np.ndarray:
        """Return a block (length,); the last few blocks are cached, because each reset needs them again."""
        block = self._recent.get((key, number))
        if block is None:
            block = self._draw(np.array([[key, number]]))[0]
            self._recent.add((key, number), block)
        return block

    def _turn_to(self, rows: np.ndarray, names: np.ndarray, num_rows: int) -> None:
        """Store the blocks of some rows, named by key and number (B, 2), unless they are stored already."""
        if num_rows > len(self._blocks):
            self._blocks = np.zeros((num_rows, self.length), dtype=np.int64)
            self._names = np.full((num_rows, 2), -1, dtype=np.int64)
        new = (self._names[rows] != names).any(axis=1)
        if new.any():
            self._blocks[rows[new]], self._names[rows[new]] = self._draw(names[new]), names[new]

    def _draw(self, names: np.ndarray) -> np.ndarray:
        """Draw blocks (B, length) by key and number (B, 2).

        If the last run of the source is short, episodes drawn from all fill it, so that all are equally likely.
        """
        length, rows = self.length, np.arange(len(names))
        stream: Any = CounterRNG(names[:, 0] ^ SALT)
        stream.counters[:] = names[:, 1] * (self.pool + 2 * length)
        runs = (stream.uniform(rows, self.pool) * -(-self.count // RUN_LENGTH)).astype(np.int64)
        episodes = (RUN_LENGTH * runs[..., None] + np.arange(RUN_LENGTH)).reshape(-1, length)
        anywhere = (stream.uniform(rows, length) * self.count).astype(np.int64)
        mixed = np.argsort(stream.uniform(rows, length), axis=1, kind="stable")
        return np.take_along_axis(np.where(episodes < self.count, episodes, anywhere), mixed, axis=1)
