"""Vision-language models as grounders, which are prompted for a box that is then read from their text.

The models are those of :data:`vg_gym.baselines.foundation.families.FAMILIES`, among them Florence-2 (Xiao et al., CVPR
2024), Qwen2.5-VL and Qwen3-VL (Bai et al., 2025), GLM-V (arXiv:2507.01006), InternVL (Chen et al., CVPR 2024), Molmo2
(arXiv:2601.10611), Rex-Omni (arXiv:2510.12798) and PaliGemma (Beyer et al., 2024), through
``AutoModelForImageTextToText`` of transformers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

from vg_gym import registry
from vg_gym.baselines.foundation.families import FAMILIES, Family, family_of
from vg_gym.baselines.foundation.loading import load
from vg_gym.baselines.foundation.questions import BoxQuestions
from vg_gym.config import PositiveInt
from vg_gym.errors import VGGymError
from vg_gym.frames import Size, frame_called
from vg_gym.language_models.reasoning import is_reasoning
from vg_gym.storage.files import fingerprint
from vg_gym.types import Prediction, Query

SPECIAL_TOKENS = ("<s>", "</s>", "<pad>", "<eos>", "<bos>", "<|im_end|>", "<|endoftext|>")
"""Tokens that are removed from answers with location tokens, which are special tokens themselves."""


class VisionLanguageGrounder:
    """Grounder that prompts a vision-language model for a box and reads the boxes of its answer.

    The first box is the best one; other boxes inside the image follow, for data in which an expression may mean
    several objects. An answer without a box, or whose first box is outside the image, is a failure and scores 0. Its
    text is in ``details["answer"]``. A warning appears if boxes look as if they were in another frame
    (:class:`vg_gym.frames.FrameCheck`). A model of points (Molmo2) answers without boxes: ``details["point"]`` is its
    first point, pixels (2,), and only pointing accuracy is computed. Initial boxes are drawn on the images as red
    rectangles (:mod:`vg_gym.baselines.foundation.questions`).

    Args:
        weights: name on the hub, or folder in transformers' layout.
        name: name of the grounder.
        revision: commit, tag or branch on the hub.
        prompt: prompt with ``{}`` for the expression; default: that of the model's family
            (:mod:`vg_gym.baselines.foundation.families`).
        frame: frame of the boxes in answers, a key of :data:`vg_gym.frames.FRAMES`; default: the family's.
        refine_prompt: prompt with ``{}`` for images with a red rectangle; default: a sentence about the rectangle, then
            the prompt. Models without a chat template have none, nor have models of points.
        system: system message for the chat template; empty: no message; default: the family's.
        thinking: True to let a model that can do both reason before it answers (``enable_thinking`` of its template);
            it then needs more ``max_new_tokens``.
        max_new_tokens: largest number of tokens of an answer.
        num_beams: number of beams of the search; 1 is greedy decoding. Nothing is sampled.
        max_pixels: largest number of pixels of the model's input image, if its processor has such a limit (Qwen).
        min_pixels: smallest number of pixels of the model's input image, if its processor has such a limit (Qwen).
        batch_size: queries per forward pass.
        device: torch device, or ``auto``.
        precision: precision of the weights, ``float32``, ``bfloat16``, ``float16``, or ``auto``.

    Raises:
        VGGymError: transformers or the weights are missing, the frame is unknown, the model's family is unknown and
            prompt or frame is not set, or its chat template lacks a switch for ``thinking``.
    """

    def __init__(
        self,
        weights: str | None = None,
        name: str = "vlm",
        revision: str | None = None,
        prompt: str | None = None,
        frame: str | None = None,
        refine_prompt: str | None = None,
        system: str | None = None,
        thinking: bool = False,
        max_new_tokens: PositiveInt = 128,
        num_beams: int = 1,
        max_pixels: int | None = None,
        min_pixels: int | None = None,
        batch_size: PositiveInt = 8,
        device: str = "auto",
        precision: str = "auto",
    ):
        self.name, weights = name, weights or registry.grounder_spec(name).published
        if frame is not None:
            frame_called(frame)
        self.model = load(name, "AutoModelForImageTextToText", weights, revision, device, precision, mixed=False)
        family = self._family(str(weights), prompt, frame)
        self.chat = family.chat
        self.questions = BoxQuestions(
            name,
            str(weights),
            prompt or family.prompt,
            frame or family.frame,
            refine_prompt if self.chat and not family.points else "",
            family.points,
        )
        self.system, self.thinking = family.system if system is None else system, thinking
        self.batch_size = batch_size
        self.decoding = {"max_new_tokens": max_new_tokens, "num_beams": num_beams, "do_sample": False}
        if not hasattr(self.model.processor, "chat_template") or (self.chat and not self.model.processor.chat_template):
            raise VGGymError(f"{weights} has no chat template; use a checkpoint that was tuned on instructions")
        self._has_switch = "enable_thinking" in str(self.model.processor.chat_template)
        if thinking and not self._has_switch:
            raise VGGymError(f"the chat template of {weights} has no switch for reasoning; leave thinking out")
        self._limits = _pixel_limits(self.model.processor, min_pixels, max_pixels)
        self.model.processor.tokenizer.padding_side = "left"

    def _family(self, weights: str, prompt: str | None, frame: str | None) -> Family:
        """Return the family of the model, or one of the prompt and the frame that are set.

        Raises:
            VGGymError: the family is unknown, and the prompt or the frame is not set.
        """
        kind = self.model.module.config.model_type
        if (family := family_of(kind, self.model.processor.tokenizer.get_vocab())) is not None:
            return family
        if prompt and frame:
            return Family(kind, frame, prompt)
        raise VGGymError(
            f"{weights} is a {kind}, whose prompt and box frame are not known; set both, prompt='... {{}} ...' "
            f"and frame=; known are {', '.join(FAMILIES)}"
        )

    @property
    def source(self) -> str:
        """Weights, prompt, frame and decoding of the answers."""
        beams = f"num_beams={self.decoding['num_beams']} max_new_tokens={self.decoding['max_new_tokens']}"
        limits = f" size={self._limits['size']}" if self._limits else ""
        system = f" system={self.system!r}" if self.system else ""
        thinking, questions = " thinking=True" if self.thinking else "", self.questions
        task = f"frame={questions.frame} prompt={questions.prompt!r}"
        return f"{self.model.source} {task}{system}{thinking} {beams}{limits}"

    @property
    def fingerprint(self) -> str:
        """Hash of the weights and of the options that change answers."""
        return fingerprint(self.source, self.questions.refine_prompt, self.model.dtype)

    def ground(self, queries: Sequence[Query], initial_boxes: np.ndarray | None = None) -> list[Prediction]:
        """Return a box of every query; ``details`` has ``answer``, the model's text, and ``source``.

        Raises:
            VGGymError: there are initial boxes, and the model lacks a chat template.
        """
        drawn = [None] * len(queries) if initial_boxes is None else list(initial_boxes)
        predictions: list[Prediction] = []
        for start in range(0, len(queries), self.batch_size):
            batch, boxes = queries[start : start + self.batch_size], drawn[start : start + self.batch_size]
            images = [self.questions.image(query, box) for query, box in zip(batch, boxes, strict=True)]
            questions = [self.questions.text(query.expression, initial_boxes is not None) for query in batch]
            answers, sizes = self.answer(images, questions)
            predictions += [
                self.questions.read(query, text, size, source=self.source)
                for query, text, size in zip(batch, answers, sizes, strict=True)
            ]
        return predictions

    @torch.inference_mode()
    def answer(self, images: Sequence[np.ndarray], questions: Sequence[str]) -> tuple[list[str], list[Size | None]]:
        """Return the model's texts, and the sizes (W, H) of its input images (None if unknown).

        Args:
            images: B images, uint8 (H, W, 3).
            questions: question about each image.
        """
        texts = [self.text(question) for question in questions]
        pictures = [[Image.fromarray(image)] for image in images]
        inputs = self.model.processor(images=pictures, text=texts, padding=True, return_tensors="pt", **self._limits)
        inputs.pop("labels", None)
        written = self.model.module.generate(**self.model.on_device(inputs), **self.decoding)
        if not self.model.module.config.is_encoder_decoder:
            written = written[:, inputs["input_ids"].shape[1] :]
        places = bool(frame_called(self.questions.frame).token)
        answers = self.model.processor.tokenizer.batch_decode(written, skip_special_tokens=not places)
        answers = [_opened(prompt) + _without_ends(text) for prompt, text in zip(texts, answers, strict=True)]
        return answers, _seen_sizes(self.model.processor, inputs, len(texts))

    def text(self, question: str) -> str:
        """Return the model's input text for a question, including the chat template."""
        if not self.chat:
            return question
        user = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": question}]}
        system = {"role": "system", "content": [{"type": "text", "text": self.system}]}
        messages = [system, user] if self.system else [user]
        switch = {"enable_thinking": self.thinking} if self._has_switch else {}
        return self.model.processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False, **switch)


