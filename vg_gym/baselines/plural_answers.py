"""Boxes that answer an expression: one, or several if its words mean several."""

from __future__ import annotations

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym.language.number import number

PLURAL_RULES = 1
"""Version of :func:`answering_rows`; increase it with every change of its boxes, on which cached ones depend."""
SHARE_OF_BEST = 0.7
"""Share of the best value that a box needs to be one of several."""
MAX_COMMON = 0.3
"""Largest IoU of two boxes of one answer."""


def answering_rows(expression: str, values: np.ndarray, boxes: np.ndarray, best: int) -> list[int]:
    """Return the rows of the boxes that answer an expression, best first.

    An expression of one thing has the answer ``best``. For a plural, boxes follow in the order of their values, but not
    those that overlap a better one: as many as it states, or those with :data:`SHARE_OF_BEST` of the largest value.

    Args:
        expression: referring expression.
        values: how well the boxes fit, non-negative (P,); P is at least 1.
        boxes: ``xyxy`` boxes (P, 4).
        best: row of the one box that fits best.
    """
    stated = number(expression)
    if not stated.plural:
        return [best]
    rows: list[int] = []
    for row in np.argsort(-values, kind="stable"):
        few = values[row] < SHARE_OF_BEST * values.max() if stated.count is None else len(rows) == stated.count
        if few:
            break
        if not rows or box_ops.pixel_iou(boxes[row], boxes[rows]).max() <= MAX_COMMON:
            rows.append(int(row))
    return rows
