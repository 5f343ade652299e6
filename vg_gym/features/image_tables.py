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

    @property
    def slots(self) -> Any:
        """Slots in use, integers; an array or a tensor."""
        ...

    @property
    def rows(self) -> Any:
        """Rows of queries in use, integers; an array or a tensor."""
        ...


class Handles:
    """Handles of images: small integers that rows of queries store in place of images, which may hold their pixels.

    The life of a handle:

    1. :meth:`hold` gives an image its handle. Each row of a query about the image holds it once.
    2. When an episode begins, the tables of its image are computed into a slot (:meth:`ImageTables.slots`), and the
       handle points to it. The slot stays while an engine plays there, and goes to another image when it is the least
       recently used one. The handle then points to no slot, and the tables are computed again when they are needed.
    3. A handle that nobody holds and that points to no slot is free. The next new image gets it.
    """

    def __init__(self) -> None:
        self.slots = np.zeros(0, dtype=np.int64)
        """Slot to which each handle points (H,); -1 for none."""
        self._holders = np.zeros(0, dtype=np.int64)
        self._keys: list[str] = []
        self._of_key: dict[str, int] = {}
        self._free: list[int] = []

    def __len__(self) -> int:
        """Number of handles, with free ones."""
        return len(self._keys)

    def hold(self, key: str) -> int:
        """Return the handle of an image, which is valid until :meth:`release` was called as often as this method."""
        handle = self._of_key.get(key)
        if handle is None:
            handle = self._free.pop() if self._free else len(self._keys)
            self._keys[handle : handle + 1] = [key]
            self._of_key[key] = handle
            self.slots, self._holders = grown(self.slots, len(self), -1), grown(self._holders, len(self), 0)
        self._holders[handle] += 1
        return handle

    def release(self, handle: int) -> None:
        """Release a handle once."""
        self._holders[handle] -= 1
        self._free_if_unused(handle)

    def leave_slot(self, handle: int) -> None:
        """Note that the slot of a handle goes to another image."""
        self.slots[handle] = -1
        self._free_if_unused(handle)

    def _free_if_unused(self, handle: int) -> None:
        if not self._holders[handle] and self.slots[handle] < 0:
            del self._of_key[self._keys[handle]]
            self._free.append(handle)


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
        self.handles = Handles()
        """Handles of the images of all rows of queries."""
        self._owner = np.zeros(0, dtype=np.int64)
        self._used = np.zeros(0, dtype=np.int64)
        self._clock = self._filled = 0
        self.users: weakref.WeakSet[SlotUser] = weakref.WeakSet()
        """Engines whose slots are not given to other images."""

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "users": list(self.users)}  # weak references cannot be pickled

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update({**state, "users": weakref.WeakSet(state["users"])})

    def slots(self, handles: np.ndarray, image: Callable[[int], ImageRef]) -> np.ndarray:
        """Return the slots of images (R,), int64; missing tables are computed.

        Args:
            handles: handles of the images (R,).
            image: returns the image at a position in ``handles``; called if its tables are not in memory.
        """
        self._clock += 1
        slots = self.handles.slots[handles]
        self._used[slots[slots >= 0]] = self._clock
        if (missing := np.flatnonzero(slots < 0)).size:
            for handle, place in zip(*np.unique(handles[missing], return_index=True), strict=True):
                self._fill(int(handle), image(int(missing[place])))
            slots = self.handles.slots[handles]
        return slots

    def _fill(self, handle: int, image: ImageRef) -> None:
        """Write an image's tables to a slot."""
        dense = self.dense(image).astype(np.float32)  # comes first: an unreadable image must not take a slot
        edges = None if self.edges is None else self.edges(image)
        slot = self._free_slot()
        if edges is not None:
            self.edge_tables.put(slot, summed_area(edges.astype(np.float32) / 255))
        self.tables.put(slot, summed_area(dense))
        self.means.put(slot, l2_normalize(dense.mean(axis=(0, 1))).clip(-1, 1))
        self.handles.slots[handle], self._owner[slot], self._used[slot] = slot, handle, self._clock

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
        self.handles.leave_slot(int(self._owner[slot]))
        return slot


def grown(array: np.ndarray, count: int, fill: int) -> np.ndarray:
    """Return an int64 array of at least ``count`` entries, new ones ``fill``; it grows by doubling."""
    if count <= len(array):
        return array
    return np.concatenate([array, np.full(max(16, count), fill, dtype=np.int64)])
