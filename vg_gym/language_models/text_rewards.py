"""Verifiable, batched rewards for language-model policies, as plain functions.

They have the signature of TRL's ``GRPOTrainer(reward_funcs=...)``: they take completions and columns of the data set by
name, with one entry for each completion, and return a list of floats. The columns are those of
:class:`vg_gym.language_models.chat.ChatDataset`: ``box`` (true box in pixels), ``size`` (W, H), ``frame`` (frame of the
boxes in the answers), and optionally ``input_size``, ``initial_box`` and ``prompts``, which TRL adds.
:func:`compute_score` has verl's signature.

>>> answers = ["[0, 0, 500, 1000]", "no idea"]
>>> columns = {"box": [[0, 0, 40, 40]] * 2, "size": [[80, 40]] * 2, "frame": ["0-1000"] * 2}
>>> iou_reward(answers, **columns), format_reward(answers, **columns)
([1.0, 0.0], [1.0, 0.0])
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym.errors import VGGymError
from vg_gym.frames import Size, is_within, place
from vg_gym.language_models.box_text import find_boxes
from vg_gym.language_models.reasoning import is_reasoning

MAKER = "vg_gym.language_models.chat.to_chat_dataset"
"""Function that makes data sets with the columns that rewards read."""
Completion = str | Sequence[Mapping[str, Any]]
"""Text, or messages of a conversation; the last message is read."""
Reward = Callable[..., list[float]]
"""Function from completions and columns to rewards."""


def text_of(completion: Completion) -> str:
    """Return the text of a completion.

    >>> text_of([{"role": "assistant", "content": [{"type": "text", "text": "[1, 2, 3, 4]"}]}])
    '[1, 2, 3, 4]'
    """
    if isinstance(completion, str):
        return completion
    content = completion[-1]["content"] if completion else ""
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def answered_boxes(
    completions: Sequence[Completion],
    size: Sequence[Sequence[int]],
    frame: Sequence[str],
    input_size: Sequence[Sequence[int] | None] | None = None,
    prompts: Sequence[Completion] | None = None,
) -> np.ndarray:
    """Return the first box of every completion in pixels, float32 (N, 4); NaN if none lies inside the image.

    Args:
        completions: N completions.
        size: (W, H) of every image.
        frame: frame of every completion, a key of :data:`vg_gym.frames.FRAMES`.
        input_size: (W, H) of every image as the model saw it; only the frame ``resized`` needs it.
        prompts: prompts of the completions. After a prompt that ends in an open ``<think>``, a completion is reasoning
            until the tag is closed.
    """
    boxes = np.full((len(completions), 4), np.nan, dtype=np.float32)
    for row, answers in enumerate(_boxes_in_frames(completions, frame, prompts)):
        box = place(answers[0], frame[row], *_sizes(size, input_size, row)) if answers else None
        boxes[row] = np.nan if box is None else box
    return boxes


def _boxes_in_frames(
    completions: Sequence[Completion], frame: Sequence[str], prompts: Sequence[Completion] | None
) -> list[list[list[float]]]:
    """Return all boxes of every completion, in its frame."""
    texts = [text_of(completion) for completion in completions]
    if prompts is not None:
        texts = [
            f"<think>{text}" if is_reasoning(text_of(prompt)) else text
            for text, prompt in zip(texts, prompts, strict=True)
        ]
    return [find_boxes(text, name) for text, name in zip(texts, frame, strict=True)]


def _sizes(
    size: Sequence[Sequence[int]], input_size: Sequence[Sequence[int] | None] | None, row: int
) -> tuple[Size, Size | None]:
    """Return (W, H) of a row's image, and (W, H) of the image that the model saw, or None."""
    (width, height), model_input = size[row], None if input_size is None else input_size[row]
    return (width, height), None if model_input is None else (model_input[0], model_input[1])


def format_reward(completions: Sequence[Completion], **columns: Any) -> list[float]:
    """Return 1 if a completion has exactly one box, valid in the frame and inside the image, else 0."""
    boxes, frame = _boxes(completions, columns), columns["frame"]
    rewards = []
    for row, answers in enumerate(_boxes_in_frames(completions, frame, columns.get("prompts"))):
        sizes = _sizes(columns["size"], columns.get("input_size"), row)
        good = len(answers) == 1 and not np.isnan(boxes[row, 0]) and is_within(answers[0], frame[row], *sizes)
        rewards.append(float(good))
    return rewards


def iou_reward(completions: Sequence[Completion], **columns: Any) -> list[float]:
    """Return the IoU of the answered box with the true one, 0 without an answer."""
    return np.nan_to_num(box_ops.pixel_iou(_boxes(completions, columns), _column(columns, "box"))).tolist()


