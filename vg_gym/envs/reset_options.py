"""What ``reset(options=...)`` may say of the episodes it starts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym.errors import VGGymError, unknown
from vg_gym.types import Query

RESET_OPTIONS = ("index", "initial_box", "query")
"""See :meth:`vg_gym.envs.engine.GroundingEngine.reset_rows`."""


def check_reset_options(options: Mapping[str, Any] | None, count: int, needs_labels: bool) -> dict[str, Any]:
    """Reset options, validated, with numbers as arrays.

    Args:
        options: as given by the user.
        count: number of episodes of the source.
        needs_labels: whether the reward reads target boxes.

    Raises:
        VGGymError: an option is unknown, out of range, or asks for an episode that the reward cannot score.
    """
    given = dict(options or {})
    for name in given:
        if name not in RESET_OPTIONS:
            raise unknown("reset option", name, RESET_OPTIONS)
    if "index" in given:
        index = np.asarray(given["index"])
        if not np.issubdtype(index.dtype, np.integer):
            raise VGGymError(f"reset option index={given['index']!r} is not an integer")
        given["index"] = index.astype(np.int64)
        if not ((given["index"] >= 0) & (given["index"] < count)).all():
            raise VGGymError(f"reset option index={given['index']} is outside [0, {count})")
    if "query" in given and not isinstance(given["query"], Query):
        raise VGGymError(f"reset option query={given['query']!r} is no vg_gym.types.Query")
    if "query" in given and needs_labels:
        raise VGGymError("reset option query= has no box label, which this reward needs; use reward='clip'")
    if "initial_box" in given:
        given["initial_box"] = _boxes(given["initial_box"])
    return given


def _boxes(given: Any) -> np.ndarray:
    """Normalised boxes, (4,) or (B, 4)."""
    try:
        boxes = np.asarray(given, dtype=np.float32)
    except (TypeError, ValueError):
        boxes = np.zeros(0, dtype=np.float32)
    if boxes.ndim not in (1, 2) or boxes.shape[-1] != 4 or not box_ops.is_valid(boxes, (1, 1)).all():
        raise VGGymError(f"reset option initial_box={given} is no box x1 < x2, y1 < y2 inside [0, 1]")
    return boxes
