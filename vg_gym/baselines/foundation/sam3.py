"""SAM 3 (Carion et al., "SAM 3: Segment Anything with Concepts", 2025) through transformers, as a grounder.

SAM 3 finds all instances of a short noun phrase, so it is prompted with the noun phrase of the expression: of "the dog
left of the red car" it reads "dog". Its answer is the instance with the highest score. Places and relations in the
expression do not count. The weights, https://huggingface.co/facebook/sam3, are under the SAM License and are given out
on request.
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
from vg_gym.errors import unknown
from vg_gym.features.proposals import proposals
from vg_gym.language.nouns import noun_phrase
from vg_gym.storage.files import fingerprint
from vg_gym.types import Prediction, Proposals, Query, refuse_initial_boxes

MAX_TOKENS = 32
"""Number of tokens of a phrase that the text encoder reads."""
WORDS = ("phrase", "expression")
"""Values of ``words``."""


class Sam3Grounder:
    """Grounder that finds the instances of the expression's noun phrase, and answers with the best one.

    Args:
        weights: name on the hub, or folder in transformers' layout; default: the registry's published weights.
        name: name of the grounder.
        revision: commit, tag or branch on the hub.
        words: words that SAM 3 reads: ``phrase``, the noun phrase (:func:`vg_gym.language.nouns.noun_phrase`), or
            ``expression``, all of them.
        prompt: text with ``{}`` for these words.
        min_score: least score of an instance; if none reaches it, the query counts as a failure.
        max_boxes: largest number of instances in the details, best first.
        batch_size: images per forward pass.
        device: torch device, or ``auto``.
        precision: ``float32``, ``bfloat16``, ``float16`` (mixed), or ``auto``.

    Raises:
        VGGymError: transformers or the weights are missing, or ``words`` is unknown.
    """

    def __init__(
        self,
        weights: str | None = None,
        name: str = "sam3",
        revision: str | None = None,
        words: str = "phrase",
        prompt: str = "{}",
        min_score: UnitInterval = 0.0,
        max_boxes: PositiveInt = 50,
        batch_size: PositiveInt = 8,
        device: str = "auto",
        precision: str = "auto",
    ):
        if words not in WORDS:
            raise unknown("words of SAM 3", words, WORDS)
        self.name, self.words, self.prompt = name, words, checked_prompt(prompt)
        self.min_score, self.max_boxes, self.batch_size = min_score, max_boxes, batch_size
        named = weights or registry.grounder_spec(name).published
        self.model = load(name, "Sam3Model", named, revision, device, precision, processor_class="Sam3Processor")
        self._warned = False

    @property
    def source(self) -> str:
        """Weights, words and prompt of the answers."""
        return f"{self.model.source} words={self.words} prompt={self.prompt!r}"

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the weights and of the options that change answers."""
        return fingerprint(self.source, self.min_score, self.max_boxes, self.model.dtype)

    def ground(self, queries: Sequence[Query], initial_boxes: np.ndarray | None = None) -> list[Prediction]:
        """Return the best instance of every query; see :meth:`OpenVocabularyDetector.ground` for ``details``."""
        refuse_initial_boxes(self.name, initial_boxes)
        predictions: list[Prediction] = []
        for start in range(0, len(queries), self.batch_size):
            batch = queries[start : start + self.batch_size]
            detected = self.detect([q.image.array() for q in batch], [self.text(q.expression) for q in batch])
            predictions += [self._answer(query, boxes) for query, boxes in zip(batch, detected, strict=True)]
        return predictions

    def text(self, expression: str) -> str:
        """Return the phrase that SAM 3 reads; the whole expression if there is none in it."""
        phrase = noun_phrase(expression.lower()) if self.words == "phrase" else ""
        return self.prompt.replace("{}", phrase or expression)

    @torch.inference_mode()
    def detect(self, images: Sequence[np.ndarray], phrases: Sequence[str]) -> list[Proposals]:
        """Return the instances of a phrase in each image, best first, from one forward pass.

        Args:
            images: B images, uint8 (H, W, 3).
            phrases: phrase of each image.
        """
        processor, sizes = self.model.processor, [image.shape[:2] for image in images]
        self._warn_of_long(phrases)
        texts = processor.tokenizer(
            list(phrases), padding="max_length", truncation=True, max_length=MAX_TOKENS, return_tensors="pt"
        )
        pixels = processor.image_processor([Image.fromarray(image) for image in images], return_tensors="pt")
        inputs = self.model.on_device(pixels)
        with self.model.autocast():
            outputs = self.model.module(pixel_values=inputs["pixel_values"], **texts.to(self.model.device))
        results = processor.image_processor.post_process_object_detection(
            outputs, threshold=self.min_score, target_sizes=sizes
        )
        return [
            self._best(result, phrase, image) for result, phrase, image in zip(results, phrases, images, strict=True)
        ]

    def _best(self, result: dict[str, torch.Tensor], phrase: str, image: np.ndarray) -> Proposals:
        """Return the instances with the highest scores."""
        boxes, scores = result["boxes"].float().cpu().numpy(), result["scores"].float().cpu().numpy()
        order = np.argsort(-scores, kind="stable")[: self.max_boxes]
        return proposals(boxes[order], scores[order], [phrase] * len(order), image)

    def _warn_of_long(self, phrases: Sequence[str]) -> None:
        tokenizer = self.model.processor.tokenizer
        long = next((text for text in phrases if len(tokenizer(text)["input_ids"]) > MAX_TOKENS), None)
        if long is not None and not self._warned:
            self._warned = True
            warnings.warn(f"{self.name} reads {MAX_TOKENS} tokens; longer phrases are cut, e.g. {long!r}", stacklevel=4)

    def _answer(self, query: Query, detected: Proposals) -> Prediction:
        if not len(detected):
            return unanswered(query, f"{self.name}: no instance of {self.text(query.expression)!r}", source=self.source)
        details: dict[str, Any] = {
            "proposals": detected.boxes, "scores": detected.scores, "labels": detected.labels, "source": self.source,
        }  # fmt: skip
        return Prediction(detected.boxes[0].copy(), float(detected.scores[0]), details)
