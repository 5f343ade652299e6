"""Grounder that answers the window with the best CLIP score, to measure the reward without an agent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym.boxes import lattice_boxes
from vg_gym.clip.existence import lexicon_of, memberships
from vg_gym.clip.loader import load_clip
from vg_gym.clip.region_features import box_sum, l2_normalize, summed_area
from vg_gym.clip.scores import negative_texts, score_boxes
from vg_gym.config import PositiveFloat, PositiveInt, Range
from vg_gym.language.parsing import parse
from vg_gym.storage.files import fingerprint
from vg_gym.types import Prediction, Query, refuse_initial_boxes

CANDIDATES = 12
"""Number of windows for each phrase that may show that something is meant."""
MAX_OVERLAP = 0.5
"""IoU from which two windows are the same candidate."""
MAX_VISITED = 3000
"""Number of windows, best first, among which candidates are searched."""


class ClipWindow:
    """Grounder that maximises a dense CLIP score over all boxes on a lattice.

    Args:
        clip: name of the CLIP.
        score: name of the score (:mod:`vg_gym.clip.scores`).
        step: distance between lines of the lattice, in cells of the dense features.
        largest: maximum side of a box, as a fraction of the image's side.
        device: torch device.
        chunk: number of boxes in a scoring batch. Much larger batches allocate new memory at each call, which takes a
            third of the time.
    """

    def __init__(
        self,
        clip: str = "refshapes",
        score: str = "context",
        step: PositiveFloat = 1.0,
        largest: Annotated[float, Range(gt=0, le=1)] = 1.0,
        device: str = "cpu",
        chunk: PositiveInt = 512,
    ):
        self.name, self.score, self.chunk = "clip-window", score, chunk
        self.clip = load_clip(clip, device)
        self.boxes = lattice_boxes(self.clip.grid, step, 1.0, self.clip.grid * largest)
        # Small boxes come first, so that the smallest box wins a tie.
        self.boxes = self.boxes[np.argsort(box_ops.area(self.boxes), kind="stable")]
        self.fingerprint = fingerprint(self.name, score, step, largest, self.clip.fingerprint)
        self._negatives = negative_texts(self.clip, score)

    def ground(self, queries: Sequence[Query], initial_boxes: np.ndarray | None = None) -> list[Prediction]:
        """Return the best box per query, with ``evaluations`` in its details.

        The ``score`` tells whether anything is meant (:meth:`_existence`). The features of an image are computed once
        per call.
        """
        refuse_initial_boxes(self.name, initial_boxes)
        texts = self.clip.encode_text([q.expression for q in queries])
        tables: dict[str, np.ndarray] = {}
        predictions = []
        for query, text in zip(queries, texts, strict=True):
            if query.image.key not in tables:
                tables[query.image.key] = summed_area(self.clip.encode_dense([query.image.array()]))
            scores = self._scores(tables[query.image.key], text[None])
            best = int(scores.argmax())
            box = box_ops.denormalize(self.boxes[best], query.image.size)
            score = self._existence(query.expression, tables[query.image.key], scores)
            predictions.append(Prediction(box, score, {"evaluations": len(self.boxes)}))
        return predictions

    def _existence(self, expression: str, table: np.ndarray, scores: np.ndarray) -> float:
        """Return the largest product of score and membership (:mod:`vg_gym.clip.existence`) of any window.

        Windows are those that score best for the expression, and for its anchor, which a relation needs.
        """
        expression = self.clip.reword(expression)
        anchor, rows = parse(expression).anchor, self._distinct(scores)
        if anchor is not None:
            rows = rows + self._distinct(self._scores(table, self.clip.encode_text([anchor.phrase])))
        features = l2_normalize(box_sum(table, self.boxes[None, rows]))[0]

        def logits(text: str) -> np.ndarray:
            return self.clip.logit_scale * (features @ self.clip.encode_text([text])[0])

        values = memberships(expression, self.boxes[rows], logits, lexicon_of(self.clip))
        return float((values * scores[rows].clip(0)).max())

    def _distinct(self, scores: np.ndarray) -> list[int]:
        """Return the rows of the best windows that differ from each other."""
        rows: list[int] = []
        for row in np.argsort(-scores, kind="stable")[:MAX_VISITED]:
            if not rows or box_ops.iou(self.boxes[rows], self.boxes[row]).max() < MAX_OVERLAP:
                rows.append(int(row))
            if len(rows) == CANDIDATES:
                break
        return rows

    def _scores(self, table: np.ndarray, text: np.ndarray) -> np.ndarray:
        starts = range(0, len(self.boxes), self.chunk)
        parts = [self.boxes[None, start : start + self.chunk] for start in starts]
        return np.concatenate([score_boxes(self.score, table, text, part, self._negatives)[0] for part in parts])
