"""What stands in for an answer where a model gives none."""

from __future__ import annotations

from typing import Any

from vg_gym import boxes as box_ops
from vg_gym.types import Prediction, Query


def unanswered(query: Query, why: str, **details: Any) -> Prediction:
    """The whole image, for those who need a box to start from or to draw; the evaluator scores it 0.

    Args:
        query: what was asked.
        why: what is written as the failure.
        **details: others of the prediction.
    """
    full = box_ops.denormalize(box_ops.FULL, query.image.size)
    return Prediction(full, details={**details, "failure": why, "unanswered": True})
