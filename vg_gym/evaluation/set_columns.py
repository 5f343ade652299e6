"""Columns of a row for expressions that mean nothing or several things, and for the scores of answers.

A failed query is wrong in every column: it counts as an answer where nothing is meant, as no answer where something
is, and its score as the worst one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym.evaluation import set_metrics
from vg_gym.evaluation.columns import Answers, SampleColumns
from vg_gym.evaluation.intervals import mean_interval

RECALLS = (1, 5, 10)
"""Numbers of proposals for which recall is computed."""


def set_f1s(answers: Answers, columns: SampleColumns) -> np.ndarray:
    """Return the F1 of each answered set of boxes, (N,); 0 for a failure."""
    f1 = [set_metrics.set_f1(answers.boxes_of(row), columns.targets_of(row)) for row in range(len(columns.counts))]
    return np.where(_failed(answers), 0.0, f1)


def set_columns(answers: Answers, columns: SampleColumns, f1: np.ndarray) -> dict[str, Any]:
    """Return the shares of :func:`vg_gym.evaluation.set_metrics.set_summary`, and AUROC and ECE of the scores.

    Args:
        answers: N answers.
        columns: columns of the N samples.
        f1: :func:`set_f1s` of the answers.
    """
    answered = np.where(_failed(answers), columns.counts == 0, answers.has_box)
    return {
        **set_metrics.set_summary(f1, answered, columns.counts, columns.groups),
        "auroc": score_auroc(answers, columns),
    }


def by_set_kind(f1: np.ndarray, kinds: list[str]) -> dict[str, dict[str, float]]:
    """Return set F1, Pr@F1 and number of samples by kind of expression, without kind ``""``.

    >>> by_set_kind(np.array([1.0, 0.5]), ["many", "many"])
    {'many': {'set_f1': 0.75, 'pr@f1': 0.5, 'n': 2}}
    """
    labels = np.array(kinds)
    parts = {kind: f1[labels == kind] for kind in sorted(set(kinds) - {""})}
    return {
        kind: {"set_f1": float(part.mean()), "pr@f1": float((part >= 1).mean()), "n": len(part)}
        for kind, part in parts.items()
    }


def score_auroc(answers: Answers, columns: SampleColumns) -> float | None:
    """Return how well scores tell expressions with a target from those without; None for a method without scores.

    An answer without score counts as the lowest score if it says that nothing fits.
    """
    if not np.isfinite(answers.scores).any():
        return None
    has_target = columns.counts > 0
    unscored = np.where(answers.nothing | has_target, -np.inf, np.inf)
    return set_metrics.auroc(np.where(np.isnan(answers.scores), unscored, answers.scores), has_target)


def right_boxes(answers: Answers, columns: SampleColumns) -> np.ndarray:
    """Return whether the best box of each answer is that of a target (IoU >= 0.5), bool (N,)."""
    ious = box_ops.pixel_iou(answers.boxes, columns.boxes)
    for row, targets in columns.several.items():
        ious[row] = box_ops.pixel_iou(answers.boxes[row], targets).max()
    return answers.has_box & (ious >= set_metrics.IOU_THRESHOLD)


def single_columns(answers: Answers, columns: SampleColumns) -> dict[str, Any]:
    """Return pointing accuracy, recall at k and mean IoU by step over the expressions with one target.

    The point of an answer is its own, or the centre of its box.
    """
    rows = np.flatnonzero(columns.one)
    pointed = np.where(answers.has_point[:, None], np.tile(answers.points, 2), answers.boxes)[rows]
    right = set_metrics.points_inside(pointed, columns.boxes[rows]) & (answers.has_box | answers.has_point)[rows]
    return {
        "pointing": set_metrics.share(right),
        "pointing_ci": mean_interval(right.astype(float), columns.groups[rows]) if len(rows) else None,
        **_recalls(answers, columns, rows),
        **_by_step(answers, columns, rows),
    }


def pointing_by_kind(answers: Answers, columns: SampleColumns) -> dict[str, dict[str, Any]]:
    """Return pointing accuracy and number of samples with one target by kind of expression, without kind ``""``."""
    kinds = np.where(columns.one, np.array(columns.kinds), "")
    right = set_metrics.points_inside(np.tile(answers.points, 2), columns.boxes)
    parts = {kind: right[kinds == kind] for kind in sorted(set(columns.kinds) - {""})}
    return {
        kind: {"mean_iou": None, "acc@0.5": None, "pointing": set_metrics.share(part), "n": len(part)}
        for kind, part in parts.items()
    }


def _recalls(answers: Answers, columns: SampleColumns, rows: np.ndarray) -> dict[str, float]:
    """Return the recall of proposals ranked by their scores; empty for a method without scored proposals."""
    ranked, scored = [], False
    for row in rows.tolist() if answers.with_proposals[rows].any() else ():
        line = answers.lines[row] if answers.with_proposals[row] else {}
        scores = line.get("proposal_scores", [])
        scored |= bool(scores)
        order = np.argsort(-np.array(scores), kind="stable")[: max(RECALLS)]
        ranked.append(np.array(line.get("proposals", [])).reshape(-1, 4)[order.astype(int)])
    return {f"recall@{k}": set_metrics.recall_at(ranked, columns.boxes[rows], k) for k in RECALLS} if scored else {}


def _by_step(answers: Answers, columns: SampleColumns, rows: np.ndarray) -> dict[str, list[float]]:
    """Return the mean IoU after each step; a failure has IoU 0. The result is empty for a method without steps."""
    if not answers.with_path[rows].any():
        return {}
    ious = []
    for row in rows.tolist():
        path = answers.lines[row].get("trajectory", ()) if answers.has_box[row] else ()
        boxes = np.array([box for box in path if np.shape(box) == (4,)] or answers.boxes[row : row + 1], dtype=float)
        ious.append(np.nan_to_num(box_ops.pixel_iou(boxes, columns.boxes[row])))
    return {"mean_iou_by_step": set_metrics.mean_iou_by_step(ious).tolist()}


def _failed(answers: Answers) -> np.ndarray:
    """Return the mask of the queries without any answer, bool (N,)."""
    return ~answers.has_box & ~answers.nothing & ~answers.has_point
