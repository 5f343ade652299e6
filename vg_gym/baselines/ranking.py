"""Second stage of a pipeline: CLIP ranks proposals by how well views of them match the expression."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from scipy.special import softmax

from vg_gym import boxes as box_ops
from vg_gym.baselines import visual_prompts
from vg_gym.clip.encoder import ClipEncoder
from vg_gym.clip.existence import lexicon_of, memberships
from vg_gym.clip.loader import load_clip
from vg_gym.errors import VGGymError, unknown
from vg_gym.language.class_prior import log_prior
from vg_gym.types import Proposals

AGGREGATES: dict[str, Callable[..., Any]] = {"sum": np.sum, "max": np.max}
"""Name -> aggregate over the logits of views."""


@dataclass(frozen=True)
class EncodedImage:
    """Proposals of an image and their CLIP embeddings."""

    proposals: Proposals
    """All P proposals."""
    candidates: np.ndarray
    """Indices (C,) of the proposals that are large enough."""
    embeddings: list[list[np.ndarray]]
    """Embeddings of the candidates, (C, D) per CLIP and view."""


class ClipRanker:
    """Ranker of proposals by an ensemble of CLIPs and views, with optional parsing of superlatives and relations.

    Args:
        clip: names of one or more CLIPs, joined by ``+``; logits are summed over models as in ReCLIP.
        views: names of :data:`~vg_gym.baselines.visual_prompts.VIEWS`, joined by ``+``.
        aggregate: aggregate over the logits of views: ``sum`` or ``max``.
        prompt: text with ``{}`` for the expression; default: ``a photo of {}``, or ``{}`` for word-level CLIPs.
        margin: margin of the ``crop`` view, as a fraction of the box's side.
        min_area: share of the image that a box must cover to be a candidate (:func:`large_enough`).
        parse: resolve superlatives and relations of the expression over the boxes (:mod:`vg_gym.language`), in addition
            to the CLIP score of the whole expression.
        classes: make boxes of another class than the expression's noun less probable
            (:mod:`vg_gym.language.class_prior`); needs proposals with class names.
        device: torch device.

    Raises:
        VGGymError: a view, an aggregate or a CLIP is unknown, or the prompt has no ``{}``.
    """

    def __init__(
        self,
        clip: str = "refshapes",
        views: str = "crop",
        aggregate: str = "sum",
        prompt: str | None = None,
        margin: float = 0.0,
        parse: bool = False,
        min_area: float = 0.0,
        device: str = "cpu",
        classes: bool = False,
    ):
        self.clips: list[ClipEncoder] = [load_clip(name, device) for name in clip.split("+")]
        for name in views.split("+"):
            if name not in visual_prompts.VIEWS:
                raise unknown("view", name, visual_prompts.VIEWS)
        if aggregate not in AGGREGATES:
            raise unknown("aggregate", aggregate, AGGREGATES)
        view_functions: dict[str, visual_prompts.View] = {
            **visual_prompts.VIEWS,
            "crop": partial(visual_prompts.crop, margin=margin),
        }
        self.views: list[visual_prompts.View] = [view_functions[name] for name in views.split("+")]
        self.prompt = self.clips[0].prompt_template(prompt)
        self.aggregate, self.parse, self.min_area = aggregate, parse, min_area
        self.classes = classes

    def encode(self, images: Sequence[np.ndarray], proposals: Sequence[Proposals]) -> list[EncodedImage]:
        """Embed the views of all proposals of all images, in one call of each CLIP."""
        chosen = [
            large_enough(p.boxes, (image.shape[1], image.shape[0]), self.min_area)
            for image, p in zip(images, proposals, strict=True)
        ]
        views = [
            [view(image, p.boxes[i], None if p.masks is None else p.masks[i]) for i in candidates]
            for view in self.views
            for image, p, candidates in zip(images, proposals, chosen, strict=True)
        ]
        flat = [view for group in views for view in group]
        ends = np.cumsum([len(group) for group in views])[:-1]
        embedded = [np.split(clip.encode_crops(flat), ends) for clip in self.clips]
        count = len(images)
        return [
            EncodedImage(p, chosen[i], [[parts[v * count + i] for v in range(len(self.views))] for parts in embedded])
            for i, p in enumerate(proposals)
        ]

    def logits(self, image: EncodedImage, text: str) -> np.ndarray:
        """Return CLIP's logits (M, V, C) for a text, by model, view and candidate."""
        rows = []
        for clip, views in zip(self.clips, image.embeddings, strict=True):
            target = clip.encode_text([self.prompt.replace("{}", text)])[0]
            rows.append([clip.logit_scale * (view @ target) for view in views])
        return np.array(rows, dtype=np.float32)

    def rank(self, image: EncodedImage, expression: str) -> Ranking:
        """Rank the proposals of an image by an expression.

        Raises:
            VGGymError: ``classes`` is set, and a proposal lacks a class name.
        """
        logits, prior = self.logits(image, expression), self._prior(image, expression)
        return rank_logits(logits, image.candidates, len(image.proposals), self.aggregate, prior=prior)

    def _prior(self, image: EncodedImage, expression: str) -> np.ndarray | None:
        """Return the log-probabilities (C,) of the candidates by words about place and class, or None."""
        if not (self.parse or self.classes):
            return None
        labels = [image.proposals.labels[i] for i in image.candidates] if self.classes else None
        if labels is not None and not all(labels):
            raise VGGymError(
                "classes=true needs a detector that names classes, but a proposal has no class; leave it out"
            )
        boxes, text = image.proposals.boxes[image.candidates], self.clips[0].reword(expression)
        return log_prior(text, boxes, lambda phrase: self._one(image, phrase), labels, self.parse)

    def memberships(self, image: EncodedImage, expression: str, size: tuple[int, int]) -> np.ndarray:
        """Return how well each proposal of an image of a size (W, H) fits an expression, (P,) in [0, 1].

        The first view is read, the mean over CLIPs. Proposals that are too small are not candidates and have 0; see
        :mod:`vg_gym.clip.existence`.
        """
        boxes = box_ops.normalize(image.proposals.boxes[image.candidates], size)
        text, lexicon = self.clips[0].reword(expression), lexicon_of(self.clips[0])
        values = np.zeros(len(image.proposals))
        values[image.candidates] = memberships(
            text, boxes, lambda phrase: self.logits(image, phrase)[:, 0].mean(axis=0), lexicon
        )
        return values

    def _one(self, image: EncodedImage, phrase: str) -> np.ndarray:
        """Return one logit per candidate (C,)."""
        return combine(self.logits(image, phrase), self.aggregate)


