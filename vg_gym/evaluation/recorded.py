"""Recorded answers as a method: read from JSON lines, JSON lists, CSV, or samples that lmms-eval logs.

An answer is a box (``box``, ``bbox`` or ``bbox_2d``: four numbers; or columns ``x1``, ``y1``, ``x2``, ``y2``), or a
text that contains one (``answer``, ``response``, ``prediction`` or ``text``). Points (``point``, or those of Molmo2's
texts) are read too; they have pointing accuracy and no IoU. On data with empty or multiple targets an
answer may have several boxes, and an empty list says that nothing fits. Frame and format of the box are given,
never guessed: ``box`` is ``xyxy`` in pixels by default, and ``bbox`` needs a format. The strongest name in an answer
decides which query it belongs to, in this order (:mod:`vg_gym.evaluation.joining`):

- ``key`` of the query, or ``sent_id``, the number of the expression in RefCOCO's files;
- ``ref_id`` or ``ann_id``, with ``expression`` (``sent``, ``sentence``) if the object has several expressions;
- ``image`` (``file_name``), a path, or ``image_id``, with ``expression`` if the image has several expressions.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vg_gym.data.rows import FORMATS
from vg_gym.errors import VGGymError, unknown
from vg_gym.evaluation.joining import IDS, Row, id_of, join
from vg_gym.evaluation.lines import Batch, Line, predict_batch
from vg_gym.evaluation.methods import OPTION, TableRow, taken_threshold
from vg_gym.frames import FRAMES, FrameCheck, frame_called, place, to_pixels
from vg_gym.language_models.box_text import find_boxes
from vg_gym.language_models.point_text import find_points
from vg_gym.registry.identity import versions
from vg_gym.registry.seen import RECORDED
from vg_gym.storage.files import fingerprint
from vg_gym.storage.texts import lines, read_text
from vg_gym.types import Prediction, Query, Sample, refuse_initial_boxes

BOXES = ("box", "boxes", "bbox_2d")
"""Names of boxes that are ``xyxy`` by default."""
AMBIGUOUS = ("bbox", "bboxes", "box_2d")
"""Names of boxes that need a format: ``bbox`` is ``xywh`` in COCO's results, ``box_2d`` is ``yxyx`` in Gemini's."""
CORNERS = ("x1", "y1", "x2", "y2")
"""Names of the columns of a box's coordinates."""
TEXTS = ("answer", "response", "prediction", "text")
"""Names of texts that contain a box."""
EXPRESSIONS = ("expression", "sentence", "sent")
"""Names of the expression."""
IMAGES = ("image", "file_name")
"""Names of the image's path."""
DAMAGED: list[float] = []
"""Box that is missing, or whose numbers are not finite."""


