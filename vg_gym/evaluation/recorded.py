"""Evaluating detections with CLIP scores that were recorded elsewhere (one JSON file)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym.errors import VGGymError
from vg_gym.evaluation import metrics
from vg_gym.evaluation.recorded_answers import read_text


def recorded_rows(path: Path, seed: int = 0) -> list[dict[str, Any]]:
    """Rows of recorded detections: the one with the best CLIP score, and the ceiling of the best IoU.

    Raises:
        VGGymError: the file is missing, or not of the format of :func:`recorded_detections`.
    """
    chosen, best, groups = recorded_detections(path)
    return [
        {"method": name, "role": role, **metrics.summary(ious, groups, seed)}
        for name, role, ious in (("recorded", "method", chosen), ("proposal-oracle", "ceiling", best))
    ]


def recorded_detections(path: Path, min_confidence: float = 0.7) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Score recorded detections and CLIP scores (the format of ``andreacoppari/visual-grounding-DL23``).

    For each expression the file holds CLIP's scores of the detections with confidence above ``min_confidence``, in
    order, then of the full image. Expressions without a detection are left out.

    Returns:
        IoUs (N,) of the detection with the highest score (the full image left out), IoUs (N,) of the best detection,
        and the index of the ref (N,).

    Raises:
        VGGymError: the file is missing, or not of this format.
    """
    try:
        content = json.loads(read_text(path))
        chosen, best, groups = [], [], []
        for ref, row in enumerate(content):
            target = box_ops.from_xywh(np.array(row["bbox_target_xywh"]))
            boxes = np.array([d["box_xyxy"] for d in row["det"] if d["conf"] > min_confidence]).reshape(-1, 4)
            if not len(boxes):
                continue
            overlaps = box_ops.pixel_iou(boxes, target)
            for _, scores in zip(row["captions"], row["clip_text_similarity"], strict=True):
                chosen.append(overlaps[int(np.argmax(scores[: len(boxes)]))])
                best.append(overlaps.max())
                groups.append(ref)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise VGGymError(f"{path} is not a file of recorded detections ({type(error).__name__}: {error})") from error
    return np.array(chosen), np.array(best), np.array(groups)
