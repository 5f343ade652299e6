"""Counter-based random numbers: one stream for each sub-environment, drawn for many at once.

A draw is a hash of (key, counter). The numbers of a row do not depend on other rows, no loop over rows is needed, and
arrays and tensors on any device give the same numbers (Salmon et al., *Parallel Random Numbers: As Easy as 1, 2,
3*, SC 2011; the hash is SplitMix64, Steele et al., OOPSLA 2014).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from numbers import Integral
from typing import Any

import numpy as np
from gymnasium.utils import seeding

from vg_gym.errors import WrongValue
from vg_gym.runtime.lazy_imports import torch

_GOLDEN, _FIRST, _SECOND = (x - 2**64 for x in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


def checked_seed(seed: Any) -> int | None:
    """Return a seed as a plain integer; None, which requests a fresh seed, stays None.

    Args:
        seed: integer of any type, including numpy's, or None.

    Raises:
        WrongValue: the seed is negative or not an integer.

    >>> checked_seed(np.int64(3)), checked_seed(None)
    (3, None)
    """
    if seed is None:
        return None
    if isinstance(seed, np.ndarray) and seed.ndim == 0:
        seed = seed[()]
    if not isinstance(seed, Integral) or isinstance(seed, bool):
        raise WrongValue(f"seed={seed!r:.60} is a {type(seed).__name__}; a seed is an integer of at least 0, or None")
    if seed < 0:
        raise WrongValue(f"seed={seed} is negative; a seed is an integer of at least 0, or None")
    return int(seed)


def row_seeds(seed: Any, count: int) -> list[int | None]:
    """Return the seeds of rows, as Gymnasium's own vector environments do: an integer gives row i ``seed + i``.

    Args:
        seed: None, an integer of any type, or a list, tuple or array with one of these for each row.
        count: number of rows.

    Raises:
        WrongValue: ``seed`` is of another type, or its length differs from ``count``.

    >>> row_seeds(np.int64(5), 2), row_seeds([7, None], 2), row_seeds(None, 2)
    ([5, 6], [7, None], [None, None])
    """
    if (
        isinstance(seed, np.ndarray)
        and seed.ndim == 1
        or isinstance(seed, Sequence)
        and not isinstance(seed, str | bytes)
    ):
        if len(seed) != count:
            raise WrongValue(f"seed={seed!r:.60} has {len(seed)} seeds for {count} environments; give one for each")
        return [checked_seed(one) for one in seed]
    first = checked_seed(seed)
    return [None] * count if first is None else [first + row for row in range(count)]


class CounterRNG:
    """N streams of random numbers, one for each row.

    Args:
        keys: keys of the rows, int64 (N,); rows with the same key have the same numbers.
        device: torch device of the numbers; None for numpy arrays.

    >>> rng = CounterRNG(np.array([7, 8, 7]))
    >>> first = rng.uniform(np.arange(3), 1)[:, 0]
    >>> bool(first[0] == first[2]), bool(first[0] == first[1]), rng.counters.tolist()
    (True, False, [1, 1, 1])
    """

    def __init__(self, keys: np.ndarray, device: torch.device | None = None):
        self.keys: Any = np.array(keys, dtype=np.int64)
        if device is not None:
            self.keys = torch.from_numpy(self.keys).to(device)
        self.counters: Any = self.keys * 0
        self.begun = np.zeros(len(self.keys), dtype=np.int64)
        """Number of episodes that each row has begun."""

    @classmethod
    def from_seeds(cls, seeds: Iterable[Any], device: torch.device | None = None) -> CounterRNG:
        """Build rows with the keys that Gymnasium's generators draw for some seeds; None is a fresh seed."""
        return cls.from_generators((seeding.np_random(checked_seed(seed))[0] for seed in seeds), device)

    @classmethod
    def from_generators(
        cls, generators: Iterable[np.random.Generator], device: torch.device | None = None
    ) -> CounterRNG:
        """Build rows with a key from each generator."""
        return cls(np.array([_draw_key(generator) for generator in generators]), device)

    def reseed(self, row: int, seed: int) -> None:
        """Give a row the key of a seed, and restart its numbers."""
        self.keys[row] = _draw_key(seeding.np_random(checked_seed(seed))[0])
        self.counters[row] = self.begun[row] = 0

    def reseed_rows(self, seeds: Iterable[int | None]) -> None:
        """Give each row the key of its seed; a row whose seed is None continues its numbers."""
        for row, seed in enumerate(seeds):
            if seed is not None:
                self.reseed(row, seed)

    def uniform(self, rows: Any, count: int) -> Any:
        """Return the next numbers (len(rows), count) of some rows, float64 in [0, 1)."""
        start, keys = self.counters[rows], self.keys[rows]
        self.counters[rows] = start + count
        ahead: Any = np.arange(1, count + 1)
        if not isinstance(keys, np.ndarray):
            ahead = torch.from_numpy(ahead).to(keys.device)
        return _uniform(keys[:, None] + (start[:, None] + ahead) * _GOLDEN)

    def integers(self, rows: Any, below: int) -> Any:
        """Return an integer in [0, below) for each of some rows, int64 (len(rows),)."""
        drawn = self.uniform(rows, 1)[:, 0] * below
        return drawn.astype(np.int64) if isinstance(drawn, np.ndarray) else drawn.long()

    def normal(self, rows: Any, count: int) -> Any:
        """Return standard normal numbers (len(rows), count), by the Box-Muller method."""
        drawn = self.uniform(rows, 2 * count)
        xp: Any = np if isinstance(drawn, np.ndarray) else torch
        return xp.sqrt(-2 * xp.log(1 - drawn[:, :count])) * xp.cos(2 * np.pi * drawn[:, count:])


def _draw_key(generator: np.random.Generator) -> int:
    return int(generator.integers(2**63))


def _uniform(state: Any) -> Any:
    """Hash int64 states by SplitMix64 to numbers in [0, 1) of 53 bits; shifts of negative numbers need a mask."""
    z = (state ^ ((state >> 30) & (2**34 - 1))) * _FIRST
    z = (z ^ ((z >> 27) & (2**37 - 1))) * _SECOND
    z = z ^ ((z >> 31) & (2**33 - 1))
    bits = (z >> 11) & (2**53 - 1)
    return (bits if isinstance(bits, np.ndarray) else bits.double()) * 2.0**-53
