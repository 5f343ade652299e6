"""Vision-language models as grounders: asked in words, and the box is read in their text.

Florence-2 (Xiao et al., CVPR 2024), Qwen2.5-VL and Qwen3-VL (Bai et al., 2025), InternVL (Chen et al., CVPR 2024),
PaliGemma (Beyer et al., 2024), through ``AutoModelForImageTextToText`` of transformers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

from vg_gym import registry
from vg_gym.answers.frames import FrameCheck, Size, frame_called, place, to_pixels
from vg_gym.answers.reasoning import is_reasoning
from vg_gym.answers.text import find_boxes, find_outline
from vg_gym.baselines.foundation.families import FAMILIES, checked_prompt
from vg_gym.baselines.foundation.loading import load
from vg_gym.baselines.foundation.unanswered import unanswered
from vg_gym.config import PositiveInt
from vg_gym.errors import VGGymError
from vg_gym.storage.files import fingerprint
from vg_gym.types import Prediction, Query, refuse_initial_boxes

OUTLINE = "<REFERRING_EXPRESSION_SEGMENTATION>"
"""Florence-2's task whose answer is an outline; the box around it is taken."""
END_OF_SEQUENCE = ("<s>", "</s>", "<pad>", "<eos>", "<bos>")
"""Words that are no part of an answer, where special tokens are kept because places are among them."""


class VisionLanguageGrounder:
    """Asks a vision-language model where something is, and reads the first box of its answer.

    An answer without a box, or with one outside the image, is a failure and scores 0; its text is in
    ``details["answer"]``. Where boxes look as if they were of another frame, a warning says so
    (:class:`vg_gym.answers.frames.FrameCheck`).

    Args:
        weights: a name on the hub, or a folder in transformers' layout.
        name: of the grounder.
        revision: commit, tag or branch on the hub.
        prompt: with ``{}`` for the expression; default: that of the model's family
            (:mod:`vg_gym.baselines.foundation.families`).
        frame: of the boxes in its answers, a key of :data:`vg_gym.answers.frames.FRAMES`; default: its family's.
        system: a system message for the chat template; empty: none.
        max_new_tokens: of an answer.
        num_beams: of beam search; 1: greedy. Nothing is sampled.
        max_pixels: most pixels of the image as the model sees it, where its processor has such a limit (Qwen).
        min_pixels: fewest, likewise.
        batch_size: queries a forward pass.
        device: torch device, or ``auto``.
        precision: of the weights, ``float32``, ``bfloat16``, ``float16``, or ``auto``.

    Raises:
        VGGymError: transformers or the weights are missing, the frame is unknown, or the model is of no family that is
            known and prompt or frame are not given.
    """

    def __init__(
        self,
        weights: str | None = None,
        name: str = "vlm",
        revision: str | None = None,
        prompt: str | None = None,
        frame: str | None = None,
        system: str = "",
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
        kind = self.model.module.config.model_type
        family = FAMILIES.get(kind)
        if family is None and not (prompt and frame):
            raise VGGymError(
                f"{weights} is a {kind}, whose prompt and box frame are not known; give both: prompt='... {{}} ...' "
                f"and frame=; known are {', '.join(FAMILIES)}"
            )
        self.prompt = checked_prompt(prompt or family.prompt)  # type: ignore[union-attr]
        self.frame = frame or family.frame  # type: ignore[union-attr]
        self.chat = family is None or family.chat
        self.system, self.batch_size = system, batch_size
        self.decoding = {"max_new_tokens": max_new_tokens, "num_beams": num_beams, "do_sample": False}
        if not hasattr(self.model.processor, "chat_template") or (self.chat and not self.model.processor.chat_template):
            raise VGGymError(f"{weights} has no chat template; take a checkpoint that was tuned on instructions")
        self._limits = _pixel_limits(self.model.processor, min_pixels, max_pixels)
        self.model.processor.tokenizer.padding_side = "left"
        self._check = FrameCheck(f"{name}:{weights}", self.frame)

    @property
    def source(self) -> str:
        """Which weights, which prompt, which frame and which decoding answer."""
        beams = f"num_beams={self.decoding['num_beams']} max_new_tokens={self.decoding['max_new_tokens']}"
        limits = f" size={self._limits['size']}" if self._limits else ""
        system = f" system={self.system!r}" if self.system else ""
        return f"{self.model.source} frame={self.frame} prompt={self.prompt!r}{system} {beams}{limits}"

    @property
    def fingerprint(self) -> str:
        """A hash of the weights, and of how they are asked."""
        return fingerprint(self.source, self.model.dtype)

    def ground(self, queries: Sequence[Query], initial_boxes: np.ndarray | None = None) -> list[Prediction]:
        """A box of every query; ``details``: ``answer``, the model's text, and ``source``."""
        refuse_initial_boxes(self.name, initial_boxes)
        found: list[Prediction] = []
        for start in range(0, len(queries), self.batch_size):
            batch = queries[start : start + self.batch_size]
            answers, seen = self.answer([q.image.array() for q in batch], [q.expression for q in batch])
            found += [self.read(q, text, size) for q, text, size in zip(batch, answers, seen, strict=True)]
        return found

    @torch.inference_mode()
    def answer(self, images: Sequence[np.ndarray], expressions: Sequence[str]) -> tuple[list[str], list[Size | None]]:
        """Texts that the model writes, and sizes (W, H) of the images as it saw them (None where that is not known).

        Args:
            images: B of them, uint8 (H, W, 3).
            expressions: one for each.
        """
        texts = [self.text(expression) for expression in expressions]
        pictures = [[Image.fromarray(image)] for image in images]
        inputs = self.model.processor(images=pictures, text=texts, padding=True, return_tensors="pt", **self._limits)
        inputs.pop("labels", None)
        written = self.model.module.generate(**self.model.on_device(inputs), **self.decoding)
        if not self.model.module.config.is_encoder_decoder:
            written = written[:, inputs["input_ids"].shape[1] :]
        places = bool(frame_called(self.frame).token)
        answers = self.model.processor.tokenizer.batch_decode(written, skip_special_tokens=not places)
        answers = [_opened(prompt) + _without_ends(text) for prompt, text in zip(texts, answers, strict=True)]
        return answers, _seen_sizes(self.model.processor, inputs, len(texts))

    def text(self, expression: str) -> str:
        """What the model is given to read, the chat template included."""
        asked = self.prompt.replace("{}", expression)
        if not self.chat:
            return asked
        user = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": asked}]}
        system = {"role": "system", "content": [{"type": "text", "text": self.system}]}
        messages = [system, user] if self.system else [user]
        return self.model.processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)

    def read(self, query: Query, text: str, seen: Size | None) -> Prediction:
        """The first box of a text, or a failure.

        Args:
            query: what was asked.
            text: what the model wrote.
            seen: (W, H) of the image as it saw it; None: not known.
        """
        details: dict[str, Any] = {"answer": text, "source": self.source}
        outline = find_outline(text, self.frame) if OUTLINE in self.prompt else None
        said = [outline] if outline else find_boxes(text, self.frame)
        if not said:
            return unanswered(query, f"{self.name}: no box in the answer {text[:100]!r}", **details)
        self._check.see(to_pixels(np.asarray(said[0]), self.frame, query.image.size, seen), query.image.size)
        box = place(said[0], self.frame, query.image.size, seen)
        if box is None:
            return unanswered(query, f"{self.name}: no box inside the image in the answer {text[:100]!r}", **details)
        return Prediction(box, details=details)


