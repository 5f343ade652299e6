"""In which order a sub-environment plays its episodes.

In a data set neighbours are most often about one image, and what an image costs is paid once: an order that plays a few
images' episodes, mixed, before it goes on to others is several times cheaper than one that jumps through the whole.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vg_gym.boxes import to_numpy
from vg_gym.envs.rng import CounterRNG
from vg_gym.storage.lru_cache import LRUCache

RUN = 4
"""Neighbouring episodes that are played from one block; RefShapes has four of each image, RefCOCOg 3.7."""
SALT = 0x5EED0F0DE5
"""Sets the streams of orders apart from those of boxes."""


class EpisodeOrder:
    """Episodes by number, block after block: a block holds ``pool`` random runs of neighbours, shuffled.

    What a row plays is a pure function of its key and of how many episodes it has begun, so that it is the same beside
    any other rows, and known ahead of time.

    Args:
        count: episodes of the source.
        pool: runs of a block; 0: each episode is drawn from all.

    >>> order = EpisodeOrder(count=8, pool=1)
    >>> rng = CounterRNG(np.array([7]))
    >>> sorted(int(order(np.array([0]), rng)[0]) for _ in range(4))
    [0, 1, 2, 3]
    """

    def __init__(self, count: int, pool: int):
        self.count, self.pool = count, pool
        self.length = RUN * pool
        """Episodes of a block."""
        self._blocks = np.zeros((0, self.length), dtype=np.int64)
        self._names = np.zeros((0, 2), dtype=np.int64)
        self._recent: LRUCache[np.ndarray] = LRUCache(2)

    def __call__(self, rows: np.ndarray, rng: CounterRNG) -> np.ndarray:
        """The next episode of each of some rows, int64 (B,)."""
        if not self.pool:
            return to_numpy(rng.integers(rows, self.count))
        if len(rng.begun) == 1:  # one row alone: the same, in a few steps
            number, place = divmod(int(rng.begun[0]), self.length)
            rng.begun[rows] += 1
            return self._block(int(rng.keys[0]), number)[place : place + 1]
        begun = rng.begun[rows]
        self._turn_to(rows, np.stack([to_numpy(rng.keys[rows]), begun // self.length], axis=1), len(rng.begun))
        rng.begun[rows] = begun + 1
        return self._blocks[rows, begun % self.length]

    def upcoming(self, row: int, rng: CounterRNG, count: int) -> list[int]:
        """The ``count`` episodes that a row plays next, if no seed or option changes that; [] where each is drawn."""
        if not self.pool:
            return []
        first = int(rng.begun[row])
        key, numbers = int(rng.keys[row]), range(first // self.length, (first + count - 1) // self.length + 1)
        blocks = np.concatenate([self._block(key, number) for number in numbers])
        start = first % self.length
        return blocks[start : start + count].tolist()

    def _block(self, key: int, number: int) -> np.ndarray:
        """A block (length,); the last few are kept, as each reset asks for the same."""
        block = self._recent.get((key, number))
        if block is None:
            block = self._draw(np.array([[key, number]]))[0]
            self._recent.add((key, number), block)
        return block

    def _turn_to(self, rows: np.ndarray, names: np.ndarray, num_rows: int) -> None:
        """Have the blocks of some rows, named by key and number (B, 2), at hand."""
        if num_rows > len(self._blocks):
            self._blocks = np.zeros((num_rows, self.length), dtype=np.int64)
            self._names = np.full((num_rows, 2), -1, dtype=np.int64)
        new = (self._names[rows] != names).any(axis=1)
        if new.any():
            self._blocks[rows[new]], self._names[rows[new]] = self._draw(names[new]), names[new]

    def _draw(self, names: np.ndarray) -> np.ndarray:
        """Blocks (B, length) by key and number (B, 2).

        Where the last run of the source is short, episodes drawn from all fill it up: so each is equally likely.
        """
        length, rows = self.length, np.arange(len(names))
        stream: Any = CounterRNG(names[:, 0] ^ SALT)
        stream.counters[:] = names[:, 1] * (self.pool + 2 * length)
        runs = (stream.uniform(rows, self.pool) * -(-self.count // RUN)).astype(np.int64)
        episodes = (RUN * runs[..., None] + np.arange(RUN)).reshape(-1, length)
        anywhere = (stream.uniform(rows, length) * self.count).astype(np.int64)
        mixed = np.argsort(stream.uniform(rows, length), axis=1, kind="stable")
        return np.take_along_axis(np.where(episodes < self.count, episodes, anywhere), mixed, axis=1)
