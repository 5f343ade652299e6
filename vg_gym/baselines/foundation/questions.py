"""Questions for boxes to vision-language models, and the boxes in their answers, whoever runs the model.

A model may be asked again with a box drawn on the image as a red rectangle, its own or another method's. Models that
were not trained for this become worse: in "Iterative Visual Thinking" (Tripathy & Krishnan, arXiv:2606.13156, 2026)
Acc@0.5 of such an untrained model falls from 79.6 % to 48.7 %, and training raises it to 82.0 %.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vg_gym.baselines.foundation.families import checked_prompt
from vg_gym.baselines.foundation.unanswered import unanswered
from vg_gym.baselines.visual_prompts import red_rectangle
from vg_gym.errors import VGGymError
from vg_gym.frames import FrameCheck, Size, frame_called, place, to_pixels
from vg_gym.language_models.box_text import find_boxes, find_outline
from vg_gym.language_models.point_text import find_points
from vg_gym.types import Prediction, Query

REFINE_PROMPT = (
    "The red rectangle in the image is a first answer to the task below. If it fits the object exactly, answer with "
    "the same box, otherwise with a better one. {}"
)
"""Text before a family's own prompt, which takes the place of ``{}``, if a box is drawn on the image."""
OUTLINE_TASK = "<REFERRING_EXPRESSION_SEGMENTATION>"
"""Florence-2's task whose answer is an outline; the answered box is the one around it."""


class BoxQuestions:
    """Questions of one model, and the reading of its answers.

    Args:
        name: name of the grounder, for failures.
        model: name of the model, for warnings.
        prompt: prompt with ``{}`` for the expression.
        frame: frame of the boxes in answers, a key of :data:`vg_gym.frames.FRAMES`.
        refine_prompt: prompt with ``{}`` for the expression, for images with a red rectangle; default:
            :data:`REFINE_PROMPT` around ``prompt``. Empty: the model cannot be asked about a rectangle.
        points: whether answers are points; a prediction then has ``details["point"]``, pixels (2,), and no boxes.

    Raises:
        VGGymError: the frame is unknown, or a prompt lacks a place for the expression.
    """

    def __init__(
        self, name: str, model: str, prompt: str, frame: str, refine_prompt: str | None = None, points: bool = False
    ):
        frame_called(frame)
        self.points = points
        self.name, self.frame, self.prompt = name, frame, checked_prompt(prompt)
        self.refine_prompt = REFINE_PROMPT.replace("{}", prompt) if refine_prompt is None else refine_prompt
        if self.refine_prompt:
            checked_prompt(self.refine_prompt)
        self._check = FrameCheck(f"{name}:{model}", frame)

    def text(self, expression: str, with_rectangle: bool = False) -> str:
        """Return the question about an expression.

        Args:
            expression: referring expression.
            with_rectangle: True if the image has a red rectangle.

        Raises:
            VGGymError: the model cannot be asked about a rectangle.
        """
        if with_rectangle and not self.refine_prompt:
            raise VGGymError(f"{self.name!r} does not refine given boxes; call ground(queries) without initial_boxes")
        return (self.refine_prompt if with_rectangle else self.prompt).replace("{}", expression)

    def image(self, query: Query, box: np.ndarray | None = None) -> np.ndarray:
        """Return the image of a query, uint8 (H, W, 3), with a red rectangle if there is a box (4,) in pixels."""
        return query.image.array() if box is None else red_rectangle(query.image.array(), box)

    def read(self, query: Query, text: str, seen: Size | None, **details: Any) -> Prediction:
        """Return the boxes or the point of an answer, or :func:`unanswered` if the first is not inside the image.

        Args:
            query: query of the answer.
            text: answer of the model.
            seen: size (W, H) of the model's input image; None: unknown.
            **details: other details of the prediction.
        """
        details["answer"] = text
        what = "point" if self.points else "box"
        numbers = self._numbers(text)
        if not numbers:
            return unanswered(query, f"{self.name}: no {what} in the answer {text[:100]!r}", **details)
        first = to_pixels(np.asarray(numbers[0]), self.frame, query.image.size, seen)
        self._check.see(first, query.image.size)
        if self.points and (first[:2] <= query.image.size).all():
            return Prediction(details={**details, "point": first[:2]})
        placed = [place(box, self.frame, query.image.size, seen) for box in numbers]
        if placed[0] is None:
            return unanswered(query, f"{self.name}: no {what} inside the image in the answer {text[:100]!r}", **details)
        different = {tuple(box.tolist()): box for box in placed if box is not None}
        return Prediction(boxes=np.stack(list(different.values())), details=details)

    def _numbers(self, text: str) -> list[list[float]]:
        """Return the boxes of a text, or its points as boxes without extent, four numbers each in the frame."""
        if self.points:
            return [[*point, *point] for point in find_points(text)]
        outline = find_outline(text, self.frame) if OUTLINE_TASK in self.prompt else None
        return [outline] if outline else find_boxes(text, self.frame)
