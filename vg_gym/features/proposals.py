"""Conversion of a detector's raw boxes to proposals, and selection among them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym.types import Proposals

MIN_CONFIDENCE = 0.1
"""Smallest confidence of a proposal that agents observe, by default."""


def proposals(
    boxes: np.ndarray,
    scores: np.ndarray,
    labels: Sequence[str],
    image: np.ndarray,
    masks: np.ndarray | None = None,
    min_side: float = 1.0,
) -> Proposals:
    """Convert raw boxes to proposals, clamped to the image and sorted, best first.

    Args:
        boxes: ``xyxy`` pixels (P, 4), possibly partly outside the image.
        scores: confidences (P,).
        labels: P category names.
        image: pixels, uint8 (H, W, 3).
        masks: masks of the boxes, bool (P, H, W), or None.
        min_side: minimum width and height in pixels of the part inside the image; smaller boxes are left out.
    """
    height, width = image.shape[:2]
    raw = np.asarray(boxes, dtype=np.float32).reshape(-1, 4)
    inside = np.clip(raw, 0, np.array([width, height, width, height], dtype=np.float32))
    sides = inside[:, 2:] - inside[:, :2]
    scores = np.asarray(scores, dtype=np.float32)
    order = np.argsort(-scores, kind="stable")
    rows = order[(sides[order] >= min_side).all(axis=1)]
    return Proposals(inside, scores, tuple(labels), masks).take(rows)


def select(
    found: Proposals,
    min_score: float = 0.0,
    max_boxes: int = 100,
    classes: Sequence[str] = (),
    max_overlap: float = 1.0,
) -> Proposals:
    """Select confident proposals of some classes, without near duplicates.

    Args:
        found: proposals of one image, best first.
        min_score: minimum confidence.
        max_boxes: maximum number of proposals.
        classes: category names to keep; empty means all.
        max_overlap: maximum IoU of two proposals with any labels; above it only the better one is kept.
    """
    rows: list[int] = []
    for row in range(len(found)):
        fits = found.scores[row] >= min_score and (not classes or found.labels[row] in classes)
        if not fits or len(rows) >= max_boxes:
            continue
        if max_overlap < 1 and rows and box_ops.iou(found.boxes[rows], found.boxes[row]).max() > max_overlap:
            continue
        rows.append(row)
    return found.take(np.array(rows, dtype=int))
