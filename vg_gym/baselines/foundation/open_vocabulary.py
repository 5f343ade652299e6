"""Open-vocabulary detectors through transformers, as grounders and as proposers.

Grounding DINO (Liu et al., ECCV 2024), MM-Grounding-DINO (Zhao et al., 2024), OWLv2 (Minderer et al., NeurIPS 2023).
As a grounder the whole expression is the one thing to detect, and the box with the highest score is the answer. As a
proposer the things to detect are names of classes.
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
from vg_gym.baselines.foundation.families import checked_prompt
from vg_gym.baselines.foundation.loading import load
from vg_gym.baselines.foundation.unanswered import unanswered
from vg_gym.config import PositiveInt, UnitInterval
from vg_gym.features.proposals import proposals
from vg_gym.storage.files import fingerprint
from vg_gym.types import Prediction, Proposals, Query, refuse_initial_boxes

TEXT_SCORE = 0.25
"""Least score of a token to be part of a Grounding DINO label."""


class OpenVocabularyDetector:
    """A detector that is told in words what to look for.

    Args:
        name: ``grounding-dino``, ``mm-grounding-dino`` or ``owlv2``.
        weights: a name on the hub, or a folder in transformers' layout; default: the published ones of the registry.
        revision: commit, tag or branch on the hub.
        prompt: text with ``{}`` for the expression, or for the name of a class.
        classes: names to propose boxes for, a list or joined by commas; default: COCO's 80.
        min_score: least confidence of a box; where none has it, there is no answer, and that is a failure.
        max_boxes: most boxes of an image, best first.
        batch_size: images a forward pass. Grounding DINO pads images of several sizes, which moves its boxes a little;
            with 1 they are those of the image alone.
        device: torch device, or ``auto``.
        precision: ``float32``, ``bfloat16``, ``float16`` (mixed), or ``auto``.

    Raises:
        VGGymError: transformers is missing, or the weights are not there.
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
        """Which weights and which prompt answer."""
        return f"{self.model.source} prompt={self.prompt!r}"

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the weights and of what it is asked."""
        asked = self.prompt, self.classes, self.min_score, self.max_boxes, self.model.dtype
        return fingerprint(self.model.source, asked)

    def ground(self, queries: Sequence[Query], initial_boxes: np.ndarray | None = None) -> list[Prediction]:
        """The best box of every query; ``details``: ``proposals`` (P, 4) pixels, ``scores`` (P,), ``source``."""
        refuse_initial_boxes(self.name, initial_boxes)
        found: list[Prediction] = []
        for start in range(0, len(queries), self.batch_size):
            batch = queries[start : start + self.batch_size]
            detected = self.detect([q.image.array() for q in batch], [[q.expression] for q in batch])
            found += [self._answer(query, boxes) for query, boxes in zip(batch, detected, strict=True)]
        return found

    def propose(self, images: Sequence[np.ndarray]) -> list[Proposals]:
        """Boxes of the classes in every image (H, W, 3) uint8, best first."""
        names = self.classes or coco_names()
        parts = [images[at : at + self.batch_size] for at in range(0, len(images), self.batch_size)]
        return [found for part in parts for found in self.detect(part, [names] * len(part))]

    @torch.inference_mode()
    def detect(self, images: Sequence[np.ndarray], names: Sequence[Sequence[str]]) -> list[Proposals]:
        """Boxes of what is named, for each image; one forward pass.

        Args:
            images: B of them, uint8 (H, W, 3).
            names: for each, what to look for.
        """
        texts = [[self.prompt.replace("{}", name) for name in those] for those in names]
        inputs = self.model.on_device(self._inputs(images, texts))
        with self.model.autocast():
            outputs = self.model.module(**inputs)
        _keep_best(outputs, self.max_boxes)
        sizes = [image.shape[:2] for image in images]
        more = {"text_threshold": TEXT_SCORE} if self._joined else {}
        results = self.model.processor.post_process_grounded_object_detection(
            outputs, threshold=self.min_score, target_sizes=sizes, text_labels=texts, **more
        )
        return [
            proposals(
                found["boxes"].float().cpu(), found["scores"].float().cpu(), self._labels(found["text_labels"]), image
            )
            for image, found in zip(images, results, strict=True)
        ]

    def _labels(self, texts: Sequence[str]) -> list[str]:
        """What boxes are of: with Grounding DINO the tokens that fit, of which full stops and [SEP] mean nothing."""
        if not self._joined:
            return list(texts)
        return [text.replace(self.model.processor.tokenizer.sep_token, "").strip(" .") for text in texts]

    def _inputs(self, images: Sequence[np.ndarray], texts: list[list[str]]) -> Any:
        """What the processor makes of images and texts: of one text for each image, or of several."""
        # Pillow's, because an array of height 1, 3 or 4 would have its rows taken for channels.
        tokenizer, pixels = self.model.processor.tokenizer, [Image.fromarray(image) for image in images]
        if self._joined:  # names follow each other in one text, each with a full stop
            joined = [" ".join(f"{text.strip().rstrip('.').lower()}." for text in those) for those in texts]
            return self.model.processor(images=pixels, text=joined, padding=True, truncation=True, return_tensors="pt")
        most = self.model.module.config.text_config.max_position_embeddings
        self._warn_of_long(tokenizer, texts, most)
        return self.model.processor(
            images=pixels, text=texts, padding="max_length", truncation=True, max_length=most, return_tensors="pt"
        )

    def _warn_of_long(self, tokenizer: Any, texts: list[list[str]], most: int) -> None:
        long = next((text for those in texts for text in those if len(tokenizer(text)["input_ids"]) > most), None)
        if long is not None and not self._warned:
            self._warned = True
            warnings.warn(f"{self.name} reads {most} tokens; longer texts are cut, e.g. {long!r}", stacklevel=4)

    def _answer(self, query: Query, found: Proposals) -> Prediction:
        if not len(found):
            return unanswered(query, f"{self.name}: no box", source=self.source)
        details = {"proposals": found.boxes, "scores": found.scores, "labels": found.labels, "source": self.source}
        return Prediction(found.boxes[0].copy(), float(found.scores[0]), details)


def _keep_best(outputs: Any, most: int) -> None:
    """Leave only the boxes with the highest scores: there are hundreds, and each costs time to read."""
    best = outputs.logits.amax(dim=-1).topk(min(most, outputs.logits.shape[1])).indices[..., None]
    for name in ("logits", "pred_boxes"):
        values = outputs[name]
        outputs[name] = values.gather(1, best.expand(-1, -1, values.shape[-1]))


def class_names(classes: Sequence[str] | str) -> list[str]:
    """Names of classes from a list, or from a text with commas between them.

    >>> class_names("dog, red car"), class_names(["dog"]), class_names("")
    (['dog', 'red car'], ['dog'], [])
    """
    names = classes.split(",") if isinstance(classes, str) else classes
    return [name.strip() for name in names if name.strip()]


def coco_names() -> list[str]:
    """COCO's 80 categories, as torchvision has them."""
    from torchvision.models.detection import SSD300_VGG16_Weights

    names = SSD300_VGG16_Weights.COCO_V1.meta["categories"]
    return [name for name in names if name not in ("__background__", "N/A")]
