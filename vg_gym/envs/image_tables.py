"""Summed-area tables of images in a given amount of memory, in which the feature of any box is a sum of 16 rows."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from vg_gym.boxes import to_numpy
from vg_gym.clip.dense import l2_normalize, summed_area
from vg_gym.clip.encoder import ClipEncoder
from vg_gym.errors import VGGymError
from vg_gym.features.edge_maps import SIDE
from vg_gym.lazily import torch
from vg_gym.types import ImageRef

LINE = 16
"""Numbers in a line of the processor's cache."""


class Rows:
    """Rows of float32 that grow by doubling: of an array, or of a tensor on a device that is no CPU.

    Args:
        shape: of a row.
        clip: whose device it is.
    """

    def __init__(self, shape: tuple[int, ...], clip: ClipEncoder):
        self.shape = shape
        self._data: Any = self._room(0) if clip.on_cpu else torch.empty((0, *shape), device=clip.device)

    def _room(self, count: int) -> np.ndarray:
        """Rows that begin at a line of the processor's cache, as tensors do: kernels read them faster."""
        size = count * math.prod(self.shape)
        memory = np.empty(size + LINE, dtype=np.float32)
        begin = -(memory.ctypes.data // 4) % LINE
        return memory[begin : begin + size].reshape(count, *self.shape)

    @property
    def array(self) -> np.ndarray:
        """(R, ...), which only a CPU's are."""
        assert isinstance(self._data, np.ndarray)
        return self._data

    @property
    def tensor(self) -> torch.Tensor:
        """(R, ...), of any device."""
        return torch.from_numpy(self._data) if isinstance(self._data, np.ndarray) else self._data

    def like(self, values: Any) -> Any:
        """As an array or a tensor, as other values are."""
        return self.array if isinstance(values, np.ndarray) else self.tensor

    def put(self, number: int, row: np.ndarray) -> None:
        """Write a row, making room for it."""
        on_cpu = isinstance(self._data, np.ndarray)
        if number >= len(self._data):
            count = max(16, 2 * number)
            grown: Any = self._room(count) if on_cpu else self._data.new_empty((count, *self.shape))
            grown[: len(self._data)] = self._data
            self._data = grown
        self._data[number] = row if on_cpu else torch.from_numpy(np.ascontiguousarray(row))


class SlotUser(Protocol):
    """An object that reads tables between calls, such as an engine."""

    slots: Any
    """Slots in use, int, an array or a tensor."""
    rows: Any
    """Rows of queries in use, likewise."""


class ImageTables:
    """Summed-area tables of images in slots; where they do not all fit, the least recently used is replaced.

    Args:
        clip: whose features; the tables live on its device.
        memory: GiB.
        dense: gives an image's dense features (g, g, D) float16.
        edges: gives an image's edge maps (side, side, 2) uint8; None where nobody asks for them.
    """

    def __init__(
        self, clip: ClipEncoder, memory: float, dense: Callable[[ImageRef], np.ndarray],
        edges: Callable[[ImageRef], np.ndarray] | None = None,
    ):  # fmt: skip
        lines, edge_lines = clip.grid + 1, SIDE + 1 if edges else 0
        self.dense, self.edges, self.memory = dense, edges, memory
        self.capacity = max(1, int(memory * 2**30 / (4 * (lines * lines * clip.dim + 2 * edge_lines**2))))
        """Images that fit."""
        self.tables = Rows((lines, lines, clip.dim), clip)
        """(S, g+1, g+1, D), one a slot."""
        self.means = Rows((clip.dim,), clip)
        """Unit mean features (S, D), one a slot."""
        self.edge_tables = Rows((edge_lines, edge_lines, 2), clip)
        """Summed-area tables of edge maps in [0, 1] (S, side + 1, side + 1, 2), one a slot."""
        self._keys: list[str] = []
        self._numbers: dict[str, int] = {}
        self._free: list[int] = []
        self._holders = np.zeros(0, dtype=np.int64)
        self._slot_of = np.zeros(0, dtype=np.int64)
        self._owner = np.zeros(0, dtype=np.int64)
        self._used = np.zeros(0, dtype=np.int64)
        self._clock = self._filled = 0
        self.users: weakref.WeakSet[SlotUser] = weakref.WeakSet()
        """Engines; their slots are not given to other images."""

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "users": list(self.users)}  # weak references cannot be pickled

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update({**state, "users": weakref.WeakSet(state["users"])})

    def hold(self, image: ImageRef) -> int:
        """The number of an image: its own until it is given back as often as it was asked for.

        The image itself, which may hold its pixels, is not kept.
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
        """Give a number back."""
        self._holders[number] -= 1
        self._forget(number)

    def _forget(self, number: int) -> None:
        """Let another image have a number that nobody holds and that has no slot."""
        if not self._holders[number] and self._slot_of[number] < 0:
            del self._numbers[self._keys[number]]
            self._free.append(number)

    def slots(self, numbers: np.ndarray, image: Callable[[int], ImageRef]) -> np.ndarray:
        """The slots of images by number (R,), int64, filled where need be.

        Args:
            numbers: of held images.
            image: gives the image at a place of ``numbers``; asked where its table is not in memory.
        """
        self._clock += 1
        found = self._slot_of[numbers]
        self._used[found[found >= 0]] = self._clock
        if (missing := np.flatnonzero(found < 0)).size:
            for number, place in zip(*np.unique(numbers[missing], return_index=True), strict=True):
                self._fill(int(number), image(int(missing[place])))
            found = self._slot_of[numbers]
        return found

    def _fill(self, number: int, image: ImageRef) -> None:
        """Put an image's table into a slot."""
        dense = self.dense(image).astype(np.float32)  # first: an image that cannot be read takes no slot
        edges = None if self.edges is None else self.edges(image)
        slot = self._free_slot()
        if edges is not None:
            self.edge_tables.put(slot, summed_area(edges.astype(np.float32) / 255))
        self.tables.put(slot, summed_area(dense))
        self.means.put(slot, l2_normalize(dense.mean(axis=(0, 1))).clip(-1, 1))
        self._slot_of[number], self._owner[slot], self._used[slot] = slot, number, self._clock

    def _free_slot(self) -> int:
        """A new slot, or the one that was not used for longest and that no engine uses."""
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
                f"{self.memory:g} GiB hold the features of {self.capacity:,} images, and more are in play at once: "
                "raise memory= or lower num_envs="
            )
        owner = int(self._owner[slot])
        self._slot_of[owner] = -1
        self._forget(owner)
        return slot


def grown(array: np.ndarray, count: int, fill: int) -> np.ndarray:
    """An int64 array of at least ``count`` entries, new ones ``fill``; grows by doubling."""
    if count <= len(array):
        return array
    return np.concatenate([array, np.full(max(16, count), fill, dtype=np.int64)])
