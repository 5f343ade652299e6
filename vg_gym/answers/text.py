"""Boxes in texts that models write: JSON, brackets, pairs of corners, words of places.

Known to be written: ``{"bbox_2d": [x1, y1, x2, y2], "label": ...}`` in a code block (Qwen2.5-VL, Qwen3-VL),
``<|box_start|>(x1,y1),(x2,y2)<|box_end|>`` (Qwen2-VL), ``<ref>..</ref><box>[[x1, y1, x2, y2]]</box>`` (InternVL),
``<loc0123><loc0045><loc0678><loc0900> cat`` (PaliGemma), ``cat<loc_12><loc_40><loc_310><loc_500>`` (Florence-2), and
reasoning in ``<think>`` before an ``<answer>`` (models trained with verifiable rewards).
"""

from __future__ import annotations

import re

from vg_gym.answers.frames import frame_called

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_BETWEEN = r"[\s,;()\[\]]+"
_QUADRUPLE = re.compile(rf"[\[(]\s*({_NUMBER}){_BETWEEN}({_NUMBER}){_BETWEEN}({_NUMBER}){_BETWEEN}({_NUMBER})\s*[\])]")
_NAMED = re.compile(
    "".join(rf"""["']?{corner}["']?\s*[:=]\s*({_NUMBER})[\s,;]*""" for corner in ("x_?(?:1|min)", "y_?(?:1|min)"))
    + "".join(rf"""["']?{corner}["']?\s*[:=]\s*({_NUMBER})[\s,;]*""" for corner in ("x_?(?:2|max)", "y_?(?:2|max)"))
)
_ANSWER = re.compile(r"<answer>(.*?)(?:</answer>|$)", re.DOTALL)
_PLACES = {"loc": r"<loc_(\d{1,3})>", "loc1024": r"<loc(\d{4})>"}


def answer_part(text: str) -> str:
    """What follows the reasoning: inside the last ``<answer>``, else after the last ``</think>``, else everything.

    >>> answer_part("<think>[1, 2, 3, 4]?</think><answer>[5, 6, 7, 8]</answer>")
    '[5, 6, 7, 8]'
    """
    if answers := _ANSWER.findall(text):
        return answers[-1]
    return text.rpartition("</think>")[2]


def find_boxes(text: str, frame: str) -> list[list[float]]:
    """The boxes that a text says, in its order, four numbers each, as they are said.

    Args:
        text: what a model wrote.
        frame: the frame it writes in; frames of places are found as such words only.

    Raises:
        VGGymError: the frame is unknown.

    >>> find_boxes('```json [{"bbox_2d": [10, 20, 30, 40], "label": "cat"}]```', "resized")
    [[10.0, 20.0, 30.0, 40.0]]
    >>> find_boxes("<loc0010><loc0020><loc0030><loc0040> cat", "loc1024")
    [[10.0, 20.0, 30.0, 40.0]]
    """
    said = answer_part(text)
    if frame_called(frame).token:
        four = re.compile(_PLACES[frame] * 4)
        return [[float(number) for number in found] for found in four.findall(said)]
    found = _QUADRUPLE.findall(said) or _NAMED.findall(said)
    return [[float(number) for number in box] for box in found]


def find_outline(text: str, frame: str) -> list[float] | None:
    """The box around all points of an outline written in words of places (``<loc_x><loc_y>...``); None without one.

    >>> find_outline("<loc_10><loc_60><loc_30><loc_20><loc_5><loc_9>", "loc")
    [5.0, 9.0, 30.0, 60.0]
    """
    numbers = [float(number) for number in re.findall(_PLACES.get(frame, "$^"), answer_part(text))]
    xs, ys = numbers[0::2][: len(numbers) // 2], numbers[1::2]
    return [min(xs), min(ys), max(xs), max(ys)] if len(ys) >= 2 else None
