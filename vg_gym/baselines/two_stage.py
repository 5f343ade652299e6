"""Two-stage pipelines: a proposer finds boxes, and CLIP chooses one of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, partial
from typing import Any

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym import registry
from vg_gym.baselines.plural_answers import PLURAL_RULES, answering_rows
from vg_gym.baselines.ranking import ClipRanker, EncodedImage
from vg_gym.config import NonNegativeFloat, PositiveInt, UnitInterval
from vg_gym.errors import VGGymError
from vg_gym.features.proposals import select
from vg_gym.registry.photographs import world_of_weights
from vg_gym.storage.assets import built_in
from vg_gym.storage.files import fingerprint
from vg_gym.storage.lru_cache import LRUCache
from vg_gym.types import ImageRef, Prediction, Query, refuse_initial_boxes

CACHED_IMAGES = 256
"""Number of images whose proposals and embeddings stay in memory."""


class TwoStageGrounder:
    """Grounder of a proposer and a ranker.

    The proposals of each image are computed and encoded once for all its queries.

    Args:
        proposer: a name of :data:`vg_gym.registry.PROPOSERS`.
        clip: the ranker's CLIP, or several joined by ``+``.
        name: name of the pipeline; default: ``PROPOSER-clip``.
        weights: weights of the proposer; default: those of the world of a built-in CLIP if they exist, otherwise
            the published ones in the proposer's spec.
        views: views of a box that CLIP encodes, joined by ``+``: ``crop``, ``blur``, ``red-circle``, ``fgvp``.
        aggregate: aggregate over the views, ``sum`` or ``max``.
        prompt: text with ``{}`` for the expression.
        margin: margin of crops, as a fraction of the box's side.
        parse: resolve superlatives, ordinals and relations over the boxes.
        classes: make boxes of another class than the expression's noun less probable: "the boy" is a ``person``.
            It needs a detector that names classes. A noun that is not known costs nothing.
        min_area: share of the image that a proposal must cover; if none does, all are candidates (ReCLIP).
        min_confidence: minimum confidence of a proposal.
        max_boxes: maximum number of proposals per image, the most confident first.
        categories: names of the categories to use; empty: all.
        max_overlap: IoU of two proposals of any class above which the less confident one is removed.
        device: torch device.
        **options: options of the proposer.

    Without proposals the answer is the whole image, and ``details["failure"]`` says so.

    Raises:
        VGGymError: ``classes`` is not a bool, or a part is unknown or lacks its weights.
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
        classes: bool = False,
        min_area: UnitInterval = 0.0,
        min_confidence: UnitInterval = 0.1,
        max_boxes: PositiveInt = 50,
        categories: Sequence[str] = (),
        max_overlap: UnitInterval = 0.8,
        device: str = "cpu",
        **options: Any,
    ):
        if not isinstance(classes, bool):
            raise VGGymError(f"classes={classes!r} is not true or false; name the categories to use with categories=")
        self.name = name or f"{proposer}-clip"
        published = registry.proposer_spec(proposer).published
        world = world_of_weights(clip) if built_in("clip", clip) else ""
        chosen = weights or (published and (world if built_in(proposer, world) else published))
        self.settings: dict[str, Any] = {
            "proposer": proposer, "clip": clip, "name": self.name, "weights": chosen, "views": views,
            "aggregate": aggregate, "prompt": prompt, "margin": margin, "parse": parse, "classes": classes,
            "min_area": min_area, "min_confidence": min_confidence, "max_boxes": max_boxes,
            "categories": list(categories), "max_overlap": max_overlap, "options": sorted(options.items()),
        }  # fmt: skip
        """Values of all options that change answers, which the fingerprint contains."""
        proposer_options = {"weights": chosen} if chosen else {}
        if registry.proposer_spec(proposer).takes_clip:
            proposer_options["clip"] = clip.partition("+")[0]
        self.proposer = registry.proposer(proposer, **proposer_options, device=device, **options)
        self.ranker = ClipRanker(clip, views, aggregate, prompt, margin, parse, min_area, device, classes)
        self.select = partial(
            select, min_score=min_confidence, max_boxes=max_boxes, classes=categories, max_overlap=max_overlap
        )
        self._encoded: LRUCache[EncodedImage] = LRUCache(CACHED_IMAGES)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of settings and weights, computed on first use because large weights take seconds."""
        clips = [encoder.fingerprint for encoder in self.ranker.clips]
        return fingerprint(sorted(self.settings.items()), self.proposer.fingerprint, clips, PLURAL_RULES)

    def ground(self, queries: Sequence[Query], initial_boxes: np.ndarray | None = None) -> list[Prediction]:
        """Return the most probable proposal per query.

        A plural has several boxes (:mod:`vg_gym.baselines.plural_answers`). The ``score`` is the membership of
        the best proposal (:mod:`vg_gym.clip.existence`), which tells whether anything is meant. The ``details`` are
        ``proposals`` (P, 4) in pixels, ``scores`` (P,) as probabilities among them, ``labels``,
        ``evaluations`` (number of encoded views of the image), and ``failure`` if the image lacks proposals.
        """
        refuse_initial_boxes(self.name, initial_boxes)
        images = {query.image.key: query.image for query in queries}
        encoded = self._encoded.get_or_make(images, lambda keys: self._encode([images[key] for key in keys]))
        return [self._answer(query, encoded[query.image.key]) for query in queries]

    def _encode(self, images: list[ImageRef]) -> list[EncodedImage]:
        """Compute and encode the proposals of several images in one batch."""
        pixels = [image.array() for image in images]
        return self.ranker.encode(pixels, [self.select(p) for p in self.proposer.propose(pixels)])

    def _answer(self, query: Query, encoded: EncodedImage) -> Prediction:
        proposals = encoded.proposals
        if not len(proposals):
            full = box_ops.denormalize(box_ops.FULL, query.image.size)
            return Prediction(full, details={"failure": f"{self.name}: no proposals", "evaluations": 0})
        ranking = self.ranker.rank(encoded, query.expression)
        details = {
            "proposals": proposals.boxes,
            "scores": ranking.probabilities,
            "labels": proposals.labels,
            "evaluations": len(encoded.candidates) * len(self.ranker.views) * len(self.ranker.clips),
        }
        values = self.ranker.memberships(encoded, query.expression, query.image.size)
        rows = answering_rows(query.expression, values, proposals.boxes, ranking.best)
        return Prediction(boxes=proposals.boxes[rows], score=float(values.max()), scores=values[rows], details=details)
