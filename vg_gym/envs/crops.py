"""``scoring="crop"``: the named scores from encoded crops, all rows in one forward pass per kind of crop.

The scores are those of :mod:`vg_gym.clip.scores`; here ``context`` compares with the crop grown 1.5 times (a crop
cannot be a ring), and ``surround`` mixes the crop with the image blurred outside the box (ReCLIP's isolation).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageFilter

from vg_gym import boxes as box_ops
from vg_gym.clip.dense import unit
from vg_gym.clip.encoder import ClipEncoder, crop
from vg_gym.clip.scores import RING, RING_WEIGHT, SCORES, SURROUND_WEIGHT
from vg_gym.registry import unknown
from vg_gym.types import Query

BLUR = 0.06
"""Radius of the blur outside the box, as a fraction of the longer side of the image."""


class CropScorer:
    """Region features and scores of one box per query, by encoding crops.

    Args:
        clip: the encoder.
        score: a key of :data:`vg_gym.clip.scores.SCORES`.
        others: unit embeddings (K, D) for ``contrast``.

    Raises:
        VGGymError: the score is unknown.
    """

    def __init__(self, clip: ClipEncoder, score: str, others: np.ndarray | None):
        if score not in SCORES:
            raise unknown("score", score, SCORES)
        self.clip, self.score, self.others = clip, score, others

    def __call__(self, queries: Sequence[Query | None], boxes: np.ndarray, text: np.ndarray):
        """(unit region features (B, D), scores (B,)) for pixel boxes (B, 4) and unit texts (B, D)."""
        images = [query.image.array() for query in queries if query is not None]
        region = self.clip.encode_crops([crop(image, box) for image, box in zip(images, boxes, strict=True)])
        plain = np.einsum("bd,bd->b", region, text)
        if self.score == "context":
            wide = [crop(image, box) for image, box in zip(images, box_ops.scale(boxes, RING), strict=True)]
            plain = plain - RING_WEIGHT * np.einsum("bd,bd->b", self.clip.encode_crops(wide), text)
        elif self.score == "surround":
            isolated = self.clip.encode_crops([blur_outside(i, b) for i, b in zip(images, boxes, strict=True)])
            plain = np.einsum("bd,bd->b", unit(region + SURROUND_WEIGHT * isolated), text)
        elif self.score == "contrast" and self.others is not None:
            plain = plain - np.einsum("bd,kd->bk", region, self.others).max(axis=1)
        return np.clip(region, -1, 1), plain.astype(np.float32)


def blur_outside(image: np.ndarray, box: np.ndarray) -> np.ndarray:
    """An image (H, W, 3) blurred everywhere but under a pixel box."""
    radius = BLUR * max(image.shape[:2])
    blurred = np.array(Image.fromarray(image).filter(ImageFilter.GaussianBlur(radius)))
    x1, y1 = np.floor(box[:2]).astype(int).clip(0)
    x2, y2 = np.ceil(box[2:]).astype(int)
    blurred[y1:y2, x1:x2] = image[y1:y2, x1:x2]
    return blurred
