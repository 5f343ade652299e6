"""Two-stage pipelines: a proposer finds boxes, CLIP chooses among them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, partial
from typing import Any

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym import registry
from vg_gym.baselines.ranking import ClipRanker, EncodedImage
from vg_gym.config import NonNegativeFloat, PositiveInt, UnitInterval
from vg_gym.features.proposals import select
from vg_gym.storage.assets import built_in
from vg_gym.storage.files import fingerprint
from vg_gym.storage.lru_cache import LRUCache
from vg_gym.types import ImageRef, Prediction, Query, refuse_initial_boxes

IMAGES = 256
"""Images whose proposals and embeddings are kept."""


class TwoStageGrounder:
    """Proposer times ranker. Every image is proposed for and encoded once, however many expressions it has.

    Args:
        proposer: a name of :data:`vg_gym.registry.PROPOSERS`.
        clip: the ranker's CLIP, or several joined by ``+``.
        name: of the pipeline; default ``PROPOSER-clip``.
        weights: of the proposer; default the built-in ones beside the built-in CLIP, where there are any, else its
            spec's published ones.
        views: how a box is shown to CLIP, joined by ``+``: ``crop``, ``blur``, ``red-circle``, ``fgvp``.
        aggregate: of views, ``sum`` or ``max``.
        prompt: text with ``{}`` for the expression.
        margin: of crops, as a fraction of the box's side.
        parse: resolve superlatives and relations over the boxes.
        min_area: share of the image that a proposal must cover; where none does, all are candidates (ReCLIP).
        min_confidence: least confidence of a proposal.
        max_boxes: most proposals an image may have, best first.
        classes: category names to keep; none: all.
        max_overlap: of two proposals that overlap more, whatever their class, the less confident goes.
        device: torch device.
        **options: of the proposer.

    Where there are no proposals the whole image is answered, and ``details["failure"]`` says so.
    """

    def __init__(
        self,
        proposer: str,
        clip: str = "refshapes",
        name: str | None = None,
        weights: str | None = None,
        views: str = "crop",
        aggregate: str = "sum",
        prompt: str | None = None,
        margin: NonNegativeFloat = 0.0,
        parse: bool = False,
        min_area: UnitInterval = 0.0,
        min_confidence: UnitInterval = 0.1,
        max_boxes: PositiveInt = 50,
        classes: Sequence[str] = (),
        max_overlap: UnitInterval = 0.8,
        device: str = "cpu",
        **options: Any,
    ):
        self.name = name or f"{proposer}-clip"
        published = registry.proposer_spec(proposer).published
        own = clip == "refshapes" and built_in(proposer, "refshapes") is not None
        chosen = weights or (published and ("refshapes" if own else published))
        settings = {k: v for k, v in locals().items() if k not in ("self", "device")}
        given = {"weights": chosen} if chosen else {}
        if registry.proposer_spec(proposer).takes_clip:
            given["clip"] = clip.partition("+")[0]
        self.proposer = registry.proposer(proposer, **given, device=device, **options)
        self.ranker = ClipRanker(clip, views, aggregate, prompt, margin, parse, min_area, device)
        self._settings = sorted(settings.items())
        self.select = partial(
            select, min_score=min_confidence, max_boxes=max_boxes, classes=classes, max_overlap=max_overlap
        )
        self._encoded: LRUCache[EncodedImage] = LRUCache(IMAGES)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of settings and weights; made when asked for, as those of a large model take seconds."""
        clips = [encoder.fingerprint for encoder in self.ranker.clips]
        return fingerprint(self._settings, self.proposer.fingerprint, clips)

    def ground(self, queries: Sequence[Query], initial_boxes: np.ndarray | None = None) -> list[Prediction]:
        """The likeliest proposal per query.

        ``score`` is its probability among the proposals; ``details``: ``proposals`` (P, 4) pixels, ``scores`` (P,)
        probabilities, ``labels``, ``evaluations`` (views encoded for the image), ``failure`` where nothing was found.
        """
        refuse_initial_boxes(self.name, initial_boxes)
        images = {query.image.key: query.image for query in queries}
        encoded = self._encoded.get_or_make(images, lambda keys: self._encode([images[key] for key in keys]))
        return [self._answer(query, encoded[query.image.key]) for query in queries]

    def _encode(self, images: list[ImageRef]) -> list[EncodedImage]:
        """Propose for images and encode their proposals, all together."""
        pixels = [image.array() for image in images]
        found = [self.select(p) for p in self.proposer.propose(pixels)]
        return self.ranker.encode(pixels, found)

    def _answer(self, query: Query, encoded: EncodedImage) -> Prediction:
        found = encoded.proposals
        if not len(found):
            full = box_ops.denormalize(box_ops.FULL, query.image.size)
            return Prediction(full, details={"failure": f"{self.name}: no proposals", "evaluations": 0})
        ranking = self.ranker.rank(encoded, query.expression)
        details = {
            "proposals": found.boxes,
            "scores": ranking.probabilities,
            "labels": found.labels,
            "evaluations": len(encoded.candidates) * len(self.ranker.views) * len(self.ranker.clips),
        }
        return Prediction(found.boxes[ranking.best].copy(), float(ranking.probabilities[ranking.best]), details)