def combine(logits: np.ndarray, aggregate: str) -> np.ndarray:
    """Reduce logits (M, V, C) to one per candidate (C,): summed over models, then aggregated over views."""
    return np.asarray(AGGREGATES[aggregate](logits.sum(axis=0), axis=0))


@dataclass(frozen=True)
class Ranking:
    """Result of ranking N boxes: the best box and the probability of each."""

    best: int
    """Index of the best box."""
    probabilities: np.ndarray
    """Probabilities float64 (N,); 0 for boxes that are not candidates."""
    logits: np.ndarray
    """Logits of the candidates over all models and views, (C,)."""


def large_enough(boxes: np.ndarray, size: tuple[int, int], threshold: float) -> np.ndarray:
    """Return ReCLIP's candidates (C,): indices of the boxes that cover more than a share of the image.

    If no box does, all are candidates.

    Args:
        boxes: ``xyxy`` pixels (N, 4).
        size: (W, H) of the image.
        threshold: share of the image's area that a candidate exceeds.
    """
    candidates = np.flatnonzero(box_ops.area(boxes) / (size[0] * size[1]) > threshold)
    return candidates if len(candidates) else np.arange(len(boxes))


def rank_logits(
    logits: np.ndarray,
    candidates: np.ndarray,
    count: int,
    aggregate: str = "max",
    prior: np.ndarray | None = None,
) -> Ranking:
    """Rank boxes by CLIP's logits as in ReCLIP: summed over models, then aggregated over views.

    Args:
        logits: logits (M, V, C) of M models, V views and C candidates, with the logit scale.
        candidates: box indices (C,) of the candidates.
        count: number of boxes N.
        aggregate: ``max`` or ``sum`` over views.
        prior: log-probabilities (C,) that are added to the combined logits.

    Raises:
        VGGymError: the aggregate is unknown.
    """
    if aggregate not in AGGREGATES:
        raise unknown("aggregate", aggregate, AGGREGATES)
    combined = combine(logits, aggregate).astype(np.float64)
    if prior is not None:
        combined = combined + prior
    probabilities = np.zeros(count, dtype=np.float64)
    probabilities[candidates] = softmax(combined)
    return Ranking(int(candidates[combined.argmax()]), probabilities, combined)
