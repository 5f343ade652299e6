"""Recorded answers as a method, from JSON lines, CSV, or samples that lmms-eval logs.

An answer is a box (``box``, ``bbox`` or ``bbox_2d``: four numbers; or columns ``x1``, ``y1``, ``x2``, ``y2``), or a
text that contains one (``answer``, ``response``, ``prediction`` or ``text``). Frame and format of the box are given,
never guessed: ``box`` is ``xyxy`` in pixels by default, and ``bbox`` needs a format. The strongest name in an answer
decides which query it belongs to, in this order (:mod:`vg_gym.evaluation.joining`):

- ``key`` of the query, or ``sent_id``, the number of the expression in RefCOCO's files;
- ``ref_id`` or ``ann_id``, with ``expression`` (``sent``, ``sentence``) if the object has several expressions;
- ``image`` (``file_name``), a path, or ``image_id``, with ``expression`` if the image has several expressions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vg_gym.evaluation.joining import join
from vg_gym.evaluation.methods import Batch, Line, predict_batch
from vg_gym.evaluation.recorded_rows import read_rows
from vg_gym.frames import FrameCheck, place, to_pixels
from vg_gym.language_models.box_text import find_boxes
from vg_gym.types import Prediction, Query, Sample, refuse_initial_boxes


class RecordedGrounder:
    """Grounder that answers from a file.

    Args:
        path: path of the file: ``.jsonl``, ``.csv``, or ``.json`` with a list.
        frame: frame of the boxes, a key of :data:`vg_gym.frames.FRAMES`; default: pixels. Answers as text need
            a frame.
        partners: key of a query -> number of its row, from :meth:`join`; default: by key.
        box_format: format of the boxes, a key of :data:`vg_gym.data.rows.FORMATS`; default: ``xyxy``. ``bbox`` needs a
            format.

    Raises:
        VGGymError: the file is missing; an answer lacks a box or text, or the name of a query; a text lacks a frame, or
            ``bbox`` a format; or the frame or the format is unknown.
    """

    def __init__(
        self,
        path: str,
        frame: str | None = None,
        partners: Mapping[str, int] | None = None,
        box_format: str | None = None,
    ):
        self.name, self.path = f"recorded:{Path(path).stem}", path
        self.frame = frame or "pixels"
        self.rows = read_rows(Path(path), frame, box_format)
        self.partners = (
            {row["key"]: n for n, row in enumerate(self.rows) if "key" in row} if partners is None else partners
        )
        self._checks = {frame: FrameCheck(path, frame) for frame in {row["frame"] for row in self.rows}}

    def ground(self, queries: Sequence[Query], initial_boxes: np.ndarray | None = None) -> list[Prediction]:
        """Return the recorded boxes; a query that is not in the file is a failure."""
        refuse_initial_boxes(self.name, initial_boxes)
        return [self._answer(query) for query in queries]

    def join(self, samples: Sequence[Sample]) -> tuple[dict[str, int], dict[str, int]]:
        """Find the answer of every sample by all names in the answers, and warn of everything that is uncertain.

        Returns:
            Key of the query -> number of its row; and the numbers of answers, of answers without a query, and of
            queries without an answer.

        Raises:
            VGGymError: a query has different answers without scores that rank them.
        """
        joined = join(self.path, self.rows, samples)
        return joined.partners, joined.counts

    def _answer(self, query: Query) -> Prediction:
        number = self.partners.get(query.key)
        if number is None:
            return _failure("not in the recorded predictions")
        row = self.rows[number]
        frame, input_size, size = row["frame"], row.get("input_size"), query.image.size
        details = {"answer": row["written"]} if "written" in row else {}
        details |= {"failure": row["failure"]} if "failure" in row else {}
        boxes = find_boxes(row["written"], frame) if "written" in row else [row["box"]]
        if not boxes or not boxes[0]:
            return _failure(row.get("failure", "no box in the recorded answer"), **details)
        self._checks[frame].see(to_pixels(np.asarray(boxes[0]), frame, size, input_size), size)
        box = place(boxes[0], frame, size, input_size)
        if box is None:
            return _failure("the recorded box is not inside the image", **details)
        return Prediction(box, row.get("score"), details)


def build_recorded(
    path: str, frame: str | None, box_format: str | None, partners: Mapping[str, int]
) -> Callable[[Batch], list[Line]]:
    """Return a worker that answers from a file of predictions.

    Args:
        path: path of the file.
        frame: frame of the boxes.
        box_format: format of the boxes.
        partners: key of a query -> number of its row.
    """
    return partial(predict_batch, RecordedGrounder(path, frame, partners, box_format).ground)


def _failure(why: str, **details: Any) -> Prediction:
    return Prediction(np.full(4, np.nan, dtype=np.float32), details={**details, "failure": why})
