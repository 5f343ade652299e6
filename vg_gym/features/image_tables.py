"""Summed-area tables of images in limited memory; they reduce the feature of any box to a sum of 16 rows."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from vg_gym.boxes import to_numpy
from vg_gym.clip.encoder import ClipEncoder
from vg_gym.clip.region_features import l2_normalize, summed_area
from vg_gym.errors import VGGymError
from vg_gym.features.edge_maps import SIDE
from vg_gym.runtime.lazy_imports import torch
from vg_gym.types import ImageRef

CACHE_LINE = 16
"""Number of float32 values in a cache line of the processor."""


class Rows:
    """Rows of float32 that grow by doubling; an array on a CPU, a tensor on other devices.

    Args:
        shape: shape of a row.
        clip: encoder whose device holds the rows.
    """

    def __init__(self, shape: tuple[int, ...], clip: ClipEncoder):
        self.shape = shape
        self._data: Any = self._room(0) if clip.on_cpu else torch.empty((0, *shape), device=clip.device)

    def _room(self, count: int) -> np.ndarray:
        """Allocate rows aligned to a cache line, like tensors, because kernels read them faster."""
        size = count * math.prod(self.shape)
        memory = np.empty(size + CACHE_LINE, dtype=np.float32)
        begin = -(memory.ctypes.data // 4) % CACHE_LINE
        return memory[begin : begin + size].reshape(count, *self.shape)

    @property
    def array(self) -> np.ndarray:
        """Rows as an array (R, ...); only on a CPU."""
        assert isinstance(self._data, np.ndarray)
        return self._data

    @property
    def tensor(self) -> torch.Tensor:
        """Rows as a tensor (R, ...), on any device."""
        return torch.from_numpy(self._data) if isinstance(self._data, np.ndarray) else self._data

    def like(self, values: Any) -> Any:
        """Return the rows as an array or a tensor, whichever ``values`` is."""
        return self.array if isinstance(values, np.ndarray) else self.tensor

    def put(self, number: int, row: np.ndarray) -> None:
        """Write a row; the table grows if necessary."""
        on_cpu = isinstance(self._data, np.ndarray)
        if number >= len(self._data):
            count = max(16, 2 * number)
            larger: Any = self._room(count) if on_cpu else self._data.new_empty((count, *self.shape))
            larger[: len(self._data)] = self._data
            self._data = larger
        self._data[number] = row if on_cpu else torch.from_numpy(np.ascontiguousarray(row))


class SlotUser(Protocol):
    """Object that reads tables between calls, such as an engine."""

    slots: Any
    """Slots in use, integers; an array or a tensor."""
    rows: Any
    """Rows of queries in use, integers; an array or a tensor."""


class ImageTables:
    """Summed-area tables of images in slots; when all slots are used, the least recently used one is replaced.

    Args:
        clip: encoder of the features; the tables live on its device.
        memory: memory in GiB.
        dense: returns an image's dense features (g, g, D) float16.
        edges: returns an image's edge maps (side, side, 2) uint8; None if no edge maps are needed.
    """

    def __init__(
        self, clip: ClipEncoder, memory: float, dense: Callable[[ImageRef], np.ndarray],
        edges: Callable[[ImageRef], np.ndarray] | None = None,
    ):  # fmt: skip
        lines, edge_lines = clip.grid + 1, SIDE + 1 if edges else 0
        self.dense, self.edges, self.memory = dense, edges, memory
        self.capacity = max(1, int(memory * 2**30 / (4 * (lines * lines * clip.dim + 2 * edge_lines**2))))
        """Number of slots."""
        self.tables = Rows((lines, lines, clip.dim), clip)
        """Tables of dense features (S, g+1, g+1, D), one per slot."""
        self.means = Rows((clip.dim,), clip)
        """Unit mean features (S, D), one per slot."""
        self.edge_tables = Rows((edge_lines, edge_lines, 2), clip)
        """Summed-area tables of edge maps in [0, 1] (S, side + 1, side + 1, 2), one per slot."""
        self._keys: list[str] = []
        self._numbers: dict[str, int] = {}
        self._free: list[int] = []
        self._holders = np.zeros(0, dtype=np.int64)
        self._slot_of = np.zeros(0, dtype=np.int64)
        self._owner = np.zeros(0, dtype=np.int64)
        self._used = np.zeros(0, dtype=np.int64)
        self._clock = self._filled = 0
        self.users: weakref.WeakSet[SlotUser] = weakref.WeakSet()
        """Engines whose slots are not given to other images."""

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "users": list(self.users)}  # weak references cannot be pickled

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update({**state, "users": weakref.WeakSet(state["users"])})

    def hold(self, image: ImageRef) -> int:
        """Return the number of an image, which it keeps until :meth:`release` was called as often as this method.

        The image object is not stored, because it may hold its pixels.
        """
        number = self._numbers.get(image.key)
        if number is None:
            number = self._free.pop() if self._free else len(self._keys)
            self._keys[number : number + 1] = [image.key]
            self._numbers[image.key] = number
            self._slot_of = grown(self._slot_of, len(self._keys), -1)
            self._holders = grown(self._holders, len(self._keys), 0)
        self._holders[number] += 1
        return number

    def release(self, number: int) -> None:
        """Release a number once."""
        self._holders[number] -= 1
        self._forget(number)

    def _forget(self, number: int) -> None:
        """Free a number for other images if it is fully released and without a slot."""
        if not self._holders[number] and self._slot_of[number] < 0:
            del self._numbers[self._keys[number]]
            self._free.append(number)

    def slots(self, numbers: np.ndarray, image: Callable[[int], ImageRef]) -> np.ndarray:
        """Return the slots of images by number (R,), int64; missing tables are computed.

        Args:
            numbers: numbers of images from :meth:`hold`.
            image: returns the image at a position in ``numbers``; called if its table is not in memory.
        """
        self._clock += 1
        slots = self._slot_of[numbers]
        self._used[slots[slots >= 0]] = self._clock
        if (missing := np.flatnonzero(slots < 0)).size:
            for number, place in zip(*np.unique(numbers[missing], return_index=True), strict=True):
                self._fill(int(number), image(int(missing[place])))
            slots = self._slot_of[numbers]
        return slots

    def _fill(self, number: int, image: ImageRef) -> None:
        """Write an image's tables to a slot."""
        dense = self.dense(image).astype(np.float32)  # comes first: an unreadable image must not take a slot
        edges = None if self.edges is None else self.edges(image)
        slot = self._free_slot()
        if edges is not None:
            self.edge_tables.put(slot, summed_area(edges.astype(np.float32) / 255))
        self.tables.put(slot, summed_area(dense))
        self.means.put(slot, l2_normalize(dense.mean(axis=(0, 1))).clip(-1, 1))
        self._slot_of[number], self._owner[slot], self._used[slot] = slot, number, self._clock

    def _free_slot(self) -> int:
        """Return a new slot, or the least recently used one that no engine uses."""
        if (slot := self._filled) < self.capacity:
            self._filled += 1
            self._owner, self._used = grown(self._owner, slot + 1, -1), grown(self._used, slot + 1, 0)
            return slot
        last = self._used[: self.capacity].copy()
        for user in self.users:
            last[to_numpy(user.slots)] = self._clock
        slot = int(last.argmin())
        if last[slot] == self._clock:
            raise VGGymError(
                f"{self.memory:g} GiB hold the features of {self.capacity:,} images, and more are used at once: "
                "raise memory= or lower num_envs="
            )
        owner = int(self._owner[slot])
        self._slot_of[owner] = -1
        self._forget(owner)
        return slot


def grown(array: np.ndarray, count: int, fill: int) -> np.ndarray:
    """Return an int64 array of at least ``count`` entries, new ones ``fill``; it grows by doubling."""
    if count <= len(array):
        return array
    return np.concatenate([array, np.full(max(16, count), fill, dtype=np.int64)])
