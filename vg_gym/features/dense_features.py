"""Dense features of images for the environment: read or encoded, some of them ahead of time."""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import Future
from typing import Any

import numpy as np

from vg_gym.clip.encoder import ClipEncoder
from vg_gym.features.store import FeatureStore
from vg_gym.runtime.devices import single_threads
from vg_gym.storage.array_cache import ArrayCache
from vg_gym.storage.lru_cache import LRUCache
from vg_gym.types import ImageRef

MAX_RECENT_IMAGES = 256
"""Largest number of images whose features stay in memory beside their tables, usually 64 KB each."""


class DenseFeatures:
    """Dense features (g, g, D), float16, of images: from a store or the cache file, or encoded and then cached.

    Args:
        clip: encoder of the images.
        cache: cache file; None means no cache.
    """

    def __init__(self, clip: ClipEncoder, cache: ArrayCache | None):
        self.clip, self.cache = clip, cache
        self.store: FeatureStore | None = None
        """Store in which features are looked up first."""
        self.recent: LRUCache[np.ndarray] = LRUCache(MAX_RECENT_IMAGES)
        self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        count = 0 if self.clip.on_cpu else 1
        self._threads = single_threads(count, "vg_gym looks ahead")  # they start on first use and end with this object
        self._ahead: dict[str, Future[np.ndarray]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_threads", "_ahead")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin()

    def __call__(self, image: ImageRef) -> np.ndarray:
        """Return the features of an image.

        Raises:
            VGGymError: the image cannot be read.
        """
        features = self.recent.get(image.key)
        if features is None:
            begun = self._ahead.pop(image.key, None) if self._process == os.getpid() else None
            features = self._read(image) if begun is None else begun.result()
            self.recent.add(image.key, features)
        return features

    def look_ahead(self, images: Iterable[ImageRef]) -> None:
        """Start to read images that are needed soon, in this order; pending reads of other images are cancelled."""
        if self._process != os.getpid():
            self._begin()  # a forked process does not inherit the threads
        images_by_key = {image.key: image for image in images if image.key not in self.recent}
        for key in [key for key in self._ahead if key not in images_by_key]:
            self._ahead.pop(key).cancel()
        for key, image in images_by_key.items():
            if key not in self._ahead:
                self._ahead[key] = self._threads.submit(self._read, image)

    def close(self) -> None:
        """Cancel pending reads, and close the cache file; the next access starts both again."""
        if self._process == os.getpid():
            self._threads.shutdown(cancel_futures=True)
        self._begin()
        if self.cache is not None:
            self.cache.close()

    def _read(self, image: ImageRef) -> np.ndarray:
        features = None if self.store is None else self.store.dense(image.key)
        if features is None and self.cache is not None:
            features = self.cache.get(f"dense\n{image.key}")
        if features is None:
            features = self.clip.encode_dense([image.array()])[0].astype(np.float16)
            if self.cache is not None:
                self.cache.put(f"dense\n{image.key}", features)
        return features
