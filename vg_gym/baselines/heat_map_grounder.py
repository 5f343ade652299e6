"""Heat-map pipelines: CLIP scores segments, the scores are painted into a heat map, and the answer is its best box.

:mod:`vg_gym.baselines.heat_maps` paints the maps, :mod:`vg_gym.baselines.box_search` searches them.

``seg-clip`` scores a segment by the crop of its box; ``adapting-clip`` scores all segments in one pass by region-based
attention pooling (Li et al. 2022, :mod:`vg_gym.clip.region_attention`).
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
from vg_gym.clip.encoder import ClipEncoder
from vg_gym.clip.existence import lexicon_of, memberships
from vg_gym.clip.loader import load_clip
from vg_gym.clip.region_attention import encode_segments
from vg_gym.config import NonNegativeFloat, PositiveFloat, PositiveInt
from vg_gym.errors import unknown
from vg_gym.storage.files import fingerprint
from vg_gym.storage.lru_cache import LRUCache
from vg_gym.types import ImageRef, Prediction, Query, refuse_initial_boxes

TUNED = {("crops", "refshapes"): (2.5, 0.005), ("regions", "refshapes"): (2.5, 0.02)}
"""(scorer, CLIP) -> (alpha, tau), tuned by ``python experiments/heat_map_tuning.py`` on RefShapes val."""
PUBLISHED_ALPHA_TAU = (0.8, 0.02)
"""(alpha, tau) of Li et al., for all other CLIPs."""
MAP_SIDE = 224
"""Maximum length of the longer side of a heat map, in cells."""
MIN_MAP_SIDE = 2
"""Minimum length of the shorter side of a heat map, in cells, equal to the minimum side of a box (:func:`best_box`)."""
CACHED_IMAGES = 256
"""Number of images whose segments and embeddings stay in memory."""


@dataclass(frozen=True)
class EncodedSegments:
    """Segments of an image and their CLIP embeddings."""

    masks: np.ndarray
    """Masks of the segments on the cells of the heat map, bool (R, h, w)."""
    embeddings: np.ndarray
    """Embeddings of unit length, (R, D)."""
    boxes: np.ndarray
    """Boxes of the segments, normalised (R, 4)."""


class HeatMapGrounder:
    """Grounder that searches a heat map of segment scores.

    Each image is segmented and encoded once for all its queries.

    Args:
        scorer: ``crops`` (crops of the segments' boxes) or ``regions`` (region-based attention pooling).
        clip: name of the CLIP.
        alpha: price of area in the box search; default: the value tuned on val (:data:`TUNED`).
        tau: temperature of the heat map; default: the value tuned on val.
        aggregate: function over the segments of a pixel, a name in :data:`~vg_gym.baselines.heat_maps.AGGREGATES`.
        methods: names of segmentations, joined by ``+``.
        counts: numbers of segments.
        upsample: patches per patch size along each axis, for ``regions`` with a ViT.
        prompt: text with ``{}`` for the expression; default: ``a photo of {}``, or ``{}`` for word-level CLIPs.
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
        self.clip: ClipEncoder = load_clip(clip, device)
        tuned = TUNED.get((scorer, clip), PUBLISHED_ALPHA_TAU)
        self.alpha, self.tau = tuned[0] if alpha is None else alpha, tuned[1] if tau is None else tau
        self.scorer, self.aggregate, self.upsample = scorer, aggregate, upsample
        self.segments = SegmentProposer(methods, counts)
        self.prompt = self.clip.prompt_template(prompt)
        self.settings: dict[str, object] = {
            "scorer": scorer, "clip": clip, "alpha": self.alpha, "tau": self.tau, "aggregate": aggregate,
            "methods": methods, "counts": list(counts), "upsample": upsample, "prompt": self.prompt,
        }  # fmt: skip
        """Values of all options that change answers, which the fingerprint contains."""
        self.fingerprint = fingerprint(sorted(self.settings.items()), self.clip.fingerprint)
        self._encoded: LRUCache[EncodedSegments] = LRUCache(CACHED_IMAGES)

    def ground(self, queries: Sequence[Query], initial_boxes: np.ndarray | None = None) -> list[Prediction]:
        """Return the best box of each query's heat map.

        The ``score`` is the membership of the best segment, which tells whether anything is meant. The
        ``details`` are ``heat_map`` (h, w), ``value`` of the box, and ``evaluations`` (number of scored segments).
        """
        refuse_initial_boxes(self.name, initial_boxes)
        encoded = self._encode({query.image.key: query.image for query in queries})
        texts = self.clip.encode_text([self.prompt.replace("{}", query.expression) for query in queries])
        return [self._answer(q, encoded[q.image.key], text) for q, text in zip(queries, texts, strict=True)]

    def cosines(self, query: Query) -> tuple[np.ndarray, np.ndarray]:
        """Return the segments of a query's image, bool (R, h, w), and their cosines with its expression (R,)."""
        encoded = self._encode({query.image.key: query.image})[query.image.key]
        return encoded.masks, encoded.embeddings @ self.clip.encode_text([self.prompt.replace("{}", query.expression)])[
            0
        ]

    def _answer(self, query: Query, encoded: EncodedSegments, text: np.ndarray) -> Prediction:
        heat = heat_map(encoded.masks, encoded.embeddings @ text, self.tau, self.aggregate)
        box, value = best_box(heat, self.alpha)
        height, width = heat.shape
        pixels = box_ops.denormalize(box_ops.normalize(box, (width, height)), query.image.size)
        score = float(self._memberships(query.expression, encoded).max())
        return Prediction(pixels, score, {"heat_map": heat, "value": value, "evaluations": len(encoded.masks)})

    def _memberships(self, expression: str, encoded: EncodedSegments) -> np.ndarray:
        """Return the membership of each segment in an expression (R,); see :mod:`vg_gym.clip.existence`."""

        def logits(phrase: str) -> np.ndarray:
            text = self.clip.encode_text([self.prompt.replace("{}", phrase)])[0]
            return self.clip.logit_scale * (encoded.embeddings @ text)

        return memberships(self.clip.reword(expression), encoded.boxes, logits, lexicon_of(self.clip))

    def _encode(self, images: dict[str, ImageRef]) -> dict[str, EncodedSegments]:
        """Segment and encode the images that are not cached."""
        return self._encoded.get_or_make(images, lambda keys: [self._encode_one(images[key].array()) for key in keys])

    def _encode_one(self, image: np.ndarray) -> EncodedSegments:
        image = _fit(image)
        segments = self.segments.propose([image])[0]
        assert segments.masks is not None
        if self.scorer == "crops":
            embeddings = self.clip.encode_crops([crop(image, box) for box in segments.boxes])
        else:
            embeddings = encode_segments(self.clip, image, segments.masks, self.upsample)
        boxes = box_ops.normalize(segments.boxes, (image.shape[1], image.shape[0]))
        return EncodedSegments(segments.masks, embeddings, boxes)


def _fit(image: np.ndarray) -> np.ndarray:
    """Resize an image so that its sides are at most :data:`MAP_SIDE` and at least :data:`MIN_MAP_SIDE` pixels."""
    height, width = image.shape[:2]
    scale = min(1.0, MAP_SIDE / max(height, width))
    size = max(MIN_MAP_SIDE, round(width * scale)), max(MIN_MAP_SIDE, round(height * scale))
    if size == (width, height):
        return image
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))
