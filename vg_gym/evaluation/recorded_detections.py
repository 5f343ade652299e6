"""Evaluation of recorded detections with CLIP scores from one JSON file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym.errors import VGGymError
from vg_gym.evaluation import metrics
from vg_gym.storage.texts import read_text

MIN_CONFIDENCE = 0.7
"""Detector confidence above which the file has CLIP scores of detections."""


def recorded_rows(path: Path) -> list[dict[str, Any]]:
    """Return two rows: detections with the best CLIP score, and detections with the best IoU as the upper bound.

    Raises:
        VGGymError: the file is missing, or not in the format of :func:`recorded_detections`.
    """
    chosen, best, groups, missing = recorded_detections(path)
    return [
        {"method": name, "role": role, "failures": int(missing.sum()), **metrics.summary(ious, groups)}
        for name, role, ious in (("recorded", "method", chosen), ("proposal-oracle", "ceiling", best))
    ]


def recorded_detections(
    path: Path, min_confidence: float = MIN_CONFIDENCE
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Score recorded detections and CLIP scores (the format of ``andreacoppari/visual-grounding-DL23``).

    For each expression the file has CLIP scores of the detections with confidence above ``min_confidence``, in order,
    then of the full image. An expression without a detection is a failure with IoU 0.

    Returns:
        IoUs (N,) of the detection with the highest score (without the full image), IoUs (N,) of the best detection,
        index of the ref (N,), and whether detections are missing (N,).

    Raises:
        VGGymError: the file is missing, or not in this format.
    """
    chosen, best, groups, missing = [], [], [], []
    try:
        for ref, row in enumerate(json.loads(read_text(path))):
            target = box_ops.from_xywh(np.array(row["bbox_target_xywh"]))
            boxes = np.array([d["box_xyxy"] for d in row["det"] if d["conf"] > min_confidence]).reshape(-1, 4)
            overlaps = box_ops.pixel_iou(boxes, target)
            for _, scores in zip(row["captions"], row["clip_text_similarity"], strict=True):
                chosen.append(overlaps[_best(scores, len(boxes))] if len(boxes) else 0.0)
                best.append(overlaps.max(initial=0.0))
                groups.append(ref)
                missing.append(not len(boxes))
    except (KeyError, TypeError, ValueError, IndexError, RecursionError) as error:
        raise VGGymError(f"{path} is not a file of recorded detections ({type(error).__name__}: {error})") from error
    if not chosen:
        raise VGGymError(f"{path} contains no expression")
    return np.array(chosen), np.array(best), np.array(groups), np.array(missing)


def _best(scores: list[float], count: int) -> int:
    """Return the index of the detection with the highest score."""
    if len(scores) != count + 1:
        raise ValueError(f"{len(scores)} scores of {count} detections and the full image")
    if not np.isfinite(scores).all():
        raise ValueError("a score is not a number")
    return int(np.argmax(scores[:count]))
