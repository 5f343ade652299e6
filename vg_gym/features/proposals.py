"""From a detector's raw boxes to proposals, and the choice of those worth keeping."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym.types import Proposals


def proposals(
    boxes: np.ndarray,
    scores: np.ndarray,
    labels: Sequence[str],
    image: np.ndarray,
    masks: np.ndarray | None = None,
    min_side: float = 1.0,
) -> Proposals:
    """Proposals from raw boxes, cut to the image and sorted, best first.

    Args:
        boxes: ``xyxy`` pixels (P, 4), maybe partly outside the image.
        scores: confidences (P,).
        labels: P category names.
        image: uint8 (H, W, 3).
        masks: bool (P, H, W), where there are masks.
        min_side: least width and height in pixels of what lies inside the image; smaller boxes are left out.
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
    """Confident proposals of wanted classes, without near duplicates.

    Args:
        found: proposals of one image, best first.
        min_score: least confidence.
        max_boxes: keep at most so many.
        classes: category names to keep; empty: all.
        max_overlap: of two boxes, whatever their labels, whose IoU is greater, only the better stays.
    """
    rows: list[int] = []
    for row in range(len(found)):
        wanted = found.scores[row] >= min_score and (not classes or found.labels[row] in classes)
        if not wanted or len(rows) >= max_boxes:
            continue
        if max_overlap < 1 and rows and box_ops.iou(found.boxes[rows], found.boxes[row]).max() > max_overlap:
            continue
        rows.append(row)
    return found.take(np.array(rows, dtype=int))
