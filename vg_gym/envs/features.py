"""What the environment knows of an image and an expression, computed once: dense features, embeddings, score maps."""

from __future__ import annotations

import hashlib
import os
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from vg_gym.clip.dense import summed_area, unit
from vg_gym.clip.encoder import ClipEncoder
from vg_gym.envs.phrases import noun_phrases
from vg_gym.types import ImageRef, Query


@dataclass(frozen=True)
class QueryFeatures:
    """Everything an episode needs, for one query."""

    text: np.ndarray
    """Unit embedding of the expression (D,)."""
    tokens: np.ndarray | None
    """Unit features of its tokens (L, D), zero beyond its end, where the bank makes them."""
    image: np.ndarray
    """Unit mean of the image's dense features (D,)."""
    table: np.ndarray
    """Summed-area table of dense features (g+1, g+1, D)."""
    maps: np.ndarray
    """Summed-area table of standardised score maps (g+1, g+1, M): the expression, then its noun phrases."""


class FeatureBank:
    """Dense features of images, held as fp16: g * g * D * 2 bytes an image (64 KB for the built-in CLIP).

    Args:
        clip: the encoder.
        tokens: also encode the expressions' tokens.
        phrases: also make score maps of the head and anchor noun phrases (M = 3 instead of 1).
        capacity: images held in memory; the least recently used are encoded again when needed.
    """

    def __init__(self, clip: ClipEncoder, tokens: bool = False, phrases: bool = False, capacity: int = 50_000):
        self.clip, self.tokens, self.phrases, self.capacity = clip, tokens, phrases, capacity
        self._tokens: dict[str, np.ndarray] = {}
        self._dense: OrderedDict[str, np.ndarray] = OrderedDict()

    @property
    def num_maps(self) -> int:
        """M, score maps per query."""
        return 3 if self.phrases else 1

    def prepare(self, queries: Sequence[Query], cache: bool = False, progress: bool = False) -> None:
        """Encode all distinct images of some queries ahead of time.

        Args:
            queries: whose images to encode.
            cache: keep the features in the user's cache folder, memory-mapped, for the next run and for others.
            progress: show a progress bar.
        """
        images = {q.image.key: q.image for q in queries}
        missing = [image for key, image in images.items() if key not in self._dense]
        if not missing:
            return
        self.capacity = max(self.capacity, len(images))
        if cache:
            stored = _cached(self.clip, missing, progress)
            self._dense.update(zip((image.key for image in missing), stored, strict=True))
        for image in tqdm(missing, desc="features", unit="image", disable=cache or not progress):
            self.dense(image)
        self.clip.encode_text(list(dict.fromkeys(q.expression for q in queries)))

    def dense(self, image: ImageRef) -> np.ndarray:
        """Dense features (g, g, D) of an image, float16."""
        found = self._dense.get(image.key)
        if found is None:
            found = self.clip.encode_dense([image.array()])[0].astype(np.float16)
            self._dense[image.key] = found
            while len(self._dense) > self.capacity:
                self._dense.popitem(last=False)
        else:
            self._dense.move_to_end(image.key)
        return found

    def _token_features(self, expression: str) -> np.ndarray:
        if expression not in self._tokens:
            self._tokens[expression] = self.clip.encode_tokens([expression])[0].astype(np.float32)
        return self._tokens[expression]

    def query(self, query: Query) -> QueryFeatures:
        """All features of a query."""
        dense = self.dense(query.image).astype(np.float32)
        texts = [query.expression, *(noun_phrases(query.expression) if self.phrases else ())]
        embedded = self.clip.encode_text([text or query.expression for text in texts])
        present = np.array([bool(text) for text in texts])
        maps = np.einsum("yxd,md->yxm", unit(dense), embedded)
        maps = (maps - maps.mean(axis=(0, 1))) / np.maximum(maps.std(axis=(0, 1)), 1e-3) * present
        return QueryFeatures(
            text=embedded[0],
            tokens=self._token_features(query.expression) if self.tokens else None,
            image=unit(dense.mean(axis=(0, 1))),
            table=summed_area(dense),
            maps=summed_area(maps),
        )


def _cached(clip: ClipEncoder, images: Sequence[ImageRef], progress: bool) -> np.ndarray:
    """Features (N, g, g, D) fp16 of images, memory-mapped from the cache folder, computed there if need be."""
    identity = hashlib.sha256("\n".join([clip.fingerprint, *(image.key for image in images)]).encode()).hexdigest()
    path = cache_folder() / "features" / f"{identity[:24]}.npy"
    shape = (len(images), clip.grid, clip.grid, clip.dim)
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.{os.getpid()}.part")
        store = np.lib.format.open_memmap(part, mode="w+", dtype=np.float16, shape=shape)
        try:
            for row, image in enumerate(tqdm(images, desc="features", unit="image", disable=not progress)):
                store[row] = clip.encode_dense([image.array()])[0]
            store.flush()
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    return np.load(path, mmap_mode="r")


def cache_folder() -> Path:
    """Where computed things are kept: ``$XDG_CACHE_HOME/vg_gym`` or ``~/.cache/vg_gym``."""
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "vg_gym"
