"""Proposals: the boxes among which the second stage of a pipeline chooses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from vg_gym import boxes as box_ops


@dataclass(frozen=True)
class Proposals:
    """The proposals of one image, best first."""

    boxes: np.ndarray
    """float32 (P, 4), ``xyxy`` pixels inside the image."""
    scores: np.ndarray
    """Confidences float32 (P,)."""
    labels: tuple[str, ...]
    """P category names; ``""`` where the proposer knows none."""
    masks: np.ndarray | None = None
    """bool (P, H, W), where the proposer segments."""

    def __len__(self) -> int:
        """Number of proposals."""
        return len(self.boxes)

    def take(self, rows: np.ndarray) -> Proposals:
        """The proposals with given row numbers, in that order."""
        masks = None if self.masks is None else self.masks[rows]
        return Proposals(self.boxes[rows], self.scores[rows], tuple(self.labels[i] for i in rows), masks)


@runtime_checkable
class Proposer(Protocol):
    """Finds boxes that may be meant, without reading any expression."""

    name: str

    @property
    def fingerprint(self) -> str:
        """A hash of its weights and settings; caches of boxes are keyed by it."""
        ...

    def propose(self, images: Sequence[np.ndarray]) -> list[Proposals]:
        """Proposals of every image (H, W, 3) uint8, batched."""
        ...


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
