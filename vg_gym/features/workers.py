"""Workers that make a feature store; each call makes the missing files of one shard of texts or images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from vg_gym.clip.crops import resize
from vg_gym.clip.encoder import ClipEncoder
from vg_gym.features.score_maps import scanned_regions, score_maps
from vg_gym.features.store import FeatureStore
from vg_gym.runtime.devices import share_out
from vg_gym.types import ImageRef

Load = Callable[[], ClipEncoder]
"""Function with which a worker loads the encoder."""


CHUNK_TEXTS = 64
"""Number of texts that a thread encodes at a time on a CPU."""


def _opened(path: Path, load: Load) -> tuple[FeatureStore, ClipEncoder]:
    store, clip = FeatureStore(path), load()
    store.check_clip(clip)
    return store, clip


def text_worker(path: Path, load: Load) -> Callable[[int], int]:
    """Return a worker that writes the shard of texts with a number, and returns the number."""
    store, clip = _opened(path, load)
    return partial(_make_texts, store, clip)


def _make_texts(store: FeatureStore, clip: ClipEncoder, number: int) -> int:
    texts, text = store.keys.texts, store.arrays["text"]
    if not text.has(number):
        part = texts[slice(*text.span(number))]
        step = CHUNK_TEXTS if clip.on_cpu else clip.batch_size
        chunks = [part[at : at + step] for at in range(0, len(part), step)]
        text.write(number, np.concatenate(share_out(clip.encode_text, chunks, clip.device)))
    tokens = store.arrays.get("tokens")
    if tokens is not None and number < len(tokens.sizes) and not tokens.has(number):
        tokens.write(number, _token_features(clip, texts[slice(*tokens.span(number))]))
    return number


def _token_features(clip: ClipEncoder, texts: list[str]) -> np.ndarray:
    # On a CPU texts are encoded one at a time: the last bits of a feature depend on the size of the batch.
    step = 1 if clip.on_cpu else clip.batch_size
    return np.concatenate([clip.encode_tokens(texts[at : at + step]) for at in range(0, len(texts), step)])


def image_worker(path: Path, load: Load) -> Callable[[tuple[int, list[ImageRef]]], int]:
    """Return a worker that writes the dense features and score maps of (number, images), and returns the number."""
    store, clip = _opened(path, load)
    return partial(_make_images, store, clip)


def _make_images(store: FeatureStore, clip: ClipEncoder, item: tuple[int, list[ImageRef]]) -> int:
    number, images = item
    dense, maps = store.arrays["dense"], store.arrays["maps"]
    if not dense.has(number):
        dense.write(number, _encode(clip, images))
    if not maps.has(number):
        items = [*zip(range(*dense.span(number)), dense.shard(number), strict=True)]
        of_images = share_out(lambda item: np.stack(_maps_of(store, clip, *item)), items)
        maps.write(number, np.concatenate(of_images))
    return number


CPU_BATCH_IMAGES = 16
"""Number of images that a thread reads and encodes at a time on a CPU."""


def _encode(clip: ClipEncoder, images: Sequence[ImageRef]) -> np.ndarray:
    """Return dense features, float16 (N, g, g, D); threads read batches and, on a CPU, also encode them."""
    batch = CPU_BATCH_IMAGES if clip.on_cpu else max(1, clip.batch_size // 4)
    chunks = [images[at : at + batch] for at in range(0, len(images), batch)]

    def read(image: ImageRef) -> np.ndarray:
        return resize(image.array(), clip.image_size, clip.interpolation)

    def encode(chunk: Sequence[ImageRef]) -> np.ndarray:
        pixels = [*map(read, chunk)] if clip.on_cpu else share_out(read, chunk)
        return clip.encode_dense(pixels).astype(np.float16)

    return np.concatenate(share_out(encode, chunks, clip.device))


def _maps_of(store: FeatureStore, clip: ClipEncoder, row: int, dense: np.ndarray) -> list[np.ndarray]:
    """Return the score maps of all queries of an image."""
    expressions = [store.keys.texts[text] for text in store.keys.of_image(row)]
    return score_maps(clip, scanned_regions(dense), expressions, store.manifest.phrases, store.encode_text)
