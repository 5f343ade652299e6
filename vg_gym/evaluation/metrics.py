"""Metrics of grounding and their confidence intervals: pure functions on arrays."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

THRESHOLDS = (0.25, 0.5, 0.75)
"""IoUs from which a box counts as found."""
RESAMPLES = 2000
"""Bootstrap samples of an interval."""
BLOCK = 200
"""Of them, those that are drawn together; fewer where there are so many groups that the counts would take 256 MB."""
BLOCK_COUNTS = 2**25
"""Most counts that are drawn together."""


def hits(ious: np.ndarray, threshold: float = 0.5) -> np.ndarray:
    """1.0 where an IoU reaches the threshold, else 0.0.

    >>> hits(np.array([0.2, 0.5, 0.9])).tolist()
    [0.0, 1.0, 1.0]
    """
    return (ious >= threshold).astype(float)


def accuracy(ious: np.ndarray, threshold: float) -> float:
    """Acc@t: the share of IoUs that reach the threshold.

    >>> accuracy(np.array([0.2, 0.5, 0.9]), 0.5)
    0.6666666666666666
    """
    return float(np.mean(ious >= threshold))


def tightness(ious: np.ndarray, threshold: float = 0.5) -> float | None:
    """Mean IoU of the boxes that reach the threshold: how well a box fits where it is on the right object.

    None where no box does.

    >>> round(tightness(np.array([0.2, 0.6, 0.8])), 3)
    0.7
    """
    found = ious[ious >= threshold]
    return float(found.mean()) if len(found) else None


def summary(
    ious: np.ndarray, groups: Sequence | np.ndarray, seed: int = 0, gious: np.ndarray | None = None
) -> dict[str, Any]:
    """The columns that every row has: n, accuracies, mean IoU, tightness, and intervals.

    Args:
        ious: (N,).
        groups: N group labels (image ids) for the bootstrap.
        seed: of the bootstrap.
        gious: generalised IoUs (N,) (Rezatofighi et al., 2019), for a column of their accuracy.

    >>> row = summary(np.array([0.2, 0.6]), groups=[1, 2])
    >>> row["n"], row["acc@0.5"], round(row["mean_iou"], 3)
    (2, 0.5, 0.4)
    """
    return {
        "n": len(ious),
        **{f"acc@{threshold}": accuracy(ious, threshold) for threshold in THRESHOLDS},
        "mean_iou": float(ious.mean()),
        "tightness": tightness(ious),
        **({} if gious is None else {"giou_acc@0.5": accuracy(gious, 0.5)}),
        "acc@0.5_ci": bootstrap_ci(hits(ious), groups, seed),
        "mean_iou_ci": bootstrap_ci(ious, groups, seed),
    }


def bootstrap_ci(
    values: np.ndarray, groups: Sequence | np.ndarray, seed: int = 0, resamples: int = RESAMPLES, level: float = 0.95
) -> tuple[float, float]:
    """Percentile bootstrap interval of a mean, resampling whole groups (Field & Welsh, 2007).

    Expressions of one image are not independent, so images are drawn, not expressions.

    Args:
        values: (N,).
        groups: N group labels (image ids).
        seed: of the resampling.
        resamples: number of bootstrap samples.
        level: coverage.

    >>> bootstrap_ci(np.array([1.0, 1.0, 1.0]), groups=[1, 1, 2])
    (1.0, 1.0)
    """
    sums, sizes = _by_group(values, groups), _by_group(np.ones(len(values)), groups)
    means = np.concatenate([(drawn @ sums) / (drawn @ sizes) for drawn in _draws(len(sums), seed, resamples)])
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def resampled_means(values: np.ndarray, groups: Sequence | np.ndarray, seed: int = 0) -> np.ndarray:
    """Means (RESAMPLES, K) of the columns of values (N, K), of the groups that :func:`bootstrap_ci` draws.

    >>> resampled_means(np.array([[1.0, 2.0], [1.0, 2.0]]), groups=[1, 2])[0].tolist()
    [1.0, 2.0]
    """
    sums = np.stack([_by_group(column, groups) for column in values.T], axis=1)
    sizes = _by_group(np.ones(len(values)), groups)
    draws = _draws(len(sums), seed, RESAMPLES)
    return np.concatenate([(drawn @ sums) / (drawn @ sizes)[:, None] for drawn in draws])


def bootstrap_gap_ci(
    values: np.ndarray, here: np.ndarray, there: np.ndarray, groups: Sequence | np.ndarray, seed: int = 0,
    resamples: int = RESAMPLES, level: float = 0.95,
) -> tuple[float, float]:  # fmt: skip
    """As :func:`bootstrap_ci`, of the difference of two means.

    Args:
        values: (N,).
        here: bool (N,), which values the first mean is of.
        there: bool (N,), which values the mean that is subtracted is of.
        groups: N group labels (image ids).
        seed: of the resampling.
        resamples: number of bootstrap samples.
        level: coverage.

    >>> here = np.array([True, True, False, False])
    >>> bootstrap_gap_ci(np.array([1.0, 1.0, 0.0, 0.0]), here, ~here, groups=[1, 2, 1, 2])
    (1.0, 1.0)
    """
    parts = [(_by_group(values * part, groups), _by_group(part.astype(float), groups)) for part in (here, there)]
    gaps = []
    for drawn in _draws(len(parts[0][0]), seed, resamples):
        first, second = ((drawn @ sums) / np.maximum(drawn @ sizes, 1) for sums, sizes in parts)
        gaps.append(first - second)
    low, high = np.quantile(np.concatenate(gaps), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _by_group(values: np.ndarray, groups: Sequence | np.ndarray) -> np.ndarray:
    """Sums (G,) of values (N,) by group."""
    _, member = np.unique(np.asarray(groups), return_inverse=True)
    return np.bincount(member, weights=values)


@lru_cache(1)
def _draws(groups: int, seed: int, resamples: int) -> list[np.ndarray]:
    """How often each group is drawn, (block, G) at a time; kept, as all rows of a table ask for the same."""
    rng, chances = np.random.default_rng(seed), np.full(groups, 1 / groups)
    blocks, block = [], max(1, min(BLOCK, BLOCK_COUNTS // groups))
    for start in range(0, resamples, block):
        drawn = rng.multinomial(groups, chances, size=min(block, resamples - start))
        blocks.append(drawn.astype(np.min_scalar_type(drawn.max())))  # a byte for each, as they are about 1
    return blocks


def paired_difference(
    after: np.ndarray, before: np.ndarray, groups: Sequence | np.ndarray, seed: int = 0
) -> dict[str, object]:
    """Mean of ``after - before`` with its bootstrap interval over groups.

    Args:
        after: (N,).
        before: (N,), of the same samples.
        groups: N group labels (image ids).
        seed: of the bootstrap.

    >>> paired_difference(np.array([0.75, 0.5]), np.array([0.5, 0.25]), groups=[1, 2])
    {'mean': 0.25, 'ci': [0.25, 0.25]}
    """
    difference = after - before
    return {"mean": float(difference.mean()), "ci": list(bootstrap_ci(difference, groups, seed))}


def embedding_metrics(texts: np.ndarray, crops: np.ndarray) -> dict[str, np.ndarray]:
    """Cosines, Euclidean distances and dot products (N,) of expression and crop embeddings, both (N, D).

    >>> embedding_metrics(np.array([[1.0, 0.0]]), np.array([[0.0, 2.0]]))["cosine"].tolist()
    [0.0]
    """
    dot = np.einsum("nd,nd->n", texts, crops)
    lengths = np.linalg.norm(texts, axis=1) * np.linalg.norm(crops, axis=1)
    return {
        "cosine": dot / np.maximum(lengths, 1e-9),
        "euclidean": np.linalg.norm(texts - crops, axis=1),
        "dot": dot,
    }


def named(crops: np.ndarray, names: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Whether the nearest category name (C, D) of a crop (N, D) is the target's index (N,): bool (N,).

    The mean is grounding accuracy.
    """
    return (crops @ names.T).argmax(axis=1) == true
