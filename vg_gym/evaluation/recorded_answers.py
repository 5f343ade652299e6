"""Answers that others recorded: JSON lines, CSV, or samples that lmms-eval logs, joined with the queries they answer.

An answer is a box (``box``, ``bbox`` or ``bbox_2d``: four numbers; or columns ``x1``, ``y1``, ``x2``, ``y2``), or a
text in which one is found (``answer``, ``response``, ``prediction`` or ``text``). Its frame is named, never guessed;
boxes are pixels where nothing is said. It says which query it answers by, in this order:

- ``key``: the query's own;
- ``sent_id``: the expression's number in RefCOCO's files;
- ``expression`` (``sent``, ``sentence``) together with ``ref_id``, with ``ann_id``, or with ``image``, a file name;
- ``ref_id`` or ``ann_id`` alone, where only one expression is asked of it.
"""

from __future__ import annotations

import csv
import json
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from vg_gym.answers.frames import FrameCheck, frame_called, place, to_pixels
from vg_gym.answers.text import find_boxes
from vg_gym.errors import VGGymError
from vg_gym.evaluation.methods import Batch, Line, predict_batch
from vg_gym.types import Prediction, Query, Sample, refuse_initial_boxes

Row = dict[str, Any]
"""One answer, as it is in the file."""
BOXES = ("box", "bbox", "bbox_2d")
"""Names of a box."""
CORNERS = ("x1", "y1", "x2", "y2")
"""Names of the numbers of a box, each in its column."""
TEXTS = ("answer", "response", "prediction", "text")
"""Names of a text with a box in it."""
EXPRESSIONS = ("expression", "sentence", "sent")
"""Names of the expression."""


class RecordedGrounder:
    """Answers from a file.

    Args:
        path: of the file: ``.jsonl``, ``.csv``, or ``.json`` with a list.
        frame: of its boxes, a key of :data:`vg_gym.answers.frames.FRAMES`; default: pixels, where they are numbers.
        partners: key of a query -> number of its row, from :meth:`join`; default: by key, or by image and expression.

    Raises:
        VGGymError: the file is missing, an answer has no box, text or name of what it answers, texts are there and no
            frame, or the frame is unknown.
    """

    def __init__(self, path: str, frame: str | None = None, partners: Mapping[str, int] | None = None):
        self.partners = partners
        self.name, self.path = f"recorded:{Path(path).stem}", path
        self.rows = [_checked(row, f"{path} {where}") for row, where in _rows(Path(path))]
        if frame is None and any("said" not in row for row in self.rows):
            raise VGGymError(
                f"{path} holds answers as texts; name the frame of their boxes: --frame 0-1000, pixels, ..."
            )
        self.frame = frame or "pixels"
        frame_called(self.frame)
        self._check = FrameCheck(path, self.frame)
        self._found: dict[tuple[Any, ...], int] = {}
        for number, row in enumerate(self.rows):
            for name in _names_of_row(row):
                self._found.setdefault(name, number)

    def ground(self, queries: Sequence[Query], initial_boxes: np.ndarray | None = None) -> list[Prediction]:
        """The recorded boxes; a query that is not in the file is a failure."""
        refuse_initial_boxes(self.name, initial_boxes)
        return [self._answer(query) for query in queries]

    def join(self, samples: Sequence[Sample]) -> tuple[dict[str, int], dict[str, int]]:
        """Find the answer of every sample by all that answers name; a warning where some have no partner.

        Returns:
            Key of the query -> number of its row; and how many answers there are, and how many answers and queries are
            without a partner.
        """
        asked = Counter(name for s in samples for name in (("ref", s.ref_id), ("ann", s.ann_id)))
        partners = {}
        for sample in samples:
            names = [*_names_of_query(sample.query), *_numbers(sample)]
            number = next((self._found[n] for n in names if n in self._found and asked.get(n, 1) == 1), None)
            if number is not None:
                partners[sample.query.key] = number
        lost = sorted(set(range(len(self.rows))) - set(partners.values()))
        without = [s.query.key for s in samples if s.query.key not in partners]
        if lost or without:
            first = f", the first {_shown(self.rows[lost[0]])}" if lost else ""
            query = f", the first {without[0]}" if without else ""
            warnings.warn(
                f"{self.path}: {len(lost)} of {len(self.rows)} answers joined no query{first}; {len(without)} of "
                f"{len(samples)} queries have no answer{query}, and count as failures",
                stacklevel=2,
            )
        counts = {"answers": len(self.rows), "answers_without_query": len(lost), "queries_without_answer": len(without)}
        return partners, counts

    def _answer(self, query: Query) -> Prediction:
        if self.partners is not None:
            number = self.partners.get(query.key)
        else:
            number = next((self._found[name] for name in _names_of_query(query) if name in self._found), None)
        if number is None:
            return _failure("not in the recorded predictions")
        row = self.rows[number]
        details = {"answer": row["written"]} if "written" in row else {}
        said = [row["said"]] if "said" in row else find_boxes(row["written"], self.frame)
        if not said:
            return _failure("no box in the recorded answer", **details)
        size, seen = query.image.size, row.get("input_size")
        self._check.see(to_pixels(np.asarray(said[0]), self.frame, size, seen), size)
        box = place(said[0], self.frame, size, seen)
        if box is None:
            return _failure("the recorded box is not inside the image", **details)
        return Prediction(box, row.get("score"), details)


def build_recorded(path: str, frame: str | None, partners: Mapping[str, int]) -> Callable[[Batch], list[Line]]:
    """A worker that answers from a file of predictions."""
    return partial(predict_batch, RecordedGrounder(path, frame, partners).ground)


