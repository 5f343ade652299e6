"""Boxes in texts that models write: JSON, brackets, tags, pairs of corners, outlines, names, words of places.

Known to be written: ``{"bbox_2d": [x1, y1, x2, y2], "label": ...}`` in a code block (Qwen2.5-VL, Qwen3-VL),
``<|box_start|>(x1,y1),(x2,y2)<|box_end|>`` (Qwen2-VL), ``<ref>..</ref><box>[[x1, y1, x2, y2]]</box>`` (InternVL),
``<box>x1 y1 x2 y2</box>`` (MiniCPM-V), ``<|det|>[[..]]<|/det|>`` (DeepSeek-VL2), ``[[010,020,030,040]]`` (CogVLM),
``{"box_2d": [y1, x1, y2, x2]}`` (Gemini), ``<loc0123><loc0045><loc0678><loc0900> cat`` (PaliGemma),
``cat<loc_12><loc_40><loc_310><loc_500>`` (Florence-2), all after reasoning or without
(:mod:`vg_gym.answers.reasoning`). What has another meaning, or two, is not read (:mod:`vg_gym.answers.shapes`).
"""

from __future__ import annotations

import ast
import json
import re
import unicodedata
import warnings
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from vg_gym.answers.frames import Frame, frame_called
from vg_gym.answers.reasoning import answer_part
from vg_gym.answers.shapes import CORNERS, DEPTH, NUMBER, boxes_in, named_box, plain

_PLACES = {"loc": r"<loc_(\d{1,3})>", "loc1024": r"<loc(0\d{3}|10[01]\d|102[0-3])>"}
_LABELS = re.compile(
    r"<ref>.*?</ref>|<\|ref\|>.*?<\|/ref\|>|<\|object_ref_start\|>.*?<\|object_ref_end\|>|<points?\b[^>]*>", re.DOTALL
)
"""What things are called, and what is only pointed at."""
_TAGS = "box|bbox|bounding_box|boundingbox|quad|coord|coords|coordinates|roi|polygon"
_BEGIN = re.compile(rf"<(?:{_TAGS})>|<\|(?:box_start|quad_start|begin_of_box|det|box)\|>", re.IGNORECASE)
_END = re.compile(rf"</(?:{_TAGS})>|<\|(?:box_end|quad_end|end_of_box|/det|/box)\|>", re.IGNORECASE)
_ELEMENT = re.compile(rf"<(\w+)>\s*({NUMBER})\s*</\1>")
_TOKEN = re.compile(rf"\s*(?:([\[(])|([\])])|({NUMBER})(?=[\s,;、()\[\]])|[,;、]\s*)")
_LINK = re.compile(r"[\s,;、]*(?:(?:to|->|→|-|–)\s*)?(?=[\[(])")
_NAME_BEFORE = re.compile(r"([A-Za-z][\w-]*)(?:[\"'*`]*\s*[:=]\s*[\"'`]?)?$")
_OTHER_UNIT = {
    False: re.compile(r"\s*(?:%|percent\b)", re.IGNORECASE),
    True: re.compile(r"\s*(?:%|percent\b|px\b|pixels\b)", re.IGNORECASE),
}
"""Whether the frame is relative to the image -> what says, after brackets, that their unit is another."""
_CORNER_NAMES = {name for names in CORNERS for name in names}
_NAMED = re.compile(rf"""(?<![\w-])["']?(\w+)["']?\s*[:=]\s*["']?({NUMBER})(?![\d.]*\s*(?:%|percent|px))""")
_X, _Y, _FAR_X, _FAR_Y = "x_?(?:min|1|0)?", "y_?(?:min|1|0)?", "x_?(?:max|2|1)", "y_?(?:max|2|1)"
_OTHER_FORMATS = r"|\b(?:coco|yolo)(?: bbox)? format\b|\bpercentages?\b|\bin percent\b|\(%\)"
_ORDERS = {
    False: re.compile(
        rf"\b(?:{_X}|left)\W+(?:{_Y}|top)\W+(?:w|width)\W+(?:h|height)\b|\b{_Y}\W+{_X}\W+{_FAR_Y}\b"
        rf"|\b{_X}\W+{_FAR_X}\W+{_Y}\b|\btop\s*,\s*left\s*,\s*bottom\b|\bc_?x\W+c_?y\b|\bx_?c(?:enter)?\W+y_?c"
        r"|\b(?:cxcywh|xywh|yxyx)\b|\bcent(?:er|re)_?x\b" + _OTHER_FORMATS,
        re.IGNORECASE,
    ),
    True: re.compile(
        rf"\b{_X}\W+{_Y}\W+(?:{_FAR_X}|w|width)\b|\bleft\s*,\s*top\b|\b(?:xyxy|xywh|cxcywh)\b" + _OTHER_FORMATS,
        re.IGNORECASE,
    ),
}
"""Whether the frame has y first -> what announces that brackets hold something else."""


