"""Vision-language models behind a server as grounders: ``api:MODEL``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from PIL import Image

from vg_gym.baselines.foundation.families import FAMILIES, Family
from vg_gym.baselines.foundation.loading import transformers_package
from vg_gym.baselines.foundation.questions import BoxQuestions
from vg_gym.config import NonNegativeInt, PositiveFloat, PositiveInt
from vg_gym.errors import VGGymError, unknown
from vg_gym.frames import Size, frame_called
from vg_gym.language_models.answer_cache import cached
from vg_gym.language_models.chat_api import ChatAnswer, ChatServer, ServerError, data_url
from vg_gym.storage.files import fingerprint
from vg_gym.types import Prediction, Query

PATCH_PX = 28
"""Side of a patch of Qwen2.5-VL after merging, in pixels."""
MIN_PIXELS = 4 * PATCH_PX**2
"""Smallest number of pixels of an input image of Qwen2.5-VL."""


class ApiGrounder:
    """Grounder that asks a model behind a server for a box, with the prompts and frames of ``vlm``.

    An answer without a box, or with a box outside the image, is an answer without a box and scores 0. A request that
    fails after all repetitions is a failure. Answers are cached by the content of their requests
    (:mod:`vg_gym.language_models.answer_cache`), so a run that is started again repeats no question. The key is read
    from ``VG_GYM_API_KEY``, for api.openai.com also from ``OPENAI_API_KEY``.

    ``details`` of predictions have ``answer``, ``source``, ``prompt_tokens``, ``completion_tokens`` and ``seconds``.

    Args:
        model: name of the model on the server.
        name: name of the grounder.
        base: address of the server up to the version, e.g. ``http://localhost:8000/v1``.
        concurrency: number of requests at the same time.
        family: family of the model, a key of :data:`vg_gym.baselines.foundation.families.FAMILIES`; default: the one
            whose name is in the model's name.
        prompt: prompt with ``{}`` for the expression; default: the family's.
        frame: frame of the boxes in answers, a key of :data:`vg_gym.frames.FRAMES`; default: the family's.
        refine_prompt: prompt with ``{}`` for images with a red rectangle; default: a sentence about the rectangle, then
            the prompt.
        system: system message; empty: no message.
        max_new_tokens: largest number of tokens of an answer.
        temperature: temperature of the sampling; None leaves it to the server.
        body: further fields of the request, e.g. ``seed``, or ``chat_template_kwargs`` of vLLM; None removes a field.
        max_pixels: largest number of pixels of an image whose boxes are in the frame ``resized``. It must not be above
            the server's own limit, since boxes are read in the pixels of the image that is sent.
        timeout_s: longest duration of one attempt in seconds.
        retries: number of repetitions of a failed request.
        cache: False to ask again in every run.

    Raises:
        VGGymError: the address, the family, the frame or a prompt is missing or wrong, or httpx is not installed.
    """

    def __init__(
        self,
        model: str = "",
        name: str = "api",
        base: str = "",
        concurrency: PositiveInt = 8,
        family: str | None = None,
        prompt: str | None = None,
        frame: str | None = None,
        refine_prompt: str | None = None,
        system: str = "",
        max_new_tokens: PositiveInt = 512,
        temperature: float | None = 0.0,
        body: Mapping[str, Any] | None = None,
        max_pixels: PositiveInt = 1_003_520,
        timeout_s: PositiveFloat = 120.0,
        retries: NonNegativeInt = 6,
        cache: bool = True,
    ):
        self.server, self.concurrency, self.cache = ChatServer(base, timeout_s, retries), concurrency, cache
        if not model:
            raise VGGymError("api needs the name of a model: api:Qwen/Qwen3-VL-8B-Instruct")
        self.name, self.model, self.system = name, model, system
        by_family = None if prompt and frame and family is None else family_of(model, family)
        points = by_family is not None and by_family.points
        self.questions = BoxQuestions(
            name,
            model,
            prompt or by_family.prompt,  # type: ignore[union-attr]
            frame or by_family.frame,  # type: ignore[union-attr]
            "" if points else refine_prompt,
            points,
        )
        self.max_pixels = max_pixels
        sampling = {"max_tokens": max_new_tokens, "temperature": temperature, **(body or {})}
        self.sampling = {field: value for field, value in sampling.items() if value is not None}
        self._is_resized = frame_called(self.questions.frame).resized
        if self._is_resized:
            transformers_package(f"{name}:{model} in the frame {self.questions.frame!r}")

    @property
    def source(self) -> str:
        """Server, model, prompt, frame and sampling of the answers."""
        system = f" system={self.system!r}" if self.system else ""
        limit = f" max_pixels={self.max_pixels}" if self._is_resized else ""
        questions = f"frame={self.questions.frame} prompt={self.questions.prompt!r}"
        return f"{self.server.base} {self.model} {questions}{system} {self.sampling}{limit}"

    @property
    def fingerprint(self) -> str:
        """Hash of everything that changes answers, except the model behind its name."""
        return fingerprint(self.source, self.questions.refine_prompt)

    def ground(self, queries: Sequence[Query], initial_boxes: np.ndarray | None = None) -> list[Prediction]:
        """Return a box of every query; initial boxes, pixels (N, 4), are drawn on the images as red rectangles."""
        drawn = [None] * len(queries) if initial_boxes is None else list(initial_boxes)
        self.server.stopped.clear()
        threads = ThreadPoolExecutor(self.concurrency)
        try:
            answers = list(threads.map(self._ask, queries, drawn))
        except BaseException:
            self.server.stopped.set()
            raise
        finally:
            threads.shutdown(cancel_futures=True)
        return [self._read(query, *answer) for query, answer in zip(queries, answers, strict=True)]

    def _ask(self, query: Query, box: np.ndarray | None) -> tuple[ChatAnswer | ServerError, Size]:
        """Return the answer about a query, or why there is none, and the size (W, H) of the image that was sent."""
        picture = Image.fromarray(self.questions.image(query, box))
        if self._is_resized:
            picture = picture.resize(resized_size(picture.size, self.max_pixels), Image.Resampling.BICUBIC)
        body = self.request(picture, self.questions.text(query.expression, box is not None))
        try:
            ask = self.server.complete
            return (cached(self.server.base, body, ask) if self.cache else ask(body)), picture.size
        except ServerError as error:
            return error, picture.size

    def _read(self, query: Query, answer: ChatAnswer | ServerError, seen: Size) -> Prediction:
        if isinstance(answer, ServerError):
            return Prediction(details={"failure": str(answer), "source": self.source})
        counts = {"prompt_tokens": answer.prompt_tokens, "completion_tokens": answer.completion_tokens}
        counts = {name: count for name, count in counts.items() if count is not None}
        return self.questions.read(query, answer.text, seen, source=self.source, seconds=answer.seconds, **counts)

    def request(self, picture: Image.Image, question: str) -> dict[str, Any]:
        """Return the body of a request, with the picture as a PNG in a data URL."""
        parts = [
            {"type": "image_url", "image_url": {"url": data_url(picture)}},
            {"type": "text", "text": question},
        ]
        system = [{"role": "system", "content": self.system}] if self.system else []
        return {"model": self.model, "messages": [*system, {"role": "user", "content": parts}], **self.sampling}


def resized_size(size: Size, max_pixels: int) -> Size:
    """Return the size (W, H) to which Qwen2.5-VL resizes an image, so that its server leaves the image as it is.

    Args:
        size: (W, H) of the image.
        max_pixels: largest number of pixels.
    """
    from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize

    height, width = smart_resize(size[1], size[0], PATCH_PX, MIN_PIXELS, max_pixels)
    return width, height


def family_of(model: str, family: str | None = None) -> Family:
    """Return the family of a model, by its name unless it is given.

    Args:
        model: name of the model.
        family: key of :data:`vg_gym.baselines.foundation.families.FAMILIES`; None: the longest key in the model's name.

    Raises:
        VGGymError: no family is in the name, or the family is unknown or lacks a chat template.

    >>> family_of("Qwen/Qwen2.5-VL-7B-Instruct").frame, family_of("my-model", "qwen3_vl").frame
    ('resized', '0-1000')
    """
    known = {key: value for key, value in FAMILIES.items() if value.chat}
    plain = re.sub(r"[^a-z0-9]+", "_", model.lower())
    if family is not None and family not in known:
        raise unknown("family of models behind a server", family, known)
    names = [family] if family is not None else sorted((key for key in known if key in plain), key=len)
    if not names:
        raise VGGymError(
            f"the family of {model!r} is not known, so neither are its prompt and box frame: give api.family= (one of "
            f"{', '.join(known)}), or api.prompt='... {{}} ...' and api.frame="
        )
    return known[names[-1]]
