"""Boxes of a detector, chosen by class names, places, sizes and relations: how much of a data set is language alone.

No CLIP is used. The detector sees only the image; the rules for words see only its boxes and class names.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, partial
from typing import Any

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym import registry
from vg_gym.config import PositiveInt, UnitInterval
from vg_gym.errors import VGGymError
from vg_gym.features.proposals import select
from vg_gym.language.class_prior import words_alone
from vg_gym.storage.files import fingerprint
from vg_gym.storage.lru_cache import LRUCache
from vg_gym.types import Prediction, Proposals, Query, refuse_initial_boxes

CACHED_IMAGES = 256
"""Number of images whose proposals stay in memory."""


class WordsGrounder:
    """Grounder that chooses among a detector's boxes by the words of the expression (:mod:`vg_gym.language`).

    Args:
        proposer: a name of :data:`vg_gym.registry.PROPOSERS` that names the classes of its boxes.
        name: name of the grounder; default: ``PROPOSER-words``.
        weights: weights of the proposer. The built-in ones know the shapes of RefShapes; for photographs name those of
            COCO, e.g. ``yolov8x.pt``.
        min_confidence: minimum confidence of a proposal.
        max_boxes: maximum number of proposals per image, the most confident first.
        max_overlap: IoU of two proposals of any class above which the less confident one is removed.
        device: torch device.
        **options: options of the proposer.

    Without proposals the answer is the whole image, and ``details["failure"]`` says so.
    """

    def __init__(
        self,
        proposer: str,
        name: str | None = None,
        weights: str = "refshapes",
        min_confidence: UnitInterval = 0.1,
        max_boxes: PositiveInt = 50,
        max_overlap: UnitInterval = 0.8,
        device: str = "cpu",
        **options: Any,
    ):
        self.name = name or f"{proposer}-words"
        self.settings: dict[str, Any] = {
            "proposer": proposer, "name": self.name, "weights": weights, "min_confidence": min_confidence,
            "max_boxes": max_boxes, "max_overlap": max_overlap, "options": sorted(options.items()),
        }  # fmt: skip
        """Values of all options that change answers, which the fingerprint contains."""
        self.proposer = registry.proposer(proposer, weights=weights, device=device, **options)
        self.select = partial(select, min_score=min_confidence, max_boxes=max_boxes, max_overlap=max_overlap)
        self._proposals: LRUCache[Proposals] = LRUCache(CACHED_IMAGES)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of settings and weights."""
        return fingerprint(sorted(self.settings.items()), self.proposer.fingerprint)

    def ground(self, queries: Sequence[Query], initial_boxes: np.ndarray | None = None) -> list[Prediction]:
        """Return the most probable proposal per query.

        The ``score`` is its probability among the proposals. The ``details`` are ``proposals`` (P, 4) in pixels,
        ``scores`` (P,) as probabilities, ``labels``, and ``failure`` if the image lacks proposals.

        Raises:
            VGGymError: the detector names no classes.
        """
        refuse_initial_boxes(self.name, initial_boxes)
        images = {query.image.key: query.image for query in queries}

        def propose(keys: list[str]) -> list[Proposals]:
            return [self.select(p) for p in self.proposer.propose([images[key].array() for key in keys])]

        proposals = self._proposals.get_or_make(images, propose)
        return [self._answer(query, proposals[query.image.key]) for query in queries]

    def _answer(self, query: Query, proposals: Proposals) -> Prediction:
        if not len(proposals):
            full = box_ops.denormalize(box_ops.FULL, query.image.size)
            return Prediction(full, details={"failure": f"{self.name}: no proposals"})
        if not all(proposals.labels):
            raise VGGymError(f"{self.name} needs a detector that names classes, but a proposal has no class")
        logits = words_alone(query.expression, proposals.boxes, proposals.labels)
        weights = np.exp(logits - logits.max())
        scores, best = weights / weights.sum(), int(logits.argmax())
        details = {"proposals": proposals.boxes, "scores": scores, "labels": proposals.labels}
        return Prediction(proposals.boxes[best].copy(), float(scores[best]), details)