def find_boxes(text: str, frame: str) -> list[list[float]]:
    """The boxes that a text says, in its order, four numbers each, in the order of the frame.

    An outline of three or more points is read as the box around them. What is ambiguous is left out: sizes that may be
    of a corner or of a centre, percent, numbers under names such as ``point_2d``, and ``box_2d``, which has y first,
    in a frame with x first.

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
    known, answer = frame_called(frame), answer_part(text)
    if known.token:
        return _boxes_of_places(answer, _PLACES[frame])
    return list(_boxes_of_numbers(_tidy(answer), known))


def find_outline(text: str, frame: str) -> list[float] | None:
    """The box around all points of an outline written in words of places (``<loc_x><loc_y>...``); None without one.

    >>> find_outline("<loc_10><loc_60><loc_30><loc_20><loc_5><loc_9>", "loc")
    [5.0, 9.0, 30.0, 60.0]
    """
    numbers = [float(number) for number in re.findall(_PLACES.get(frame, "$^"), answer_part(text))]
    xs, ys = numbers[0::2][: len(numbers) // 2], numbers[1::2]
    return [min(xs), min(ys), max(xs), max(ys)] if len(ys) >= 2 else None


def _boxes_of_places(answer: str, word: str) -> list[list[float]]:
    """Words of places that follow each other are boxes where there are four of each."""
    boxes = []
    for run in re.findall(rf"(?:{word.replace('(', '(?:')}\s*)+", answer):
        numbers = [float(number) for number in re.findall(word, run)]
        if len(numbers) % 4 == 0:
            boxes += [numbers[at : at + 4] for at in range(0, len(numbers), 4)]
    return boxes


def _tidy(answer: str) -> str:
    """Full-width characters and tags as brackets, without labels."""
    text = unicodedata.normalize("NFKC", answer).replace("\u2212", "-").replace("\\", "")
    text = _LABELS.sub(" \n ", text)
    return _ELEMENT.sub(r" \1=\2, ", _END.sub(" ] ", _BEGIN.sub(" [ ", text)))


def _boxes_of_numbers(text: str, frame: Frame) -> Iterator[list[float]]:
    """Boxes of JSON and of brackets, then those whose corners are named outside of them."""
    vertical_first, rest, at = frame.vertical_first, [], 0
    otherwise = _ORDERS[vertical_first].search(text) is not None
    ends = _ends(text)
    while at < len(text):
        value, end = _value_at(text, at, ends)
        if value is None:
            rest.append(text[at])
            at += 1
            continue
        if not otherwise and not _OTHER_UNIT[frame.span is not None].match(text, end):
            yield from boxes_in(value, _name_before(text, at), vertical_first)
        elif isinstance(value, dict):  # it names its corners itself
            yield from filter(None, [named_box({plain(str(key)): part for key, part in value.items()}, vertical_first)])
        rest.append(" ; ")
        at = end
    yield from _named_corners("".join(rest), vertical_first)


def _value_at(text: str, at: int, ends: dict[int, int]) -> tuple[Any, int]:
    """What begins at a place, and where it ends: brackets of numbers, or JSON; None where nothing does."""
    if text[at] in "[(" and (groups := _linked_groups(text, at)):
        return groups
    if text[at] in "[{" and at in ends:
        value = _literal(text[at : ends[at]])
        if isinstance(value, (dict, list)):
            return value, ends[at]
    return None, at


def _linked_groups(text: str, at: int) -> tuple[Any, int] | None:
    """Brackets of numbers, and those that follow them: one alone, or the list of all."""
    groups, end = [], at
    while (group := _group(text, at)) is not None:
        groups.append(group[0])
        end = group[1]
        if (link := _LINK.match(text, end)) is None:
            break
        at = link.end()
    if not groups:
        return None
    if len(groups) > 2 and all(len(group) == 2 for group in groups):  # points of an outline, or of several things
        return [], end
    return (groups[0] if len(groups) == 1 else groups), end


def _group(text: str, at: int) -> tuple[list[Any], int] | None:
    """Nested brackets of numbers alone as lists, and their end; None where they hold anything else."""
    open_lists: list[list[Any]] = []
    while token := _TOKEN.match(text, at):
        at = token.end()
        if token[1]:
            open_lists.append([])
        elif token[3] and open_lists:
            open_lists[-1].append(float(token[3]))
        elif token[2] and open_lists:
            done = open_lists.pop()
            if not open_lists:
                return done, at
            open_lists[-1].append(done)
        if not open_lists or len(open_lists) > DEPTH:
            return None
    return None


def _ends(text: str) -> dict[int, int]:
    """Where brackets and braces that begin somewhere end."""
    ends, begun = {}, {"]": [], "}": []}  # type: ignore[var-annotated]
    for at, char in enumerate(text):
        if char in "[{":
            begun["]" if char == "[" else "}"].append(at)
        elif char in "]}" and begun[char]:
            ends[begun[char].pop()] = at + 1
    return ends


def _literal(text: str) -> Any:
    """JSON, or Python's own notation, as a value; None where it is neither."""
    for read in (json.loads, ast.literal_eval):
        with suppress(ValueError, SyntaxError, RecursionError, MemoryError, TypeError), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python's parser warns of what it would not run
            return read(text)
    return None


def _name_before(text: str, at: int) -> str:
    """The name that stands before a bracket, as in ``"bbox_2d": [`` or ``rgb(``; empty: none."""
    found = _NAME_BEFORE.search(text[max(0, at - 60) : at])
    return plain(found[1]) if found else ""


def _named_corners(text: str, vertical_first: bool) -> Iterator[list[float]]:
    """Boxes whose four corners are named in any order: ``x1=10, x2=30, y1=20, y2=40``."""
    pairs = [(plain(name), written) for name, written in _NAMED.findall(text)]
    values: dict[str, str] = {}
    if any(key == "x3" for key, _ in pairs):  # outlines
        return
    for key, written in pairs:
        if key not in _CORNER_NAMES:
            continue
        values = {key: written} if key in values else {**values, key: written}
        if (box := named_box(values, vertical_first)) is not None:
            yield box
            values = {}