def _failure(why: str, **details: Any) -> Prediction:
    return Prediction(np.full(4, np.nan, dtype=np.float32), details={**details, "failure": why})


def _shown(row: Row) -> str:
    return json.dumps({k: v for k, v in row.items() if k not in ("said", "written")}, default=str)[:120]


def _names_of_query(query: Query) -> list[tuple[Any, ...]]:
    return [("key", query.key), ("image", _file_name(query.image.key), _plain(query.expression))]


def _numbers(sample: Sample) -> list[tuple[Any, ...]]:
    text = _plain(sample.query.expression)
    return [
        ("sent", sample.sent_id), ("ref", sample.ref_id, text), ("ann", sample.ann_id, text), ("ref", sample.ref_id),
        ("ann", sample.ann_id),
    ]  # fmt: skip


def _names_of_row(row: Row) -> list[tuple[Any, ...]]:
    """What a row says of the query that it answers, most certain first."""
    text = [_plain(row["expression"])] if "expression" in row else []
    names: list[tuple[Any, ...]] = [("key", row["key"])] if "key" in row else []
    names += [("sent", row["sent_id"])] if "sent_id" in row else []
    names += [(kind, row[f"{kind}_id"], *text) for kind in ("ref", "ann") if f"{kind}_id" in row]
    return [*names, *([("image", _file_name(row["image"]), *text)] if "image" in row and text else [])]


def _plain(text: str) -> str:
    return " ".join(text.lower().split()).rstrip(".")


def _file_name(path: str) -> str:
    return PurePosixPath(str(path)).name


def _checked(row: Mapping[str, Any], where: str) -> Row:
    """A row under our names: ``said`` (four numbers) or ``written`` (a text), and what it answers."""
    given = {k: v for k, v in row.items() if v not in (None, "")}
    found: Row = {name: str(given[name]) for name in ("key", "image") if name in given}
    try:
        found.update({name: int(given[name]) for name in ("sent_id", "ref_id", "ann_id") if name in given})
        if asked := [str(given[name]) for name in EXPRESSIONS if name in given]:
            found["expression"] = asked[0]
        if "score" in given:
            found["score"] = float(given["score"])
        if "input_size" in given:
            found["input_size"] = tuple(int(side) for side in given["input_size"])
        box = next((given[name] for name in BOXES if name in given), None)
        if box is None and all(name in given for name in CORNERS):
            box = [given[name] for name in CORNERS]
        if box is not None:
            found["said"] = [float(number) for number in (json.loads(box) if isinstance(box, str) else box)]
        elif text := [str(given[name]) for name in TEXTS if name in given]:
            found["written"] = text[0]
    except (TypeError, ValueError, OverflowError) as error:
        raise VGGymError(f"{where} is no answer: {error}") from error
    if "said" not in found and "written" not in found or len(found.get("said", "four")) != 4:
        raise VGGymError(f"{where} has no box of four numbers ({', '.join(BOXES)}) and no text ({', '.join(TEXTS)})")
    if not _names_of_row(found):
        raise VGGymError(f"{where} does not say what it answers: key, sent_id, ref_id, ann_id, or image and expression")
    return found


def _rows(path: Path) -> list[tuple[Row, str]]:
    """The rows of a file, and where each is."""
    text = read_text(path)
    try:
        if path.suffix == ".csv":
            rows = [(dict(row), f"row {number}") for number, row in enumerate(csv.DictReader(text.splitlines()), 2)]
        elif path.suffix == ".json":
            content = json.loads(text)
            listed = content.get("logs", content) if isinstance(content, dict) else content
            rows = [(row, f"entry {number}") for number, row in enumerate(listed)]
        else:
            lines = enumerate(text.splitlines(), 1)
            rows = []
            for number, line in lines:
                if line.strip():
                    rows.append((_object(line, f"{path} line {number}"), f"line {number}"))
    except ValueError as error:
        raise VGGymError(f"cannot read {path}: {error}") from error
    for row, where in rows:
        if not isinstance(row, dict):
            raise VGGymError(f"{path} {where} is no object with names")
    return [(_of_lmms_eval(row) if "doc_id" in row else row, where) for row, where in rows]


def _object(line: str, where: str) -> Row:
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise VGGymError(f'{where} is not {{"key": ..., "box": [4 numbers]}}: {error}') from error


def _of_lmms_eval(row: Row) -> Row:
    """A logged sample of lmms-eval's RefCOCO tasks: the model's text, and what its metrics say of the question."""
    answer = row.get("filtered_resps") or row.get("resps") or ""
    while isinstance(answer, list):
        answer = answer[0] if answer else ""
    asked = next((v for k, v in row.items() if k.startswith("refcoco") and isinstance(v, dict)), {})
    doc = {**(row.get("doc") or {}), **asked}
    expression = doc.get("answer") if isinstance(doc.get("answer"), str) else row.get("target")
    number = str(doc.get("ann_id", doc.get("question_id", "")))
    found = {"ann_id": number if number.isdigit() else None, "expression": expression}
    return {**found, "image": doc.get("file_name"), "answer": str(answer) or " "}


def read_text(path: Path) -> str:
    """A text file.

    Raises:
        VGGymError: it cannot be read.
    """
    try:
        return path.read_text()
    except OSError as error:
        raise VGGymError(f"cannot read {path}: {error.strerror}; give an existing file") from error
    except UnicodeDecodeError as error:
        raise VGGymError(f"{path} is no text file: {error}") from error
