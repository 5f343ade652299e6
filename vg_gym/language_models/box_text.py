"""Extraction of boxes from texts of models: JSON, brackets, tags, pairs of corners, outlines, names, location tokens.

Models write ``{"bbox_2d": [x1, y1, x2, y2], "label": ...}`` in a code block (Qwen2.5-VL, Qwen3-VL),
``<|box_start|>(x1,y1),(x2,y2)<|box_end|>`` (Qwen2-VL), ``<ref>..</ref><box>[[x1, y1, x2, y2]]</box>`` (InternVL),
``<box>x1 y1 x2 y2</box>`` (MiniCPM-V), ``<|det|>[[..]]<|/det|>`` (DeepSeek-VL2), ``[[010,020,030,040]]`` (CogVLM),
``{"box_2d": [y1, x1, y2, x2]}`` (Gemini), ``<loc0123><loc0045><loc0678><loc0900> cat`` (PaliGemma),
``cat<loc_12><loc_40><loc_310><loc_500>`` (Florence-2),
``<|object_ref_start|>cat<|object_ref_end|><|box_start|><12><40><310><500><|box_end|>`` (Rex-Omni),
``<|begin_of_box|>[[x1,y1,x2,y2]]<|end_of_box|>`` (GLM-V, with any brackets) and
``{"objects": [{"x_min": .., "y_min": .., "x_max": .., "y_max": ..}]}`` (Moondream), with or without reasoning
before them (:mod:`vg_gym.language_models.reasoning`). Numbers with another or an ambiguous meaning are not read
(:mod:`vg_gym.language_models.box_shapes`).
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

from vg_gym.frames import Frame, frame_called
from vg_gym.language_models.box_shapes import CORNERS, MAX_DEPTH, NUMBER, boxes_in, named_box, plain
from vg_gym.language_models.reasoning import answer_part

_PLACES = {"loc": r"<loc_(\d{1,3})>", "loc1024": r"<loc(0\d{3}|10[01]\d|102[0-3])>", "rex": r"<(\d{1,3})>"}
_ONE_BOX_A_RUN = ("rex",)
"""Frames in which more than four tokens in a row are an outline; elsewhere they are several boxes."""
_LABELS = re.compile(
    r"<ref>.*?</ref>|<\|ref\|>.*?<\|/ref\|>|<\|object_ref_start\|>.*?<\|object_ref_end\|>|<points?\b[^>]*>", re.DOTALL
)
"""Labels of objects, and points."""
_TAGS = "box|bbox|bounding_box|boundingbox|quad|coord|coords|coordinates|roi|polygon"
_BEGIN = re.compile(rf"<(?:{_TAGS})>|<\|(?:box_start|quad_start|begin_of_box|det|box)\|>", re.IGNORECASE)
_END = re.compile(rf"</(?:{_TAGS})>|<\|(?:box_end|quad_end|end_of_box|/det|/box)\|>", re.IGNORECASE)
_ELEMENT = re.compile(rf"<(\w+)>\s*({NUMBER})\s*</\1>")
_ANGLES = re.compile(rf"<((?:\s*{NUMBER}\s*,?){{4}})>")
"""Four numbers in angle brackets, which GLM-V may use."""
_TOKEN = re.compile(rf"\s*(?:([\[(])|([\])])|({NUMBER})(?=[\s,;、()\[\]])|[,;、]\s*)")
_LINK = re.compile(r"[\s,;、]*(?:(?:to|->|→|-|–)\s*)?(?=[\[(])")
_AND_A_POINT = re.compile(
    rf"[\s,;、]*(?:and|then)\s*[\[(]\s*{NUMBER}\s*[,;、\s]\s*{NUMBER}\s*[\])](?!\s*(?:[,;、]|to)?\s*[\[(])",
    re.IGNORECASE,
)
"""Last point of a list in words: "(10, 20), (30, 20), and (30, 40)"."""
_NAME_BEFORE = re.compile(r"([A-Za-z][\w-]*)(?:[\"'*`]*\s*[:=]\s*[\"'`]?)?$")
_OTHER_UNIT = {
    False: re.compile(r"\s*(?:%|percent\b)", re.IGNORECASE),
    True: re.compile(r"\s*(?:%|percent\b|px\b|pixels\b)", re.IGNORECASE),
}
"""Patterns after brackets that state another unit, by whether the frame is relative to the image."""
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
"""Patterns that announce another format of the brackets, by whether the frame has y first."""


def find_boxes(text: str, frame: str) -> list[list[float]]:
    """Return the boxes in a text, in the order of the text, four numbers each in the order of the frame.

    An outline of three or more points is read as the box around them. Ambiguous numbers are not read: sizes that may
    start at a corner or at a centre, percentages, numbers under names such as ``point_2d``, and ``box_2d``, which has y
    first, in a frame with x first.

    Args:
        text: text of a model.
        frame: frame of its boxes; in frames with location tokens only the tokens are read.

    Raises:
        VGGymError: the frame is unknown.

    >>> find_boxes('```json [{"bbox_2d": [10, 20, 30, 40], "label": "cat"}]```', "resized")
    [[10.0, 20.0, 30.0, 40.0]]
    >>> find_boxes("<loc0010><loc0020><loc0030><loc0040> cat", "loc1024")
    [[10.0, 20.0, 30.0, 40.0]]
    """
    unit, answer = frame_called(frame), answer_part(text)
    if unit.token:
        return _boxes_of_places(answer, frame)
    return list(_boxes_of_numbers(_tidy(answer), unit))


def find_outline(text: str, frame: str) -> list[float] | None:
    """Return the box around all points of an outline in location tokens (``<loc_x><loc_y>...``), or None.

    >>> find_outline("<loc_10><loc_60><loc_30><loc_20><loc_5><loc_9>", "loc")
    [5.0, 9.0, 30.0, 60.0]
    """
    numbers = [float(number) for number in re.findall(_PLACES.get(frame, "$^"), answer_part(text))]
    xs, ys = numbers[0::2][: len(numbers) // 2], numbers[1::2]
    return [min(xs), min(ys), max(xs), max(ys)] if len(ys) >= 2 else None


def _boxes_of_places(answer: str, frame: str) -> list[list[float]]:
    """Return the boxes in runs of location tokens; a run is read only if its length is a multiple of four."""
    boxes, word = [], _PLACES[frame]
    for run in re.findall(rf"(?:{word.replace('(', '(?:')}\s*)+", answer):
        numbers = [float(number) for number in re.findall(word, run)]
        if len(numbers) % 4 == 0 and (len(numbers) == 4 or frame not in _ONE_BOX_A_RUN):
            boxes += [numbers[at : at + 4] for at in range(0, len(numbers), 4)]
    return boxes


def _tidy(answer: str) -> str:
    """Replace full-width characters, turn tags into brackets, and remove labels."""
    text = unicodedata.normalize("NFKC", answer).replace("\u2212", "-").replace("\\", "")
    text = _LABELS.sub(" \n ", text)
    text = _END.sub(" ] ", _BEGIN.sub(" [ ", text))
    return _ELEMENT.sub(r" \1=\2, ", _ANGLES.sub(r"[\1]", text))


def _boxes_of_numbers(text: str, frame: Frame) -> Iterator[list[float]]:
    """Yield the boxes in JSON and brackets, then the boxes whose corners are named outside of them."""
    vertical_first, outside, at = frame.vertical_first, [], 0
    otherwise = _ORDERS[vertical_first].search(text) is not None
    ends = _ends(text)
    while at < len(text):
        value, end = _value_at(text, at, ends)
        if value is None:
            outside.append(text[at])
            at += 1
            continue
        if not otherwise and not _OTHER_UNIT[frame.span is not None].match(text, end):
            yield from boxes_in(value, _name_before(text, at), vertical_first)
        elif isinstance(value, dict):  # its keys may name corners
            yield from filter(None, [named_box({plain(str(key)): part for key, part in value.items()}, vertical_first)])
        outside.append(" ; ")
        at = end
    yield from _named_corners("".join(outside), vertical_first)


def _value_at(text: str, at: int, ends: dict[int, int]) -> tuple[Any, int]:
    """Return the brackets of numbers or the JSON that begins at an index, and its end; None if there is neither."""
    if text[at] in "[(" and (groups := _linked_groups(text, at)):
        return groups
    if text[at] in "[{" and at in ends:
        value = _literal(text[at : ends[at]])
        if isinstance(value, (dict, list)):
            return value, ends[at]
    return None, at


def _linked_groups(text: str, at: int) -> tuple[Any, int] | None:
    """Return the brackets of numbers at an index as one list, or as a list of lists if more follow, and their end."""
    groups, end = [], at
    while (group := _group(text, at)) is not None:
        groups.append(group[0])
        end = group[1]
        if (link := _LINK.match(text, end)) is None:
            break
        at = link.end()
    if not groups:
        return None
    more = len(groups) > 2 or (len(groups) == 2 and _AND_A_POINT.match(text, end))
    if more and all(len(group) == 2 for group in groups):  # points of an outline or of several objects
        return [], end
    return (groups[0] if len(groups) == 1 else groups), end


def _group(text: str, at: int) -> tuple[list[Any], int] | None:
    """Return nested brackets of numbers as lists, and their end; None if they contain anything else."""
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
        if not open_lists or len(open_lists) > MAX_DEPTH:
            return None
    return None


def _ends(text: str) -> dict[int, int]:
    """Return the end of brackets and braces by their start."""
    ends, begun = {}, {"]": [], "}": []}  # type: ignore[var-annotated]
    for at, char in enumerate(text):
        if char in "[{":
            begun["]" if char == "[" else "}"].append(at)
        elif char in "]}" and begun[char]:
            ends[begun[char].pop()] = at + 1
    return ends


def _literal(text: str) -> Any:
    """Parse JSON or a Python literal; return None if the text is neither."""
    for read in (json.loads, ast.literal_eval):
        with suppress(ValueError, SyntaxError, RecursionError, MemoryError, TypeError), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python's parser warns about suspicious literals
            return read(text)
    return None


def _name_before(text: str, at: int) -> str:
    """Return the name before a bracket, as in ``"bbox_2d": [`` or ``rgb(``, or an empty string."""
    name = _NAME_BEFORE.search(text[max(0, at - 60) : at])
    return plain(name[1]) if name else ""


def _named_corners(text: str, vertical_first: bool) -> Iterator[list[float]]:
    """Yield boxes whose coordinates are named in any order: ``x1=10, x2=30, y1=20, y2=40``."""
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
