"""One array per image, computed once: read from the cache folder where it was prepared, else made anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from vg_gym.storage.files import fingerprint
from vg_gym.storage.lru_cache import LRUCache
from vg_gym.storage.shards import ShardedArray, computed
from vg_gym.types import ImageRef

SHARD = 512
"""Images whose arrays are made, and written, at a time."""
RECENT = 256
"""Arrays that are kept in memory, as queries of an image follow each other."""


class ImageArrays:
    """A function of images, with a cache on disk.

    Args:
        name: what the arrays are, for the progress bar.
        identity: what they are a function of, beside the image.
        shape: of one array.
        dtype: of its values.
        make: images to their arrays (N, *shape).
    """

    def __init__(
        self, name: str, identity: str, shape: tuple[int, ...], dtype: type[np.generic],
        make: Callable[[Sequence[ImageRef]], np.ndarray],
    ):  # fmt: skip
        self.name, self.shape, self.dtype, self.make = name, shape, dtype, make
        self.fingerprint = fingerprint(name, identity, shape, np.dtype(dtype).name)
        self._stored: dict[str, tuple[ShardedArray, int]] = {}
        self._recent: LRUCache[np.ndarray] = LRUCache(RECENT)

    def __call__(self, image: ImageRef) -> np.ndarray:
        """The array of an image."""
        if image.key in self._stored:
            rows, row = self._stored[image.key]
            return rows[row]
        made = self._recent.get_or_make([image.key], lambda _: self.make([image]).astype(self.dtype))
        return made[image.key]

    def prepare(self, images: Sequence[ImageRef], progress: bool = False) -> None:
        """Make the arrays of many images and keep them in the cache folder, or find them there.

        What an interrupted run has made is not lost.
        """
        distinct = list({image.key: image for image in images}.values())
        keys = [image.key for image in distinct]
        make = lambda first, last: self.make(distinct[first:last])  # noqa: E731
        identity = [self.fingerprint, *keys]
        rows = computed(identity, self.shape, len(keys), make, self.name, progress, self.dtype, SHARD)
        self._stored.update({key: (rows, row) for row, key in enumerate(keys)})
