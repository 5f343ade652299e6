"""Substitute for an answer that a model did not give."""

from __future__ import annotations

from typing import Any

from vg_gym import boxes as box_ops
from vg_gym.types import Prediction, Query


def unanswered(query: Query, why: str, **details: Any) -> Prediction:
    """Return the whole image as a box for code that needs one; the evaluator scores it 0.

    Args:
        query: unanswered query.
        why: reason, which is stored as the failure.
        **details: other details of the prediction.
    """
    full = box_ops.denormalize(box_ops.FULL, query.image.size)
    return Prediction(full, details={**details, "failure": why, "unanswered": True})
