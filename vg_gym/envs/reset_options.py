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


def check_reset_options(
    options: Mapping[str, Any] | None, count: int, needs_labels: bool, rows: int = 1
) -> dict[str, Any]:
    """Reset options, validated, with numbers as arrays.

    Args:
        options: as given by the user.
        count: number of episodes of the source.
        needs_labels: whether the reward reads target boxes.
        rows: episodes that are started.

    Raises:
        VGGymError: an option is unknown, out of range, not one for all rows or one for each, or asks for an episode
            that the reward cannot score.
    """
    if options is not None and not isinstance(options, Mapping):
        raise VGGymError(f"reset options are names with values, e.g. {{'index': 3}}, and not {options!r:.100}")
    given = dict(options or {})
    for name in given:
        if name not in RESET_OPTIONS:
            raise unknown("reset option", name, RESET_OPTIONS)
    if "index" in given:
        index = np.asarray(given["index"])
        if not np.issubdtype(index.dtype, np.integer):
            raise VGGymError(f"reset option index={given['index']!r} is not an integer")
        given["index"] = index.astype(np.int64)
        if index.ndim and index.shape != (rows,):
            raise VGGymError(f"reset option index={given['index']!r} is not one number, nor {rows}, one for each row")
        if not ((given["index"] >= 0) & (given["index"] < count)).all():
            raise VGGymError(f"reset option index={given['index']} is outside [0, {count})")
    if "query" in given and not isinstance(given["query"], Query):
        raise VGGymError(f"reset option query={given['query']!r} is no vg_gym.types.Query")
    if "query" in given and needs_labels:
        raise VGGymError("reset option query= has no box label, which this reward needs; use reward='clip'")
    if "initial_box" in given:
        given["initial_box"] = _boxes(given["initial_box"], rows)
    return given


def _boxes(given: Any, rows: int) -> np.ndarray:
    """Normalised boxes, (4,) or (rows, 4)."""
    try:
        with np.errstate(over="ignore"):  # beyond float32 is infinite, and outside
            boxes = np.asarray(given, dtype=np.float32)
    except (TypeError, ValueError, OverflowError):
        boxes = np.zeros(0, dtype=np.float32)
    if boxes.shape not in ((4,), (rows, 4)) or not box_ops.is_valid(boxes, (1, 1)).all():
        raise VGGymError(
            f"reset option initial_box={given!r:.200} is no box x1 < x2, y1 < y2 inside [0, 1], nor one for each row"
        )
    return boxes