class RecordedGrounder:
    """Grounder that answers from a file.

    Args:
        path: path of the file: ``.jsonl``, ``.csv``, or ``.json`` with a list.
        frame: frame of the boxes, a key of :data:`vg_gym.frames.FRAMES`; default: pixels. Answers as text need
            a frame.
        partners: key of a query -> numbers of its rows, from :meth:`join`; default: by key.
        box_format: format of the boxes, a key of :data:`vg_gym.data.rows.FORMATS`; default: ``xyxy``. ``bbox`` needs a
            format.
        sets: whether an answer may have any number of boxes; otherwise the best box counts.

    Raises:
        VGGymError: the file is missing; an answer lacks a box or text, or the name of a query; a text lacks a frame, or
            ``bbox`` a format; the frame or the format is unknown; or an answer has several boxes without scores, and
            only one counts.
    """

    def __init__(
        self,
        path: str,
        frame: str | None = None,
        partners: Mapping[str, Sequence[int]] | None = None,
        box_format: str | None = None,
        sets: bool = False,
    ):
        self.name, self.path = recorded_name(path), path
        self.frame, self._typed_frame, self._box_format = frame or "pixels", frame, box_format
        self.rows = read_rows(Path(path), frame, box_format)
        self._sets = sets
        if not sets:
            self._refuse_several()
        self.partners = (
            {row["key"]: [n] for n, row in enumerate(self.rows) if "key" in row} if partners is None else partners
        )
        self._checks = {frame: FrameCheck(path, frame) for frame in {row["frame"] for row in self.rows}}

    def ground(self, queries: Sequence[Query], initial_boxes: np.ndarray | None = None) -> list[Prediction]:
        """Return the recorded boxes; a query that is not in the file is a failure."""
        refuse_initial_boxes(self.name, initial_boxes)
        return [self._answer(query) for query in queries]

    def join(self, samples: Sequence[Sample], sets: bool = False) -> tuple[dict[str, list[int]], dict[str, int]]:
        """Find the answer of every sample by all names in the answers, and warn of everything that is uncertain.

        Args:
            samples: samples of the queries.
            sets: whether a query may have any number of boxes, and then several rows.

        Returns:
            Key of the query -> numbers of its rows; and the numbers of answers, of answers without a query, and of
            queries without an answer.

        Raises:
            VGGymError: only one box counts, and a query has different answers, or an answer several boxes, without
                scores that rank them.
        """
        if not sets:
            self._refuse_several()
        joined = join(self.path, self.rows, samples, sets)
        return joined.partners, joined.counts

    def _refuse_several(self) -> None:
        """Raise an error if an answer has several boxes without scores."""
        for row in self.rows:
            if len(row.get("boxes", ())) > 1 and "scores" not in row and "best_first" not in row:
                count = len(row["boxes"])
                raise VGGymError(
                    f'{self.path} {row["where"]} has {count} boxes; give one, or "scores" to choose the best'
                )

    def _answer(self, query: Query) -> Prediction:
        rows = [self.rows[number] for number in self.partners.get(query.key, ())]
        if not rows:
            return _failure("not in the recorded predictions")
        answers = [self._answer_of(row, query) for row in rows]
        failure = next((answer for answer in answers if "failure" in answer.details), None)
        if failure is not None or len(answers) == 1:
            return failure or answers[0]
        return _joined(answers)

    def _answer_of(self, row: Row, query: Query) -> Prediction:
        frame, input_size, size = row["frame"], row.get("input_size"), query.image.size
        details = {"answer": row["written"]} if "written" in row else {}
        details |= {"failure": row["failure"]} if "failure" in row else {}
        numbers = find_boxes(row["written"], frame) if "written" in row else row["boxes"]
        if not numbers and (points := find_points(row["written"]) if "written" in row else row.get("points")):
            pixels = to_pixels(np.tile(points[0], 2), frame, size, input_size)
            self._checks[frame].see(pixels, size)
            return Prediction(details={**details, "point": pixels[:2]})
        if not numbers and (not self._sets or "written" in row or details):
            return _failure(row.get("failure", "no box in the recorded answer"), **details)
        boxes = []
        for four in numbers if self._sets else numbers[:1]:
            if not four:
                return _failure(row.get("failure", "no box in the recorded answer"), **details)
            self._checks[frame].see(to_pixels(np.asarray(four), frame, size, input_size), size)
            boxes.append(place(four, frame, size, input_size))
        if any(box is None for box in boxes):
            return _failure("the recorded box is not inside the image", **details)
        if len(boxes) == 1:
            return Prediction(boxes[0], row.get("score"), details)
        scores = np.array(row["scores"]) if "scores" in row else None
        return Prediction(boxes=np.array(boxes), score=row.get("score"), scores=scores, details=details)


def _joined(answers: Sequence[Prediction]) -> Prediction:
    """Return one answer with the boxes of several, best first if all have scores."""
    boxes = np.concatenate([answer.boxes for answer in answers])
    scores = [score for answer in answers if answer.scores is not None for score in answer.scores]
    if len(scores) < len(boxes):
        return Prediction(boxes=boxes)
    order = np.argsort(-np.array(scores), kind="stable")
    return Prediction(boxes=boxes[order], scores=np.array(scores)[order])


