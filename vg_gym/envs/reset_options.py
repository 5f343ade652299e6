"""Validation of ``reset(options=...)``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym.errors import VGGymError, unknown
from vg_gym.types import Query

RESET_OPTIONS = ("index", "initial_box", "query")
"""Names of the options, see :meth:`vg_gym.envs.engine.GroundingEngine.reset_rows`."""


def check_reset_options(
    options: Mapping[str, Any] | None, count: int, needs_labels: bool, rows: int = 1
) -> dict[str, Any]:
    """Validate reset options and return them with numbers as arrays.

    Args:
        options: options of the user.
        count: number of episodes of the source.
        needs_labels: whether the reward reads target boxes.
        rows: number of episodes that start.

    Raises:
        VGGymError: an option is unknown or out of range, has neither one value nor one for each row, or selects an
            episode that the reward cannot score.
    """
    if options is not None and not isinstance(options, Mapping):
        raise VGGymError(
            f"reset options must be a mapping of names to values, e.g. {{'index': 3}}, not {options!r:.100}"
        )
    values = dict(options or {})
    for name in values:
        if name not in RESET_OPTIONS:
            raise unknown("reset option", name, RESET_OPTIONS)
    if "index" in values:
        index = np.asarray(values["index"])
        if not np.issubdtype(index.dtype, np.integer):
            raise VGGymError(f"reset option index={values['index']!r} is not an integer")
        values["index"] = index.astype(np.int64)
        if index.ndim and index.shape != (rows,):
            raise VGGymError(f"reset option index={values['index']!r} must be one number, or {rows}, one for each row")
        if not ((values["index"] >= 0) & (values["index"] < count)).all():
            raise VGGymError(f"reset option index={values['index']} is outside [0, {count})")
    if "query" in values and not isinstance(values["query"], Query):
        raise VGGymError(f"reset option query={values['query']!r} must be a vg_gym.types.Query")
    if "query" in values and needs_labels:
        raise VGGymError("reset option query= lacks a box label, which this reward needs; use reward='clip'")
    if "initial_box" in values:
        values["initial_box"] = _boxes(values["initial_box"], rows)
    return values


def _boxes(value: Any, rows: int) -> np.ndarray:
    """Validate normalised boxes and return them, float32 (4,) or (rows, 4)."""
    try:
        with np.errstate(over="ignore"):  # numbers beyond float32 become infinite, and fail the check below
            boxes = np.asarray(value, dtype=np.float32)
    except (TypeError, ValueError, OverflowError):
        boxes = np.zeros(0, dtype=np.float32)
    if boxes.shape not in ((4,), (rows, 4)) or not box_ops.is_valid(boxes, (1, 1)).all():
        raise VGGymError(
            f"reset option initial_box={value!r:.200} must be a box with x1 < x2, y1 < y2 inside [0, 1], or one for "
            "each row"
        )
    return boxes
