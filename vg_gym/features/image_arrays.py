"""One array per image, computed once: read from a feature store or the cache folder if it is there, else made anew."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from vg_gym.features.store import FeatureStore
from vg_gym.storage.files import fingerprint
from vg_gym.storage.lru_cache import LRUCache
from vg_gym.storage.shards import ShardedArray, computed, even_sizes, fill
from vg_gym.types import ImageRef

SHARD = 512
"""Images whose arrays are made, and written, at a time."""
RECENT = 256
"""Arrays that are kept in memory, as queries of an image follow each other."""


class ImageArrays:
    """A function of images, kept on disk: in a feature store (:meth:`make_in`), or in the cache folder.

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
        self._store: tuple[FeatureStore, ShardedArray] | None = None
        self._recent: LRUCache[np.ndarray] = LRUCache(RECENT)

    def __call__(self, image: ImageRef) -> np.ndarray:
        """The array of an image."""
        if (found := self._look_up(image.key)) is not None:
            rows, row = found
            return rows[row]
        made = self._recent.get_or_make([image.key], lambda _: self.make([image]).astype(self.dtype))
        return made[image.key]

    def _look_up(self, key: str) -> tuple[ShardedArray, int] | None:
        """Where on disk the array of an image is."""
        if self._store is not None:
            store, rows = self._store
            if (row := int(store.dense_rows([key])[0])) >= 0:
                return rows, row
        return self._stored.get(key)

    def prepare(self, images: Iterable[ImageRef], progress: bool = False) -> None:
        """Make the arrays of many images and keep them in the cache folder, or find them there.

        What an interrupted run has made is not lost.
        """
        distinct = list({image.key: image for image in images if self._look_up(image.key) is None}.values())
        if not distinct:
            return
        keys = [image.key for image in distinct]
        make = lambda first, last: self.make(distinct[first:last])  # noqa: E731
        identity = [self.fingerprint, *keys]
        rows = computed(identity, self.shape, len(keys), make, self.name, progress, self.dtype, SHARD)
        self._stored.update({key: (rows, row) for row, key in enumerate(keys)})

    def attach(self, store: FeatureStore) -> None:
        """Read from a store the arrays of its images, if it has all of them."""
        rows = self._rows_in(store)
        self._store = None if rows.missing() else (store, rows)

    def make_in(self, store: FeatureStore, images: Sequence[ImageRef], progress: bool = True) -> None:
        """Make what is missing of the arrays of a store's images, and keep them in it.

        Args:
            store: where.
            images: those of its keys, in their order.
            progress: show a bar.
        """
        fill(self._rows_in(store), lambda first, last: self.make(images[first:last]), self.name, progress)

    def _rows_in(self, store: FeatureStore) -> ShardedArray:
        """Named after what makes them, so that those of another proposer are not mistaken for them."""
        name = f"{self.name.replace(' ', '-')}-{self.fingerprint[:12]}"
        sizes = even_sizes(store.manifest.images, store.manifest.shard)
        return ShardedArray(store.path, name, sizes, self.shape, self.dtype)