def recorded_name(path: str) -> str:
    """Return the name of the row of recorded answers.

    >>> recorded_name("answers/mine.jsonl")
    'recorded:mine'
    """
    return f"recorded:{Path(path).stem}"


def recorded_row(
    answers: RecordedGrounder, samples: Sequence[Sample], sets: bool, options: Mapping[str, Any]
) -> TableRow:
    """Return the row of recorded answers, which are matched with the queries.

    Args:
        answers: the answers.
        samples: samples of the queries.
        sets: whether samples may have any number of true boxes.
        options: options of the row.

    Raises:
        VGGymError: an option is not ``nothing_below``, or see :meth:`RecordedGrounder.join`.
    """
    path, frame, box_format = answers.path, answers._typed_frame, answers._box_format
    options = dict(options)
    threshold = taken_threshold(options, answers.name)
    if options:
        raise VGGymError(f"{answers.name} takes no option but {OPTION}, not {', '.join(options)}")
    partners, joined = answers.join(samples, sets)
    if not any(partners.values()):
        names = [
            f"{name}={row[name]!r:.60}" for row in answers.rows[:1] for name in ("key", *IDS, *IMAGES) if name in row
        ]
        raise VGGymError(
            f"{path}: no answer belongs to a query of this data set and split (the first: {', '.join(names)}); "
            "queries.jsonl of any evaluation has the keys of its queries"
        )
    inputs = {
        "answers": fingerprint(Path(path), sorted(partners.items()))[:16],
        "frame": answers.frame,
        "box format": str(box_format),
        **versions(),
    }
    build = partial(build_recorded, path, frame, box_format, partners, sets)
    columns = {"frame": answers.frame, "joined": joined, "seen": RECORDED}
    return TableRow(answers.name, "method", build, inputs, columns, nothing_below=threshold)


def build_recorded(
    path: str, frame: str | None, box_format: str | None, partners: Mapping[str, Sequence[int]], sets: bool
) -> Callable[[Batch], list[Line]]:
    """Return a worker that answers from a file of predictions.

    Args:
        path: path of the file.
        frame: frame of the boxes.
        box_format: format of the boxes.
        partners: key of a query -> numbers of its rows.
        sets: whether an answer may have any number of boxes.
    """
    return partial(predict_batch, RecordedGrounder(path, frame, partners, box_format, sets).ground)


def _failure(why: str, **details: Any) -> Prediction:
    return Prediction(np.full(4, np.nan, dtype=np.float32), details={**details, "failure": why})


def read_rows(path: Path, frame: str | None, box_format: str | None) -> list[Row]:
    """Read the answers of a file, with unified field names.

    Returns:
        Rows with ``where`` (place in the file), ``boxes`` (lists of four numbers ``xyxy``, best first, or of none for a
        damaged box) or ``written`` (a text), ``frame``, names of the query (``key``, :data:`IDS`, ``image``,
        ``expression``), and optionally ``score``, ``scores`` of several boxes, and ``input_size``.

    Raises:
        VGGymError: the file cannot be read, or a row lacks a box or text, the name of a query, or a format or frame.
            The message names the file and the row.
    """
    if box_format is not None and box_format not in FORMATS:
        raise unknown("box format", box_format, FORMATS)
    if frame is not None:
        frame_called(frame)
    return [_checked(row, f"{path} {where}", where, frame, box_format) for row, where in _raw_rows(path)]


def _raw_rows(path: Path) -> Iterator[tuple[Row, str]]:
    """Yield the unchanged rows of a file and the place of each."""
    text = read_text(path)
    readers = {".csv": _csv_rows, ".json": _json_rows}
    try:
        for row, where in readers.get(path.suffix.lower(), _json_lines)(text):
            if not isinstance(row, dict):
                raise VGGymError(f"{path} {where} is not an object with names")
            yield (_of_lmms_eval(row) if "doc_id" in row else row), where
    except (ValueError, csv.Error, RecursionError) as error:
        raise VGGymError(f"cannot read {path}: {error}") from error


