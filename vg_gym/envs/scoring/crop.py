"""``scoring="crop"``: the named scores from encoded crops, everything a step has to encode in one forward pass.

The scores are those of :mod:`vg_gym.clip.scores`; here ``context`` compares with the crop grown 1.5 times (a crop
cannot be a ring), and ``surround`` mixes the crop with the image blurred outside the box (ReCLIP's isolation).

Agents come back to boxes, and every episode may begin at the full image, so embeddings are kept by image and box. A new
score is a function and a line of :data:`CROP_SCORES` here, beside its dense form in :mod:`vg_gym.clip.scores`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym.boxes import to_numpy
from vg_gym.clip.crops import blur, pixel_boxes
from vg_gym.clip.dense import l2_normalize
from vg_gym.clip.encoder import ClipEncoder
from vg_gym.clip.scores import RING, RING_WEIGHT, SURROUND_WEIGHT, negative_texts
from vg_gym.envs.episodes import Catalog
from vg_gym.envs.options import EnvOptions
from vg_gym.envs.scoring.protocol import Playing, Scorer
from vg_gym.errors import unknown
from vg_gym.lazily import torch
from vg_gym.storage.lru_cache import LRUCache
from vg_gym.types import ImageRef, Query

BLUR = 0.06
"""Radius of the blur outside the box, as a fraction of the longer side of the image."""
EMBEDDINGS = 100_000
"""Crop embeddings kept, of D * 4 bytes each: 51 MB for the built-in CLIP, 205 MB for a ViT-B/32."""
IMAGE_BYTES = 2**29
"""Pixels kept on the encoder's device: 580 images of 640 x 480; ``surround`` keeps a blurred copy of each too."""


class View(NamedTuple):
    """What is encoded: the crop of an image, or the image blurred outside the box; equal views have equal pixels."""

    image: str
    isolated: bool
    box: tuple[int, int, int, int]


@dataclass(frozen=True)
class CropScore:
    """A named score of crops.

    Args:
        combine: (unit features (B, D) of the crops, of the second views, unit texts (B, D), negative texts (N, D)) ->
            scores (B,).
        second: what else is encoded for each box: ``wider``, its crop grown :data:`RING` times; ``isolated``, the image
            blurred outside it; empty for nothing.
    """

    combine: Callable[..., np.ndarray]
    second: str = ""


def _cosine(region, second, text, negatives):
    return np.einsum("bd,bd->b", region, text)


def _context(region, second, text, negatives):
    return _cosine(region, None, text, None) - RING_WEIGHT * np.einsum("bd,bd->b", second, text)


def _surround(region, second, text, negatives):
    return np.einsum("bd,bd->b", l2_normalize(region + SURROUND_WEIGHT * second), text)


def _contrast(region, second, text, negatives):
    assert negatives is not None, "the contrast score compares with other expressions"
    return _cosine(region, None, text, None) - np.einsum("bd,kd->bk", region, negatives).max(axis=1)


CROP_SCORES: dict[str, CropScore] = {
    "cosine": CropScore(_cosine),
    "context": CropScore(_context, "wider"),
    "surround": CropScore(_surround, "isolated"),
    "contrast": CropScore(_contrast),
}
"""Name -> score over crops."""


class CropScores:
    """Region features and scores of one box per query, by encoding crops.

    Args:
        clip: the encoder.
        score: a key of :data:`CROP_SCORES`.
        negatives: unit embeddings (N, D) of the texts that ``contrast`` compares with.
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
        negatives: np.ndarray | None,
        embeddings: int = EMBEDDINGS,
        image_bytes: int = IMAGE_BYTES,
    ):
        if score not in CROP_SCORES:
            raise unknown("score", score, CROP_SCORES)
        self.clip, self.score, self.negatives = clip, CROP_SCORES[score], negatives
        self._embeddings: LRUCache[np.ndarray] = LRUCache(embeddings)
        self._sizes: LRUCache[tuple[int, int]] = LRUCache(embeddings)
        self._pixels: LRUCache[torch.Tensor] = LRUCache(image_bytes, attrgetter("nbytes"))

    def __call__(self, queries: Sequence[Query], boxes: np.ndarray, text: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Measure a box of each query's image.

        Args:
            queries: B of them.
            boxes: pixels (B, 4).
            text: unit texts (B, D).

        Returns:
            Unit region features (B, D) and scores (B,), float32.
        """
        images = [query.image for query in queries]
        views = self._views(images, boxes)
        if self.score.second == "wider":
            views += self._views(images, box_ops.scale(boxes, RING))
        elif self.score.second == "isolated":
            views += self._views(images, boxes, isolated=True)
        features = self._encode(views, images * (len(views) // len(images)))
        region, second = features[: len(images)], features[len(images) :]
        return np.clip(region, -1, 1), self.score.combine(region, second, text, self.negatives)

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
        """Unit embeddings (N, D) of views of N images; those not cached in one forward, each once."""
        found = {view: self._embeddings.get(view) for view in views}
        known = {view: embedding for view, embedding in found.items() if embedding is not None}
        missing = {view: image for view, image in zip(views, images, strict=True) if view not in known}
        if missing:
            pixels, boxes = zip(*map(self._shown, missing, missing.values()), strict=True)
            for view, embedding in zip(missing, self.clip.encode_regions(pixels, np.array(boxes)), strict=True):
                known[view] = embedding.copy()  # not a part of its batch, which would stay as long as it does
                self._embeddings.add(view, known[view])
        return np.stack([known[view] for view in views])

    def _shown(self, view: View, image: ImageRef) -> tuple[torch.Tensor, tuple[int, int, int, int]]:
        """Pixels on the device, and the box in them that the view shows."""
        sharp = self._pixels_of(image, blurred=False)
        if not view.isolated:
            return sharp, view.box
        return _reveal(self._pixels_of(image, blurred=True).clone(), sharp, view.box), (0, 0, *self._size(image))

    def _pixels_of(self, image: ImageRef, blurred: bool) -> torch.Tensor:
        """The pixels of an image, sharp or blurred, on the device, decoded where they are not cached."""
        pixels = self._pixels.get((image.key, blurred))
        if pixels is None:
            pixels = self.clip.upload(_blur(self._pixels_of(image, False).cpu().numpy()) if blurred else image.array())
            self._pixels.add((image.key, blurred), pixels)
        return pixels


class CropScorer(Scorer):
    """Encodes the crops of all rows in one forward pass, and looks up cached ones."""

    def __init__(self, options: EnvOptions, catalog: Catalog):
        super().__init__(options, catalog)
        clip = self.bank.clip
        self.crops = CropScores(clip, options.score, negative_texts(clip, options.score))

    def score(self, boxes: Any, playing: Playing) -> tuple[np.ndarray, np.ndarray]:
        """See :meth:`Scorer.score`."""
        queries = [self.catalog.query(int(index)) for index in playing.episodes]
        return self.crops(queries, to_numpy(boxes) * self.catalog.scales[playing.episodes], to_numpy(playing.text))


def _blur(image: np.ndarray) -> np.ndarray:
    return blur(image, BLUR * max(image.shape[:2]))


def _reveal(blurred: torch.Tensor, sharp: torch.Tensor, box: Sequence[int]) -> torch.Tensor:
    """A blurred image with the sharp one written into a box."""
    x1, y1, x2, y2 = box
    blurred[y1:y2, x1:x2] = sharp[y1:y2, x1:x2]
    return blurred