def _opened(prompt: str) -> str:
    """What was opened in a prompt and belongs to the answer: templates of reasoning models end with ``<think>``."""
    return "<think>" if is_reasoning(prompt) else ""


def _without_ends(text: str) -> str:
    for word in END_OF_SEQUENCE:
        text = text.replace(word, "")
    return text.strip()


def _pixel_limits(processor: Any, fewest: int | None, most: int | None) -> dict[str, Any]:
    """The processor's argument for limits of pixels; nothing where none are given.

    Raises:
        VGGymError: the processor has no such limits.
    """
    if fewest is None and most is None:
        return {}
    size = dict(processor.image_processor.size)
    if not {"shortest_edge", "longest_edge"} <= {key for key, value in size.items() if value}:
        raise VGGymError(f"{type(processor).__name__} has no limits of pixels; leave min_pixels and max_pixels out")
    limits = {"shortest_edge": fewest or size["shortest_edge"], "longest_edge": most or size["longest_edge"]}
    return {"size": limits}


def _seen_sizes(processor: Any, inputs: Any, count: int) -> list[Size | None]:
    """Sizes of the images as the model saw them, where the processor says in how many patches it cut them."""
    if "image_grid_thw" not in inputs:
        return [None] * count
    side = processor.image_processor.patch_size
    return [(int(width) * side, int(height) * side) for _, height, width in inputs["image_grid_thw"].tolist()]