def _opened(prompt: str) -> str:
    """Return the tag that a prompt opens for the answer; templates of reasoning models end with ``<think>``."""
    return "<think>" if is_reasoning(prompt) else ""


def _without_ends(text: str) -> str:
    for word in SPECIAL_TOKENS:
        text = text.replace(word, "")
    return text.strip()


def _pixel_limits(processor: Any, fewest: int | None, most: int | None) -> dict[str, Any]:
    """Return the processor's argument for limits of pixels; empty without limits.

    Raises:
        VGGymError: the processor does not support such limits.
    """
    if fewest is None and most is None:
        return {}
    size = dict(processor.image_processor.size)
    if not {"shortest_edge", "longest_edge"} <= {key for key, value in size.items() if value}:
        raise VGGymError(f"{type(processor).__name__} has no limits of pixels; leave min_pixels and max_pixels out")
    limits = {"shortest_edge": fewest or size["shortest_edge"], "longest_edge": most or size["longest_edge"]}
    return {"size": limits}


def _seen_sizes(processor: Any, inputs: Any, count: int) -> list[Size | None]:
    """Return the sizes (W, H) of the model's input images from their numbers of patches; None if these are unknown."""
    if "image_grid_thw" not in inputs:
        return [None] * count
    side = processor.image_processor.patch_size
    return [(int(width) * side, int(height) * side) for _, height, width in inputs["image_grid_thw"].tolist()]
