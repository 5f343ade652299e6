"""Open-vocabulary detectors through transformers, as grounders and as proposers.

The detectors are Grounding DINO (Liu et al., ECCV 2024), MM-Grounding-DINO (Zhao et al., 2024) and OWLv2 (Minderer et
al., NeurIPS 2023). A grounder detects the whole expression and answers with the highest-scoring box. A proposer detects
names of classes.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from PIL import Image

from vg_gym import registry
from vg_gym.baselines.detectors.base import coco_names
from vg_gym.baselines.foundation.families import checked_prompt
from vg_gym.baselines.foundation.loading import load
from vg_gym.baselines.foundation.unanswered import unanswered
from vg_gym.config import PositiveInt, UnitInterval
from vg_gym.features.proposals import proposals
from vg_gym.storage.files import fingerprint
from vg_gym.types import Prediction, Proposals, Query, refuse_initial_boxes

MIN_TOKEN_SCORE = 0.25
"""Least score of a token that becomes part of a Grounding DINO label."""


class OpenVocabularyDetector:
    """Detector of objects that are described in words.

    Args:
        name: ``grounding-dino``, ``mm-grounding-dino`` or ``owlv2``.
        weights: name on the hub, or folder in transformers' layout; default: the registry's published weights.
        revision: commit, tag or branch on the hub.
        prompt: text with ``{}`` for the expression or the name of a class.
        classes: names of classes for proposals, as a list or joined by commas; default: COCO's 80.
        min_score: least confidence of a box; if no box reaches it, the query counts as a failure.
        max_boxes: largest number of boxes of an image, best first.
        batch_size: images per forward pass. Grounding DINO pads images of different sizes, which changes its boxes
            slightly; with 1 they do not depend on other images.
        device: torch device, or ``auto``.
        precision: ``float32``, ``bfloat16``, ``float16`` (mixed), or ``auto``.

    Raises:
        VGGymError: transformers or the weights are missing.
    """

    def __init__(
        self,
        name: str,
        weights: str | None = None,
        revision: str | None = None,
        prompt: str = "{}",
        classes: Sequence[str] | str = (),
        min_score: UnitInterval = 0.0,
        max_boxes: PositiveInt = 50,
        batch_size: PositiveInt = 8,
        device: str = "auto",
        precision: str = "auto",
    ):
        self.name, self.prompt = name, checked_prompt(prompt)
        self.min_score, self.max_boxes, self.batch_size = min_score, max_boxes, batch_size
        self.classes = class_names(classes)
        auto = "AutoModelForZeroShotObjectDetection"
        named = weights or registry.proposer_spec(name).published or name
        self.model = load(name, auto, named, revision, device, precision)
        self._joined = self.model.module.config.model_type.endswith("grounding-dino")
        self._warned = False

    @property
    def source(self) -> str:
        """Weights and prompt of the answers."""
        return f"{self.model.source} prompt={self.prompt!r}"

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the weights and of the options that change answers."""
        options = self.prompt, self.classes, self.min_score, self.max_boxes, self.model.dtype
        return fingerprint(self.model.source, options)

    def ground(self, queries: Sequence[Query], initial_boxes: np.ndarray | None = None) -> list[Prediction]:
        """Return the best box of every query.

        ``details`` has ``proposals`` (pixels, (P, 4)), ``scores`` (P,), ``labels`` and ``source``.
        """
        refuse_initial_boxes(self.name, initial_boxes)
        predictions: list[Prediction] = []
        for start in range(0, len(queries), self.batch_size):
            batch = queries[start : start + self.batch_size]
            detected = self.detect([q.image.array() for q in batch], [[q.expression] for q in batch])
            predictions += [self._answer(query, boxes) for query, boxes in zip(batch, detected, strict=True)]
        return predictions

    def propose(self, images: Sequence[np.ndarray]) -> list[Proposals]:
        """Return boxes of the classes in every image, uint8 (H, W, 3), best first."""
        names = self.classes or coco_names()
        parts = [images[at : at + self.batch_size] for at in range(0, len(images), self.batch_size)]
        return [boxes for part in parts for boxes in self.detect(part, [names] * len(part))]

    @torch.inference_mode()
    def detect(self, images: Sequence[np.ndarray], names: Sequence[Sequence[str]]) -> list[Proposals]:
        """Return the boxes of the named objects in each image, from one forward pass.

        Args:
            images: B images, uint8 (H, W, 3).
            names: names of the objects to detect in each image.
        """
        texts = [[self.prompt.replace("{}", name) for name in image_names] for image_names in names]
        inputs = self.model.on_device(self._inputs(images, texts))
        with self.model.autocast():
            outputs = self.model.module(**inputs)
        _keep_best(outputs, self.max_boxes)
        sizes = [image.shape[:2] for image in images]
        more = {"text_threshold": MIN_TOKEN_SCORE} if self._joined else {}
        results = self.model.processor.post_process_grounded_object_detection(
            outputs, threshold=self.min_score, target_sizes=sizes, text_labels=texts, **more
        )
        return [
            proposals(
                result["boxes"].float().cpu(),
                result["scores"].float().cpu(),
                self._labels(result["text_labels"]),
                image,
            )
            for image, result in zip(images, results, strict=True)
        ]

    def _labels(self, texts: Sequence[str]) -> list[str]:
        """Return the labels of boxes; Grounding DINO's matching tokens are stripped of full stops and [SEP]."""
        if not self._joined:
            return list(texts)
        return [text.replace(self.model.processor.tokenizer.sep_token, "").strip(" .") for text in texts]

    def _inputs(self, images: Sequence[np.ndarray], texts: list[list[str]]) -> Any:
        """Return the processor's inputs from images and their texts, one or several for each image."""
        # The processor would take the rows of an array of height 1, 3 or 4 for channels, hence Pillow images.
        tokenizer, pixels = self.model.processor.tokenizer, [Image.fromarray(image) for image in images]
        if self._joined:  # all names of an image are joined to one text, each with a full stop
            joined = [" ".join(f"{text.strip().rstrip('.').lower()}." for text in row) for row in texts]
            return self.model.processor(images=pixels, text=joined, padding=True, truncation=True, return_tensors="pt")
        max_tokens = self.model.module.config.text_config.max_position_embeddings
        self._warn_of_long(tokenizer, texts, max_tokens)
        return self.model.processor(
            images=pixels, text=texts, padding="max_length", truncation=True, max_length=max_tokens, return_tensors="pt"
        )

    def _warn_of_long(self, tokenizer: Any, texts: list[list[str]], max_tokens: int) -> None:
        long = next((text for row in texts for text in row if len(tokenizer(text)["input_ids"]) > max_tokens), None)
        if long is not None and not self._warned:
            self._warned = True
            warnings.warn(f"{self.name} reads {max_tokens} tokens; longer texts are cut, e.g. {long!r}", stacklevel=4)

    def _answer(self, query: Query, detected: Proposals) -> Prediction:
        if not len(detected):
            return unanswered(query, f"{self.name}: no box", source=self.source)
        details = {
            "proposals": detected.boxes, "scores": detected.scores, "labels": detected.labels, "source": self.source,
        }  # fmt: skip
        return Prediction(detected.boxes[0].copy(), float(detected.scores[0]), details)


def _keep_best(outputs: Any, max_boxes: int) -> None:
    """Keep only the boxes with the highest scores, because the processor takes time for each of the hundreds."""
    best = outputs.logits.amax(dim=-1).topk(min(max_boxes, outputs.logits.shape[1])).indices[..., None]
    for name in ("logits", "pred_boxes"):
        values = outputs[name]
        outputs[name] = values.gather(1, best.expand(-1, -1, values.shape[-1]))


def class_names(classes: Sequence[str] | str) -> list[str]:
    """Return the names of classes from a list or a comma-separated text.

    >>> class_names("dog, red car"), class_names(["dog"]), class_names("")
    (['dog', 'red car'], ['dog'], [])
    """
    names = classes.split(",") if isinstance(classes, str) else classes
    return [name.strip() for name in names if name.strip()]
