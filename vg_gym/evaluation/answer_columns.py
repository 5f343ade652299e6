"""Predictions of a method for all samples, as columns. The lines themselves stay in the file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from vg_gym.evaluation.methods import Line

LINES_IN_MEMORY = 4096
"""Number of lines that are in memory at the same time."""


@dataclass(frozen=True)
class Answers:
    """Answers of a method to N queries."""

    lines: Sequence[Line]
    """Lines of ``predictions.jsonl``, read from the file on access."""
    boxes: np.ndarray
    """Boxes, ``xyxy`` pixels, float32 (N, 4); NaN for a failure."""
    ms: np.ndarray
    """Milliseconds per query (N,); NaN where the method was not called."""
    evaluations: np.ndarray
    """Number of region scores computed (N,); NaN where it is unknown."""
    failures: np.ndarray
    """Mask of failures, bool (N,)."""
    unanswered: np.ndarray
    """Mask of answers in which the model gave no box, bool (N,)."""
    with_proposals: np.ndarray
    """Mask of lines with the proposals among which the box was chosen, bool (N,)."""
    sources: tuple[str, ...]
    """Weights that answered and how they were prompted, where lines say so; sorted."""

    @classmethod
    def of(cls, lines: Sequence[Line]) -> Answers:
        """Read lines once and return their columns."""
        count, reading = len(lines), iter(lines)
        boxes, numbers = np.full((count, 4), np.nan, np.float32), np.full((count, 2), np.nan)
        marks = np.zeros((count, 3), bool)
        sources: set[str] = set()
        for at in range(0, count, LINES_IN_MEMORY):
            part = list(islice(reading, LINES_IN_MEMORY))
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
        """Return the number of queries."""
        return len(self.boxes)

    @property
    def found(self) -> np.ndarray:
        """Mask of queries with a box, bool (N,)."""
        return np.isfinite(self.boxes[:, 0])


_NO_BOX = [np.nan] * 4