def _csv_rows(text: str) -> Iterator[tuple[Row, str]]:
    for number, row in enumerate(csv.DictReader(io.StringIO(text, newline="")), 2):
        if None in row:
            raise ValueError(f"row {number} has more cells than the header; quote texts that contain commas")
        yield dict(row), f"row {number}"


def _json_rows(text: str) -> Iterator[tuple[Any, str]]:
    content = json.loads(text)
    listed = content.get("logs", content) if isinstance(content, dict) else content
    if not isinstance(listed, list):
        raise ValueError("it is not a list of answers")
    yield from ((row, f"entry {number}") for number, row in enumerate(listed))


def _json_lines(text: str) -> Iterator[tuple[Any, str]]:
    for number, line in lines(text):
        try:
            yield json.loads(line), f"line {number}"
        except json.JSONDecodeError as error:
            raise ValueError(f'line {number} is not {{"key": ..., "box": [4 numbers]}}: {error}') from error


def _of_lmms_eval(row: Row) -> Row:
    """Return the model's text and the names of the query from a logged sample of lmms-eval's RefCOCO tasks."""
    answer = row.get("filtered_resps") or row.get("resps") or ""
    while isinstance(answer, list):
        answer = answer[0] if answer else ""
    details = next((v for k, v in row.items() if k.startswith("refcoco") and isinstance(v, dict)), {})
    doc = {**(row.get("doc") or {}), **details}
    expression = doc.get("answer") if isinstance(doc.get("answer"), str) else row.get("target")
    number = str(doc.get("ann_id", doc.get("question_id", "")))
    names = {"ann_id": number if number.isdigit() else None, "expression": expression}
    return {**names, "image": doc.get("file_name"), "answer": str(answer) or " "}


def _checked(raw: Row, place: str, where: str, frame: str | None, box_format: str | None) -> Row:
    """Return a row with unified field names."""
    row = {name: value for name, value in raw.items() if not _is_missing(value)}
    checked: Row = {"where": where}
    try:
        checked.update({name: id_of(row[name]) for name in IDS if name in row})
        if "key" in row:
            checked["key"] = str(row["key"])
        for name, names in (("image", IMAGES), ("expression", EXPRESSIONS)):
            if values := [row[other] for other in names if other in row]:
                checked[name] = str(values[0])
        if "score" in row and not isinstance(row["score"], list):
            checked["score"] = float(row["score"])
        if "failure" in row:
            checked["failure"] = str(row["failure"])
        if "input_size" in row:
            checked["input_size"] = tuple(int(side) for side in row["input_size"])
        checked.update(_answer(raw, row, place, frame, box_format))
    except (TypeError, ValueError, LookupError, OverflowError, RecursionError) as error:
        raise VGGymError(f"{place} is not a valid answer: {error}") from error
    checked["frame"] = _agreed(place, "frame", row.get("frame"), frame) or _default_frame(checked, place)
    frame_called(checked["frame"])
    if not {"key", "image", *IDS} & checked.keys():
        raise VGGymError(f"{place} does not name its query: it needs key, {', '.join(IDS)}, or image and expression")
    return checked


def _is_missing(value: Any) -> bool:
    return value is None or value == "" or isinstance(value, float) and math.isnan(value)


