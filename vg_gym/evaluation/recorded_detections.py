"""Evaluation of recorded detections with CLIP scores from one JSON file.

The rows choose among the same detections: by CLIP alone, by CLIP with the places of the words (``parse``), with the
class names (``classes``), with both, by words alone, and by the best IoU, which is the upper bound. The file has CLIP
scores of whole expressions only, so that an anchor is known by its class name, or not at all.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym.errors import VGGymError
from vg_gym.evaluation import metrics
from vg_gym.language.class_names import COCO_CLASSES
from vg_gym.language.class_prior import log_prior, words_alone
from vg_gym.language.parsing import parse
from vg_gym.storage.texts import read_text

MIN_CONFIDENCE = 0.7
"""Detector confidence above which the file has CLIP scores of detections."""
MIN_PROBABILITY = 1e-4
"""Smallest probability in the file, which rounds to four decimals."""
_CLASS_BY_NUMBER = dict(enumerate(COCO_CLASSES))


@dataclass(frozen=True)
class RecordedExpression:
    """An expression with its detections."""

    text: str
    """The expression."""
    ref: int
    """Index of the ref, of which the file may have several expressions."""
    boxes: np.ndarray
    """Boxes of the detections, ``xyxy`` pixels (P, 4)."""
    labels: tuple[str, ...]
    """Class names of the detections (P,); empty if the file has none."""
    probabilities: np.ndarray
    """CLIP's probabilities of the detections (P,)."""
    overlaps: np.ndarray
    """IoUs of the detections with the target (P,)."""

    @property
    def clip_logits(self) -> np.ndarray:
        """CLIP's logits of the whole expression (P,)."""
        return np.log(np.maximum(self.probabilities, MIN_PROBABILITY))

    def with_prior(self, places: bool, classes: bool) -> np.ndarray:
        """Return CLIP's logits plus the prior of the words (P,)."""
        head = parse(self.text).phrase

        def logits(phrase: str) -> np.ndarray:
            return self.clip_logits if phrase == head else np.zeros(len(self.boxes))

        prior = log_prior(self.text, self.boxes, logits, self.labels if classes else None, places)
        return self.clip_logits if prior is None else self.clip_logits + prior


CHOICES: dict[str, Callable[[RecordedExpression], np.ndarray]] = {
    "recorded": lambda e: e.probabilities,
    "recorded parse": lambda e: e.with_prior(places=True, classes=False),
    "recorded classes": lambda e: e.with_prior(places=False, classes=True),
    "recorded parse+classes": lambda e: e.with_prior(places=True, classes=True),
    "recorded words": lambda e: words_alone(e.text, e.boxes, e.labels),
    "proposal-oracle": lambda e: e.overlaps,
}
"""Row -> values (P,) of the detections, of which the largest is chosen."""
NEED_CLASSES = {"recorded classes", "recorded parse+classes", "recorded words"}
"""Rows that need class names."""


def recorded_rows(path: Path) -> list[dict[str, Any]]:
    """Return one row for each choice; a file without class names lacks those that need them, and a warning says so.

    An expression without a detection is a failure with IoU 0.

    Raises:
        VGGymError: the file is missing, or not in the format of :func:`recorded_detections`.
    """
    expressions = recorded_detections(path)
    unnamed = any(len(e.labels) < len(e.boxes) for e in expressions)
    if unnamed:
        warnings.warn(f"{path} has no class of some detections ('cls'): rows that need it are left out", stacklevel=2)
    groups, missing = np.array([e.ref for e in expressions]), sum(not len(e.boxes) for e in expressions)
    rows = []
    for name, choose in CHOICES.items():
        if unnamed and name in NEED_CLASSES:
            continue
        ious = np.array([e.overlaps[int(np.argmax(choose(e)))] if len(e.boxes) else 0.0 for e in expressions])
        role = "ceiling" if name == "proposal-oracle" else "method"
        rows.append({"method": name, "role": role, "failures": missing, **metrics.summary(ious, groups)})
    return rows


def recorded_detections(path: Path, min_confidence: float = MIN_CONFIDENCE) -> list[RecordedExpression]:
    """Read recorded detections and CLIP scores (the format of ``andreacoppari/visual-grounding-DL23``).

    For each expression the file has CLIP scores of the detections with confidence above ``min_confidence``, in order,
    then of the full image, which is left out.

    Raises:
        VGGymError: the file is missing, or not in this format.
    """
    expressions = []
    try:
        for ref, row in enumerate(json.loads(read_text(path))):
            target = box_ops.from_xywh(np.array(row["bbox_target_xywh"]))
            detections = [d for d in row["det"] if d["conf"] > min_confidence]
            boxes = np.array([d["box_xyxy"] for d in detections]).reshape(-1, 4)
            labels, overlaps = _labels(detections), box_ops.pixel_iou(boxes, target)
            for text, scores in zip(row["captions"], row["clip_text_similarity"], strict=True):
                probabilities = _of_detections(scores, len(boxes))
                expressions.append(RecordedExpression(text, ref, boxes, labels, probabilities, overlaps))
    except (KeyError, TypeError, ValueError, IndexError, RecursionError) as error:
        raise VGGymError(f"{path} is not a file of recorded detections ({type(error).__name__}: {error})") from error
    if not expressions:
        raise VGGymError(f"{path} contains no expression")
    return expressions


def _labels(detections: list[dict[str, Any]]) -> tuple[str, ...]:
    """Return the class names of detections, by their name or their number among COCO's classes; () without them."""
    if any(d.get("name") is None and d.get("cls") is None for d in detections):
        return ()
    return tuple(str(d.get("name") or _CLASS_BY_NUMBER[d["cls"]]) for d in detections)


def _of_detections(scores: list[float], count: int) -> np.ndarray:
    """Return the scores of the detections, without that of the full image."""
    if len(scores) != count + 1:
        raise ValueError(f"{len(scores)} scores of {count} detections and the full image")
    if not np.isfinite(scores).all():
        raise ValueError("a score is not a number")
    return np.array(scores[:count], dtype=float)
