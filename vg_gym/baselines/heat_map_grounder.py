"""Heat-map pipelines: segments are scored by CLIP, scores painted into a map, and the best box of the map is answered.

Maps are :mod:`vg_gym.baselines.heat_maps`, their search is :mod:`vg_gym.baselines.box_search`.

``seg-clip`` scores a segment by the crop of its box; ``adapting-clip`` by region-based attention pooling in one pass
(Li et al. 2022, :mod:`vg_gym.clip.region_attention`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from vg_gym import boxes as box_ops
from vg_gym.baselines.box_search import best_box
from vg_gym.baselines.heat_maps import AGGREGATES, heat_map
from vg_gym.baselines.segments import SegmentProposer
from vg_gym.clip.crops import crop
from vg_gym.clip.encoder import ClipEncoder, load_clip
from vg_gym.clip.region_attention import encode_segments
from vg_gym.config import NonNegativeFloat, PositiveFloat, PositiveInt
from vg_gym.errors import unknown
from vg_gym.storage.files import fingerprint
from vg_gym.storage.lru_cache import LRUCache
from vg_gym.types import ImageRef, Prediction, Query, refuse_initial_boxes

TUNED = {("crops", "refshapes"): (2.5, 0.005), ("regions", "refshapes"): (2.5, 0.02)}
"""(scorer, CLIP) -> (alpha, tau), by ``python experiments/heat_map_tuning.py`` on RefShapes val."""
PUBLISHED = (0.8, 0.02)
"""(alpha, tau) for other CLIPs, of the size that Li et al. use."""
MAP_SIDE = 224
"""Longer side, in cells, of a map that is searched for a box."""
LEAST_SIDE = 2
"""Shorter side, in cells: boxes of a map have sides of at least two cells (:func:`best_box`)."""
IMAGES = 256
"""Images whose segments and embeddings are kept."""


@dataclass(frozen=True)
class EncodedSegments:
    """The segments of an image as CLIP sees them."""

    masks: np.ndarray
    """Bool (R, h, w), on the map that is searched."""
    embeddings: np.ndarray
    """(R, D), unit length."""


class HeatMapGrounder:
    """Segments, CLIP, heat map, box search. An image is segmented and encoded once, however many expressions it has.

    Args:
        scorer: ``crops`` (of the segments' boxes) or ``regions`` (region-based attention pooling).
        clip: name of the CLIP.
        alpha: price of area in the box search; default as tuned on val (:data:`TUNED`).
        tau: temperature of the heat map; default as tuned with it.
        aggregate: over the segments of a pixel, a name in :data:`~vg_gym.baselines.heat_maps.AGGREGATES`.
        methods: segmentations, joined by ``+``.
        counts: numbers of segments.
        upsample: patches per patch size along each axis, for ``regions`` with a ViT.
        prompt: text with ``{}`` for the expression; default ``a photo of {}``, bare for word-level CLIPs.
        device: torch device.

    Raises:
        VGGymError: the scorer, the aggregate, the CLIP or a segmentation is unknown, or the prompt has no ``{}``.
    """

    def __init__(
        self,
        scorer: str,
        clip: str = "refshapes",
        alpha: NonNegativeFloat | None = None,
        tau: PositiveFloat | None = None,
        aggregate: str = "mean",
        methods: str = "slic+watershed",
        counts: Sequence[PositiveInt] = (12, 24, 48),
        upsample: PositiveInt = 2,
        prompt: str | None = None,
        device: str = "cpu",
    ):
        if scorer not in ("crops", "regions"):
            raise unknown("scorer", scorer, ("crops", "regions"))
        if aggregate not in AGGREGATES:
            raise unknown("aggregate", aggregate, AGGREGATES)
        self.name = "seg-clip" if scorer == "crops" else "adapting-clip"
        settings = {k: v for k, v in locals().items() if k not in ("self", "device")}
        self.clip: ClipEncoder = load_clip(clip, device)
        tuned = TUNED.get((scorer, clip), PUBLISHED)
        self.alpha, self.tau = tuned[0] if alpha is None else alpha, tuned[1] if tau is None else tau
        self.fingerprint = fingerprint(sorted(settings.items()), self.alpha, self.tau, self.clip.fingerprint)
        self.scorer, self.aggregate, self.upsample = scorer, aggregate, upsample
        self.segments = SegmentProposer(methods, counts)
        self.prompt = self.clip.prompt_template(prompt)
        self._encoded: LRUCache[EncodedSegments] = LRUCache(IMAGES)

    def ground(self, queries: Sequence[Query], initial_boxes: np.ndarray | None = None) -> list[Prediction]:
        """The best box of each query's heat map.

        ``score`` is the value of the box; ``details``: ``heat_map`` (h, w), ``evaluations`` (segments scored).
        """
        refuse_initial_boxes(self.name, initial_boxes)
        encoded = self._encode({query.image.key: query.image for query in queries})
        texts = self.clip.encode_text([self.prompt.replace("{}", query.expression) for query in queries])
        return [self._answer(q, encoded[q.image.key], text) for q, text in zip(queries, texts, strict=True)]

    def cosines(self, query: Query) -> tuple[np.ndarray, np.ndarray]:
        """Segments bool (R, h, w) of a query's image and their cosines (R,) with its expression."""
        encoded = self._encode({query.image.key: query.image})[query.image.key]
        return encoded.masks, encoded.embeddings @ self.clip.encode_text([self.prompt.replace("{}", query.expression)])[
            0
        ]

    def _answer(self, query: Query, encoded: EncodedSegments, text: np.ndarray) -> Prediction:
        heat = heat_map(encoded.masks, encoded.embeddings @ text, self.tau, self.aggregate)
        box, value = best_box(heat, self.alpha)
        height, width = heat.shape
        normal = box / np.array([width, height, width, height], dtype=np.float32)
        pixels = box_ops.denormalize(normal, query.image.size)
        return Prediction(pixels, value, {"heat_map": heat, "evaluations": len(encoded.masks)})

    def _encode(self, images: dict[str, ImageRef]) -> dict[str, EncodedSegments]:
        """Segment and encode the images that are not cached."""
        return self._encoded.get_or_make(images, lambda keys: [self._encode_one(images[key].array()) for key in keys])

    def _encode_one(self, image: np.ndarray) -> EncodedSegments:
        image = _fit(image)
        found = self.segments.propose([image])[0]
        assert found.masks is not None
        if self.scorer == "crops":
            return EncodedSegments(found.masks, self.clip.encode_crops([crop(image, box) for box in found.boxes]))
        return EncodedSegments(found.masks, encode_segments(self.clip, image, found.masks, self.upsample))


def _fit(image: np.ndarray) -> np.ndarray:
    """An image whose longer side is at most :data:`MAP_SIDE`, and whose shorter side is at least :data:`LEAST_SIDE`."""
    height, width = image.shape[:2]
    scale = min(1.0, MAP_SIDE / max(height, width))
    size = max(LEAST_SIDE, round(width * scale)), max(LEAST_SIDE, round(height * scale))
    if size == (width, height):
        return image
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))
