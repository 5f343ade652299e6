"""Heat maps from segments: scores of overlapping segments, painted on the pixels that they cover.

The warmth of a pixel is exp(cosine / temperature), averaged over the segments that cover it (Li et al., "Adapting CLIP
For Phrase Localization Without Further Training", 2022). :mod:`vg_gym.baselines.box_search` searches a map for a box.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vg_gym.errors import VGGymError, unknown

Aggregate = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""(masks bool (R, P) that cover every pixel, warmths (R,)) -> warmth of the pixels (P,)."""


def _mean(masks: np.ndarray, warmths: np.ndarray) -> np.ndarray:
    return warmths @ masks.astype(np.float64) / masks.sum(axis=0)


def _max(masks: np.ndarray, warmths: np.ndarray) -> np.ndarray:
    return np.where(masks, warmths[:, None], -np.inf).max(axis=0)


def _min(masks: np.ndarray, warmths: np.ndarray) -> np.ndarray:
    # Negated, as published: a pixel becomes warm if any of its segments is cold.
    return -np.where(masks, warmths[:, None], np.inf).min(axis=0)


def _median(masks: np.ndarray, warmths: np.ndarray) -> np.ndarray:
    ordered = np.sort(np.where(masks, warmths[:, None], np.inf), axis=0)
    middle = [(masks.sum(axis=0)[None] - odd) // 2 for odd in (1, 0)]
    return sum(np.take_along_axis(ordered, rows, axis=0)[0] for rows in middle) / 2


AGGREGATES: dict[str, Aggregate] = {"mean": _mean, "max": _max, "median": _median, "min": _min}
"""Name -> aggregate over the segments of a pixel. ``min`` is negated, as published."""


def heat_map(masks: np.ndarray, scores: np.ndarray, temperature: float, aggregate: str = "mean") -> np.ndarray:
    """Return a heat map (H, W) float64 in [0, 1].

    The map is min-max normalised over the pixels that any segment covers; other pixels are 0.

    Args:
        masks: masks of the segments, bool (R, H, W); they may overlap.
        scores: cosines (R,) of the segments with a text.
        temperature: tau; with small values only the best segments are warm.
        aggregate: name in :data:`AGGREGATES`.

    Raises:
        VGGymError: the aggregate is unknown, ``masks`` is empty, or scores and masks do not match.

    >>> masks = np.array([[[1, 1, 0]], [[0, 1, 0]], [[1, 0, 0]]], dtype=bool)
    >>> heat_map(masks, np.log([4.0, 2.0, 8.0]), 1.0).tolist()
    [[1.0, 0.0, 0.0]]
    """
    if aggregate not in AGGREGATES:
        raise unknown("aggregate", aggregate, AGGREGATES)
    if not len(masks) or len(scores) != len(masks):
        raise VGGymError(f"a heat map needs segments and one score for each, got {len(masks)} and {len(scores)}")
    covered = masks.any(axis=0)
    painted = AGGREGATES[aggregate](masks[:, covered], _warmth(scores, temperature))
    heat = np.zeros(covered.shape)
    heat[covered] = _normalize(painted)
    return heat


def _warmth(scores: np.ndarray, temperature: float) -> np.ndarray:
    """Return exp(score / temperature), up to a common factor against overflow that normalisation removes."""
    scores = np.asarray(scores, dtype=np.float64)
    return np.exp((scores - scores.max(initial=-np.inf)) / temperature)


def _normalize(values: np.ndarray) -> np.ndarray:
    """Shift and scale values to [0, 1]; equal values become 0."""
    if not values.size:
        return values
    low, high = values.min(), values.max()
    return (values - low) / max(float(high - low), 1e-8)
