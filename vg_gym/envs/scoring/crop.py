"""``scoring="crop"``: the named scores from encoded crops, everything a step has to encode in one forward pass.

The scores are those of :mod:`vg_gym.clip.scores`; here ``context`` compares with the crop grown 1.5 times (a crop
cannot be a ring), and ``surround`` mixes the crop with the image blurred outside the box (ReCLIP's isolation).

Agents come back to boxes, and every episode may begin at the full image, so embeddings are kept by image and box.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import NamedTuple, TypeVar

import numpy as np
import torch

from vg_gym import boxes as box_ops
from vg_gym.clip.crops import blur, pixel_boxes
from vg_gym.clip.dense import l2_normalize
from vg_gym.clip.encoder import ClipEncoder
from vg_gym.clip.scores import RING, RING_WEIGHT, SCORES, SURROUND_WEIGHT
from vg_gym.errors import unknown
from vg_gym.storage.lru_cache import LRUCache
from vg_gym.types import ImageRef, Query

BLUR = 0.06
"""Radius of the blur outside the box, as a fraction of the longer side of the image."""
EMBEDDINGS = 100_000
"""Crop embeddings kept, of D * 4 bytes each: 51 MB for the built-in CLIP, 205 MB for a ViT-B/32."""
IMAGE_BYTES = 2**29
"""Pixels kept on the encoder's device: 580 images of 640 x 480; ``surround`` keeps a blurred copy of each too."""

Pixels = TypeVar("Pixels", np.ndarray, torch.Tensor)


class View(NamedTuple):
    """What is encoded: the crop of an image, or the image with all but the box blurred; equal views look the same."""

    image: str
    isolated: bool
    box: tuple[int, int, int, int]


class CropScorer:
    """Region features and scores of one box per query, by encoding crops.

    Args:
        clip: the encoder.
        score: a key of :data:`vg_gym.clip.scores.SCORES`.
        others: unit embeddings (K, D) for ``contrast``.
        embeddings: crop embeddings to keep, of D * 4 bytes each.
        image_bytes: pixels to keep; where they are fewer than the images of one step have, these are decoded anew
            at every step.

    Raises:
        VGGymError: the score is unknown.
    """

    def __init__(
        self,
        clip: ClipEncoder,
        score: str,
        others: np.ndarray | None,
        embeddings: int = EMBEDDINGS,
        image_bytes: int = IMAGE_BYTES,
    ):
        if score not in SCORES:
            raise unknown("score", score, SCORES)
        self.clip, self.score, self.others = clip, score, others
        self._embeddings: LRUCache[np.ndarray] = LRUCache(embeddings)
        self._sizes: LRUCache[tuple[int, int]] = LRUCache(embeddings)
        self._pixels: LRUCache[torch.Tensor] = LRUCache(image_bytes, attrgetter("nbytes"))

    def __call__(
        self, queries: Sequence[Query | None], boxes: np.ndarray, text: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Measure a box of each query's image; rows without a query get zeros.

        Args:
            queries: B of them; None for rows that are idle.
            boxes: pixels (B, 4).
            text: unit texts (B, D).

        Returns:
            Unit region features (B, D) and scores (B,), float32.
        """
        images = [query.image for query in queries if query is not None]
        busy = np.array([query is not None for query in queries], dtype=bool)
        features, scores = np.zeros((len(busy), self.clip.dim), np.float32), np.zeros(len(busy), np.float32)
        if images:
            features[busy], scores[busy] = self._measure(images, boxes[busy], text[busy])
        return features, scores

    def _measure(self, images: list[ImageRef], boxes: np.ndarray, text: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        views = self._views(images, boxes)
        if self.score == "context":
            views += self._views(images, box_ops.scale(boxes, RING))
        elif self.score == "surround":
            views += self._views(images, boxes, isolated=True)
        features = self._encode(views, images * (len(views) // len(images)))
        region, second = features[: len(images)], features[len(images) :]
        plain = np.einsum("bd,bd->b", region, text)
        if self.score == "context":
            plain = plain - RING_WEIGHT * np.einsum("bd,bd->b", second, text)
        elif self.score == "surround":
            plain = np.einsum("bd,bd->b", l2_normalize(region + SURROUND_WEIGHT * second), text)
        elif self.score == "contrast" and self.others is not None:
            plain = plain - np.einsum("bd,kd->bk", region, self.others).max(axis=1)
        return np.clip(region, -1, 1), plain

    def _views(self, images: Sequence[ImageRef], boxes: np.ndarray, isolated: bool = False) -> list[View]:
        whole = pixel_boxes(boxes, np.array([self._size(image) for image in images])).tolist()
        return [View(image.key, isolated, tuple(box)) for image, box in zip(images, whole, strict=True)]

    def _size(self, image: ImageRef) -> tuple[int, int]:
        """Width and height; an image on disk may have to open its file to know them."""
        size = self._sizes.get(image.key)
        if size is None:
            size = image.size
            self._sizes.add(image.key, size)
        return size

    def _encode(self, views: Sequence[View], images: Sequence[ImageRef]) -> np.ndarray:
        """Unit embeddings (N, D) of views of N images; those not seen lately in one forward, each once."""
        found = {view: self._embeddings.get(view) for view in views}
        known = {view: embedding for view, embedding in found.items() if embedding is not None}
        missing = {view: image for view, image in zip(views, images, strict=True) if view not in known}
        if missing:
            pictures, boxes = zip(*map(self._picture, missing, missing.values()), strict=True)
            for view, embedding in zip(missing, self.clip.encode_regions(pictures, np.array(boxes)), strict=True):
                known[view] = embedding.copy()  # not a part of its batch, which would stay as long as it does
                self._embeddings.add(view, known[view])
        return np.stack([known[view] for view in views])

    def _picture(self, view: View, image: ImageRef) -> tuple[torch.Tensor, tuple[int, int, int, int]]:
        """Pixels on the device, and the box in them that the view shows."""
        sharp = self._held(image, blurred=False)
        if not view.isolated:
            return sharp, view.box
        return _reveal(self._held(image, blurred=True).clone(), sharp, view.box), (0, 0, *self._size(image))

    def _held(self, image: ImageRef, blurred: bool) -> torch.Tensor:
        """The pixels of an image, sharp or blurred, on the device, decoded if they were not seen lately."""
        pixels = self._pixels.get((image.key, blurred))
        if pixels is None:
            pixels = self.clip.upload(_blur(self._held(image, False).cpu().numpy()) if blurred else image.array())
            self._pixels.add((image.key, blurred), pixels)
        return pixels


def blur_outside(image: np.ndarray, box: np.ndarray) -> np.ndarray:
    """An image (H, W, 3) blurred everywhere but under a pixel box."""
    return _reveal(_blur(image), image, pixel_boxes(box, image.shape[1::-1]).tolist())


def _blur(image: np.ndarray) -> np.ndarray:
    return blur(image, BLUR * max(image.shape[:2]))


def _reveal(blurred: Pixels, sharp: Pixels, box: Sequence[int]) -> Pixels:
    """A blurred image with the sharp one written into a box."""
    x1, y1, x2, y2 = box
    blurred[y1:y2, x1:x2] = sharp[y1:y2, x1:x2]
    return blurred
