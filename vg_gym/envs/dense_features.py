"""Dense features of images as the environment needs them: read, or encoded, some of them ahead of time."""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import Future
from typing import Any

import numpy as np

from vg_gym.clip.encoder import ClipEncoder
from vg_gym.devices import single_threads
from vg_gym.features.store import FeatureStore
from vg_gym.storage.array_cache import ArrayCache
from vg_gym.storage.lru_cache import LRUCache
from vg_gym.types import ImageRef

RECENT = 256
"""Images whose features are kept in memory beside their tables, as a rule 64 KB each."""


class DenseFeatures:
    """Dense features (g, g, D), float16, of images: from a store, from the cache file, or encoded and kept there.

    Args:
        clip: the encoder.
        cache: the file; None for none.
    """

    def __init__(self, clip: ClipEncoder, cache: ArrayCache | None):
        self.clip, self.cache = clip, cache
        self.store: FeatureStore | None = None
        """Where features are looked up first."""
        self.recent: LRUCache[np.ndarray] = LRUCache(RECENT)
        self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        count = 0 if self.clip.on_cpu else 1
        self._threads = single_threads(count, "vg_gym looks ahead")  # begin when first needed, end with this object
        self._ahead: dict[str, Future[np.ndarray]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_threads", "_ahead")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin()

    def __call__(self, image: ImageRef) -> np.ndarray:
        """The features of an image.

        Raises:
            VGGymError: the image cannot be read.
        """
        found = self.recent.get(image.key)
        if found is None:
            begun = self._ahead.pop(image.key, None) if self._process == os.getpid() else None
            found = self._read(image) if begun is None else begun.result()
            self.recent.add(image.key, found)
        return found

    def look_ahead(self, images: Iterable[ImageRef]) -> None:
        """Begin to read images that are needed soon, in this order; earlier wishes that are not among them lapse."""
        if self._process != os.getpid():
            self._begin()  # a forked child has no thread
        wanted = {image.key: image for image in images if image.key not in self.recent}
        for key in [key for key in self._ahead if key not in wanted]:
            self._ahead.pop(key).cancel()
        for key, image in wanted.items():
            if key not in self._ahead:
                self._ahead[key] = self._threads.submit(self._read, image)

    def close(self) -> None:
        """Read nothing ahead any more, and close the cache file; whoever asks again opens both again."""
        if self._process == os.getpid():
            self._threads.shutdown(cancel_futures=True)
        self._begin()
        if self.cache is not None:
            self.cache.close()

    def _read(self, image: ImageRef) -> np.ndarray:
        found = None if self.store is None else self.store.dense(image.key)
        if found is None and self.cache is not None:
            found = self.cache.get(f"dense\n{image.key}")
        if found is None:
            found = self.clip.encode_dense([image.array()])[0].astype(np.float16)
            if self.cache is not None:
                self.cache.put(f"dense\n{image.key}", found)
        return found