def _answer(raw: Row, row: Row, place: str, typed_frame: str | None, box_format: str | None) -> Row:
    """Return ``boxes``, with ``scores`` of several, or ``written`` of a row."""
    name = next((name for name in (*BOXES, *AMBIGUOUS) if name in row), None)
    if name == "box" and row.get("boxes") and row["boxes"][0] == row["box"]:  # as the evaluator writes its predictions
        return {**_boxes(row["boxes"], row, place, box_format or "xyxy"), "best_first": True}
    if name is None and "point" in row:
        return {"boxes": [], "points": [[float(number) for number in row["point"]]]}
    if name is not None:
        kind = _agreed(place, "box_format", row.get("box_format"), box_format)
        frame = FRAMES.get(str(row.get("frame", typed_frame)))
        has_order = frame is not None and frame.vertical_first
        if has_order and kind is not None:
            raise VGGymError(
                f"{place}: its frame already says that y comes first, so leave the box format {kind!r} out"
            )
        if kind is None and name in AMBIGUOUS and not has_order:
            raise VGGymError(_needs_format(place, name, row))
        return _boxes(row[name], row, place, kind or "xyxy")
    if all(name in raw for name in CORNERS):
        return {"boxes": [_finite([float(row[name]) for name in CORNERS if name in row])]}
    if texts := [str(row[name]) for name in TEXTS if name in row]:
        return {"written": texts[0]}
    if "failure" in row or any(name in raw for name in (*BOXES, *AMBIGUOUS)):
        return {"boxes": [DAMAGED]}
    names = ", ".join((*BOXES, *AMBIGUOUS))
    raise VGGymError(f"{place} has no box of four numbers ({names}) and no text ({', '.join(TEXTS)})")


def _boxes(value: Any, row: Row, place: str, kind: str) -> Row:
    """Return ``boxes`` of a row, best first, with ``scores`` of several boxes or the ``score`` of one."""
    if kind not in FORMATS:
        raise unknown("box format", kind, FORMATS)
    boxes = json.loads(value) if isinstance(value, str) else value
    boxes = list(boxes) if boxes and isinstance(boxes[0], list) else [boxes] if len(boxes) else []
    rows = [[float(number) for number in box] for box in boxes]
    for four in rows:
        if len(four) not in (0, 4):
            raise VGGymError(f"{place} has no box of four numbers but {four}")
    finite = [FORMATS[kind](np.array(four)).tolist() if _finite(four) else DAMAGED for four in rows]
    scores = row.get("scores", row.get("score"))
    if not finite or not isinstance(scores, list) or len(scores) != len(finite):
        return {"boxes": finite}
    numbers = [float(score) for score in scores]
    if len(finite) == 1:
        return {"boxes": finite, "score": numbers[0]}
    order = sorted(range(len(numbers)), key=lambda i: -numbers[i])
    return {"boxes": [finite[i] for i in order], "scores": [numbers[i] for i in order]}


def _finite(four: list[float]) -> list[float]:
    """Return four numbers, or an empty list if one is missing, infinite or not a number."""
    return four if len(four) == 4 and all(map(math.isfinite, four)) else DAMAGED


def _agreed(place: str, name: str, written: Any, typed: str | None) -> str | None:
    """Return the value in the row or on the command line; if both give one, they must be equal."""
    if written is not None and typed is not None and written != typed:
        option = f"--{name.replace('_', '-')}"
        raise VGGymError(f'{place} says "{name}": {written!r}, but {option} says {typed!r}; leave {option} out')
    return typed if written is None else str(written)


def _default_frame(row: Mapping[str, Any], place: str) -> str:
    if "written" in row:
        raise VGGymError(f"{place} is an answer as text; name the frame of its box: --frame 0-1000, pixels, ...")
    return "pixels"


def _needs_format(place: str, name: str, row: Mapping[str, Any]) -> str:
    is_coco = name == "bbox" and {"image_id", "category_id", "score"} <= row.keys()
    meaning = "xywh in files like this one, COCO's results" if is_coco else "xywh in COCO's results and xyxy elsewhere"
    if name == "box_2d":
        meaning = "yxyx in Gemini's answers and xyxy elsewhere"
    return f'{place} calls its box "{name}", which is {meaning}; give --box-format, one of {", ".join(FORMATS)}'
