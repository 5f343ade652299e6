"""The named scores from encoded crops; all crops of a call are encoded in one forward pass.

The formulas are those of :mod:`vg_gym.clip.scores`, with other second features. ``context`` compares with the crop
grown 1.5 times, because a crop cannot be a ring. ``surround`` mixes the crop with the image blurred outside the box
(ReCLIP's isolation).

Agents return to boxes, and every episode may begin at the full image, so embeddings are cached by image and box.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from operator import attrgetter
from typing import NamedTuple

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym.clip.crops import blur, pixel_boxes
from vg_gym.clip.encoder import ClipEncoder
from vg_gym.clip.scores import RING_SCALE, score_of
from vg_gym.runtime.lazy_imports import torch
from vg_gym.storage.lru_cache import LRUCache
from vg_gym.types import ImageRef, Query

BLUR = 0.06
"""Radius of the blur outside the box, as a fraction of the longer side of the image."""
EMBEDDINGS = 100_000
"""Number of cached crop embeddings of D * 4 bytes each: 51 MB for the built-in CLIP, 205 MB for a ViT-B/32."""
IMAGE_BYTES = 2**29
"""Bytes of pixels cached on the encoder's device: 580 images of 640 x 480. ``surround`` caches blurred copies too."""


class View(NamedTuple):
    """Part of an image that CLIP encodes: a crop, or the image blurred outside a box. Equal views have equal pixels."""

    image: str
    isolated: bool
    box: tuple[int, int, int, int]


_dot = partial(np.einsum, "...d,...d->...")
"""Inner products of broadcast vectors."""


class CropScores:
    """Computes region features and scores of one box per query from encoded crops.

    Args:
        clip: encoder of the crops.
        score: a key of :data:`vg_gym.clip.scores.SCORES`.
        negatives: unit embeddings (N, D) of the texts that ``contrast`` compares with.
        embeddings: number of cached crop embeddings, of D * 4 bytes each.
        image_bytes: bytes of cached pixels. If the images of one step have more, every step decodes them again.

    Raises:
        VGGymError: the score is unknown.
    """

    def __init__(
        self,
        clip: ClipEncoder,
        score: str,
        negatives: np.ndarray | None,
        embeddings: int = EMBEDDINGS,
        image_bytes: int = IMAGE_BYTES,
    ):
        self.clip, self.score, self.negatives = clip, score_of(score), negatives
        self._embeddings: LRUCache[np.ndarray] = LRUCache(embeddings)
        self._sizes: LRUCache[tuple[int, int]] = LRUCache(embeddings)
        self._pixels: LRUCache[torch.Tensor] = LRUCache(image_bytes, attrgetter("nbytes"))

    def __call__(self, queries: Sequence[Query], boxes: np.ndarray, text: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return features and scores of a box in each query's image.

        Args:
            queries: B queries.
            boxes: boxes in pixels (B, 4).
            text: unit embeddings of the expressions (B, D).

        Returns:
            Unit region features (B, D) and scores (B,), float32.
        """
        images = [query.image for query in queries]
        views = self._views(images, boxes)
        if self.score.view == "wider":
            views += self._views(images, box_ops.scale(boxes, RING_SCALE))
        elif self.score.view == "isolated":
            views += self._views(images, boxes, isolated=True)
        features = self._encode(views, images * (len(views) // len(images)))
        region, second = features[: len(images)], features[len(images) :]
        return np.clip(region, -1, 1), self.score.formula(region, second, text, self.negatives, _dot)

    def _views(self, images: Sequence[ImageRef], boxes: np.ndarray, isolated: bool = False) -> list[View]:
        whole = pixel_boxes(boxes, np.array([self._size(image) for image in images])).tolist()
        return [View(image.key, isolated, tuple(box)) for image, box in zip(images, whole, strict=True)]

    def _size(self, image: ImageRef) -> tuple[int, int]:
        """Return width and height from the cache; an image on disk may have to open its file for them."""
        size = self._sizes.get(image.key)
        if size is None:
            size = image.size
            self._sizes.add(image.key, size)
        return size

    def _encode(self, views: Sequence[View], images: Sequence[ImageRef]) -> np.ndarray:
        """Return unit embeddings (N, D) of views of N images; one forward pass encodes each missing view once."""
        cached = {view: self._embeddings.get(view) for view in views}
        embeddings = {view: embedding for view, embedding in cached.items() if embedding is not None}
        missing = {view: image for view, image in zip(views, images, strict=True) if view not in embeddings}
        if missing:
            pixels, boxes = zip(*map(self._shown_pixels, missing, missing.values()), strict=True)
            for view, embedding in zip(missing, self.clip.encode_regions(pixels, np.array(boxes)), strict=True):
                embeddings[view] = embedding.copy()  # a view of the batch would keep the whole batch in memory
                self._embeddings.add(view, embeddings[view])
        return np.stack([embeddings[view] for view in views])

    def _shown_pixels(self, view: View, image: ImageRef) -> tuple[torch.Tensor, tuple[int, int, int, int]]:
        """Return pixels on the device, and the box in them that the view shows."""
        sharp = self._pixels_of(image, blurred=False)
        if not view.isolated:
            return sharp, view.box
        return _reveal(self._pixels_of(image, blurred=True).clone(), sharp, view.box), (0, 0, *self._size(image))

    def _pixels_of(self, image: ImageRef, blurred: bool) -> torch.Tensor:
        """Return the pixels of an image, sharp or blurred, on the device; decode them if they are not cached."""
        pixels = self._pixels.get((image.key, blurred))
        if pixels is None:
            pixels = self.clip.upload(_blur(self._pixels_of(image, False).cpu().numpy()) if blurred else image.array())
            self._pixels.add((image.key, blurred), pixels)
        return pixels


def _blur(image: np.ndarray) -> np.ndarray:
    return blur(image, BLUR * max(image.shape[:2]))


def _reveal(blurred: torch.Tensor, sharp: torch.Tensor, box: Sequence[int]) -> torch.Tensor:
    """Copy a box of the sharp image into the blurred one and return the blurred one."""
    x1, y1, x2, y2 = box
    blurred[y1:y2, x1:x2] = sharp[y1:y2, x1:x2]
    return blurred
