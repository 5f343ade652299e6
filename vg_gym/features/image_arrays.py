"""One array per image, read from a feature store or the cache folder, or computed if it is in neither."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from vg_gym.features.store import FeatureStore
from vg_gym.storage.files import fingerprint
from vg_gym.storage.lru_cache import LRUCache
from vg_gym.storage.shards import ShardedArray, computed, even_sizes, fill
from vg_gym.types import ImageRef

SHARD_IMAGES = 512
"""Number of images in a shard, whose arrays are computed and written together."""
MAX_CACHED_ARRAYS = 256
"""Maximum number of arrays that are cached in memory, since queries of one image follow each other."""


class ImageArrays:
    """A function of images whose values are stored on disk: in a feature store (:meth:`make_in`) or the cache folder.

    Args:
        name: name of the arrays, for the progress bar.
        identity: identity of the function; a change of it invalidates stored arrays.
        shape: shape of one array.
        dtype: type of its values.
        make: function from images to their arrays (N, *shape).
    """

    def __init__(
        self, name: str, identity: str, shape: tuple[int, ...], dtype: type[np.generic],
        make: Callable[[Sequence[ImageRef]], np.ndarray],
    ):  # fmt: skip
        self.name, self.shape, self.dtype, self.make = name, shape, dtype, make
        self.fingerprint = fingerprint(name, identity, shape, np.dtype(dtype).name)
        self._stored: dict[str, tuple[ShardedArray, int]] = {}
        self._store: tuple[FeatureStore, ShardedArray] | None = None
        self._recent: LRUCache[np.ndarray] = LRUCache(MAX_CACHED_ARRAYS)

    def __call__(self, image: ImageRef) -> np.ndarray:
        """Return the array of an image."""
        if (place := self._look_up(image.key)) is not None:
            rows, row = place
            return rows[row]
        arrays = self._recent.get_or_make([image.key], lambda _: self.make([image]).astype(self.dtype))
        return arrays[image.key]

    def _look_up(self, key: str) -> tuple[ShardedArray, int] | None:
        """Return the sharded array on disk and the row of an image in it, or None."""
        if self._store is not None:
            store, rows = self._store
            if (row := int(store.dense_rows([key])[0])) >= 0:
                return rows, row
        return self._stored.get(key)

    def prepare(self, images: Iterable[ImageRef], progress: bool = False) -> None:
        """Read the arrays of many images from the cache folder, or compute them and write them there.

        The finished shards of an interrupted run remain.
        """
        distinct = list({image.key: image for image in images if self._look_up(image.key) is None}.values())
        if not distinct:
            return
        keys = [image.key for image in distinct]
        make = lambda first, last: self.make(distinct[first:last])  # noqa: E731
        identity = [self.fingerprint, *keys]
        rows = computed(identity, self.shape, len(keys), make, self.name, progress, self.dtype, SHARD_IMAGES)
        self._stored.update({key: (rows, row) for row, key in enumerate(keys)})

    def attach(self, store: FeatureStore) -> None:
        """Use the arrays in a store from now on, if it has those of all its images."""
        rows = self._rows_in(store)
        self._store = None if rows.missing() else (store, rows)

    def make_in(self, store: FeatureStore, images: Sequence[ImageRef], progress: bool = True) -> None:
        """Compute the missing arrays of a store's images and write them to the store.

        Args:
            store: the feature store.
            images: images of the store's keys, in their order.
            progress: show a progress bar.
        """
        fill(self._rows_in(store), lambda first, last: self.make(images[first:last]), self.name, progress)

    def _rows_in(self, store: FeatureStore) -> ShardedArray:
        """Return the sharded array in a store; its name contains the fingerprint, so that functions do not mix."""
        name = f"{self.name.replace(' ', '-')}-{self.fingerprint[:12]}"
        sizes = even_sizes(store.manifest.images, store.manifest.shard)
        return ShardedArray(store.path, name, sizes, self.shape, self.dtype)