def giou_reward(completions: Sequence[Completion], **columns: Any) -> list[float]:
    """Return the generalised IoU in [-1, 1] of the answered box with the true one, -1 without an answer."""
    return np.nan_to_num(box_ops.giou(_boxes(completions, columns), _column(columns, "box")), nan=-1.0).tolist()


def improvement_reward(completions: Sequence[Completion], **columns: Any) -> list[float]:
    """Return the IoU of the answered box minus that of ``initial_box`` (pixels), the box in the prompt."""
    before = box_ops.pixel_iou(_column(columns, "initial_box"), _column(columns, "box"))
    return (np.array(iou_reward(completions, **columns)) - before).tolist()


class ClipReward:
    """CLIP's score of the answered box for the expression, equal to the environment's with ``scoring="crop"``.

    It needs no labels: it reads ``image`` and ``expression``, but no box of the data set.

    Args:
        clip: name of a CLIP, or an encoder.
        score: ``cosine``, ``context``, ``surround`` or ``contrast``.
        floor: reward without an answered box.
        device: torch device, or ``auto``.

    Raises:
        VGGymError: the CLIP or the score is unknown.
    """

    def __init__(self, clip: Any = "refshapes", score: str = "cosine", floor: float = -1.0, device: str = "auto"):
        from vg_gym.clip.crop_scores import CropScores
        from vg_gym.clip.loader import load_clip
        from vg_gym.clip.scores import negative_texts
        from vg_gym.runtime.devices import pick_device

        self.clip = load_clip(clip, pick_device(device)) if isinstance(clip, str) else clip
        self.crops, self.floor = CropScores(self.clip, score, negative_texts(self.clip, score)), floor
        self.__name__ = f"clip_{score}_reward"

    def __call__(self, completions: Sequence[Completion], **columns: Any) -> list[float]:
        """Return the scores of the answered boxes; ``image`` holds Pillow images or uint8 arrays (H, W, 3)."""
        from vg_gym.data.images import ArrayImage
        from vg_gym.types import Query

        boxes = _boxes(completions, columns)
        rows = np.flatnonzero(~np.isnan(boxes[:, 0]))
        rewards = np.full(len(boxes), self.floor)
        if len(rows):
            images = [np.asarray(columns["image"][row]) for row in rows]
            texts = [columns["expression"][row] for row in rows]
            queries = [Query(ArrayImage(image), text, "") for image, text in zip(images, texts, strict=True)]
            rewards[rows] = self.crops(queries, boxes[rows], self.clip.encode_text(texts))[1]
        return rewards.tolist()


def combine(rewards: Mapping[Reward, float], name: str = "combined_reward") -> Reward:
    """Combine rewards into their weighted sum.

    Args:
        rewards: weight of each reward.
        name: name of the sum in the logs of trainers.

    >>> both = combine({iou_reward: 1.0, format_reward: 0.5})
    >>> both(["[0, 0, 40, 40]"], box=[[0, 0, 40, 40]], size=[[80, 40]], frame=["pixels"])
    [1.5]
    """

    def combined(completions: Sequence[Completion], **columns: Any) -> list[float]:
        parts = [weight * np.array(reward(completions, **columns)) for reward, weight in rewards.items()]
        return np.sum(parts, axis=0).tolist()

    combined.__name__ = name
    return combined


def compute_score(
    data_source: str, solution_str: str, ground_truth: Sequence[float], extra_info: Mapping[str, Any]
) -> float:
    """Return the IoU of one answer, with the signature of verl's custom reward functions.

    Args:
        data_source: name of the data set; not used.
        solution_str: text of the model.
        ground_truth: true box in pixels, (4,).
        extra_info: ``size`` (W, H), ``frame``, and ``input_size`` if the frame needs it.
    """
    columns = {name: [extra_info[name]] for name in ("size", "frame", "input_size") if name in extra_info}
    return iou_reward([solution_str], box=[list(ground_truth)], **columns)[0]


def _column(columns: Mapping[str, Any], name: str) -> np.ndarray:
    """Return the boxes of a column in pixels, float64 (N, 4).

    Raises:
        VGGymError: the column is missing.
    """
    if name not in columns:
        raise VGGymError(f"this reward reads the column {name!r}; make the data with {MAKER}")
    return np.asarray(columns[name], dtype=np.float64)


def _boxes(completions: Sequence[Completion], columns: Mapping[str, Any]) -> np.ndarray:
    for name in ("size", "frame"):
        if name not in columns:
            raise VGGymError(f"rewards read the column {name!r}; make the data with {MAKER}")
    optional = {name: columns.get(name) for name in ("input_size", "prompts")}
    return answered_boxes(completions, columns["size"], columns["frame"], **optional)
