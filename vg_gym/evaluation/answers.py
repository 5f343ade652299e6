"""Predictions of a method for all samples, as columns; their lines stay in the file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from vg_gym.evaluation.methods import Line

AT_A_TIME = 4096
"""Lines that are in memory together."""


@dataclass(frozen=True)
class Answers:
    """What a method answered to N queries."""

    lines: Sequence[Line]
    """As they are in ``predictions.jsonl``, read when they are asked for."""
    boxes: np.ndarray
    """``xyxy`` pixels (N, 4), float32; NaN of a failure."""
    ms: np.ndarray
    """Milliseconds a query (N,), NaN where the method was not asked."""
    evaluations: np.ndarray
    """Region scores computed (N,), NaN where that is not known."""
    failures: np.ndarray
    """bool (N,)."""
    unanswered: np.ndarray
    """bool (N,): the model's answer held no box."""
    with_proposals: np.ndarray
    """bool (N,): the line has the proposals among which the box was chosen."""
    sources: tuple[str, ...]
    """Which weights answered, and how they were asked, where lines say so; sorted."""

    @classmethod
    def of(cls, lines: Sequence[Line]) -> Answers:
        """The columns of lines, which are read once."""
        count, reading = len(lines), iter(lines)
        boxes, numbers = np.full((count, 4), np.nan, np.float32), np.full((count, 2), np.nan)
        marks = np.zeros((count, 3), bool)
        sources: set[str] = set()
        for at in range(0, count, AT_A_TIME):
            part = list(islice(reading, AT_A_TIME))
            rows = slice(at, at + len(part))
            boxes[rows] = [_NO_BOX if line["box"] is None else line["box"] for line in part]
            numbers[rows] = [(line.get("ms", np.nan), line.get("evaluations", np.nan)) for line in part]
            marks[rows] = [
                ("failure" in line, bool(line.get("unanswered")), bool(line.get("proposals"))) for line in part
            ]
            sources |= {line["source"] for line in part if "source" in line}
        ms, evaluations = numbers.T
        failures, unanswered, with_proposals = marks.T
        return cls(lines, boxes, ms, evaluations, failures, unanswered, with_proposals, tuple(sorted(sources)))

    def __len__(self) -> int:
        """N."""
        return len(self.boxes)

    @property
    def found(self) -> np.ndarray:
        """Whether there is a box, bool (N,)."""
        return np.isfinite(self.boxes[:, 0])


_NO_BOX = [np.nan] * 4
