"""Evaluating what was recorded elsewhere: predictions (JSON lines), or detections with CLIP scores (one JSON file)."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym.errors import VGGymError
from vg_gym.evaluation import metrics
from vg_gym.evaluation.methods import Batch, Line, predict_batch
from vg_gym.types import Prediction, Query, refuse_initial_boxes


class RecordedGrounder:
    """Answers from a file of lines ``{"key": ..., "box": [x1, y1, x2, y2], "score": ...}``.

    Raises:
        VGGymError: the file is missing, or a line is not such an object.
    """

    def __init__(self, path: str):
        self.name = f"recorded:{Path(path).stem}"
        self._boxes: dict[str, tuple[list[float], float | None]] = {}
        for number, line in enumerate(_read(Path(path)).splitlines(), 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
                self._boxes[row["key"]] = row["box"], row.get("score")
            except (json.JSONDecodeError, KeyError, TypeError) as error:
                raise VGGymError(f'{path} line {number} is not {{"key": ..., "box": [4 numbers]}}: {error}') from error

    def ground(self, queries: Sequence[Query], initial_boxes: np.ndarray | None = None) -> list[Prediction]:
        """The recorded boxes; a query that is not in the file is a failure."""
        refuse_initial_boxes(self.name, initial_boxes)
        nothing = np.full(4, np.nan, dtype=np.float32)
        return [
            Prediction(np.asarray(self._boxes[q.key][0], dtype=np.float32), self._boxes[q.key][1])
            if q.key in self._boxes
            else Prediction(nothing, details={"failure": "not in the recorded predictions"})
            for q in queries
        ]


def build_recorded(path: str) -> Callable[[Batch], list[Line]]:
    """A worker that answers from a file of predictions."""
    return partial(predict_batch, RecordedGrounder(path).ground)


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
        content = json.loads(_read(path))
        chosen, best, groups = [], [], []
        for ref, row in enumerate(content):
            target = box_ops.from_xywh(np.array(row["bbox_target_xywh"]))
            boxes = np.array([d["box_xyxy"] for d in row["det"] if d["conf"] > min_confidence]).reshape(-1, 4)
            if not len(boxes):
                continue
            overlaps = box_ops.iou(boxes, target)
            for _, scores in zip(row["captions"], row["clip_text_similarity"], strict=True):
                chosen.append(overlaps[int(np.argmax(scores[: len(boxes)]))])
                best.append(overlaps.max())
                groups.append(ref)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise VGGymError(f"{path} is not a file of recorded detections ({type(error).__name__}: {error})") from error
    return np.array(chosen), np.array(best), np.array(groups)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise VGGymError(f"{path} is no text file: {error}; give JSON lines in UTF-8") from error
    except OSError as error:
        raise VGGymError(f"cannot read {path}: {error.strerror}; give an existing file") from error
