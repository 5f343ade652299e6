"""Metrics of grounding and their confidence intervals: pure functions on arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

THRESHOLDS = (0.25, 0.5, 0.75)
RESAMPLES = 2000


def accuracy(ious: np.ndarray, threshold: float) -> float:
    """Acc@t: the share of IoUs that reach the threshold.

    >>> accuracy(np.array([0.2, 0.5, 0.9]), 0.5)
    0.6666666666666666
    """
    return float(np.mean(ious >= threshold))


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
    """
    _, member = np.unique(np.asarray(groups), return_inverse=True)
    sums, sizes = np.bincount(member, weights=values), np.bincount(member)
    rng = np.random.default_rng(seed)
    means = np.empty(resamples)
    for start in range(0, resamples, 200):  # blocks keep the count matrix small
        count = min(200, resamples - start)
        drawn = rng.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=count)
        means[start : start + count] = (drawn @ sums) / (drawn @ sizes)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def paired_difference(after: np.ndarray, before: np.ndarray, groups: Sequence, seed: int = 0) -> dict[str, object]:
    """Mean of ``after - before`` (N,) with its bootstrap interval over groups."""
    difference = after - before
    return {"mean": float(difference.mean()), "ci": list(bootstrap_ci(difference, groups, seed))}


def embedding_metrics(texts: np.ndarray, crops: np.ndarray) -> dict[str, float]:
    """Mean cosine, Euclidean distance and dot product of expression and crop embeddings, both (N, D)."""
    dot = np.einsum("nd,nd->n", texts, crops)
    lengths = np.linalg.norm(texts, axis=1) * np.linalg.norm(crops, axis=1)
    distance = np.linalg.norm(texts - crops, axis=1)
    return {
        "cosine": float(np.mean(dot / np.maximum(lengths, 1e-9))),
        "euclidean": float(distance.mean()),
        "dot": float(dot.mean()),
    }


def naming_accuracy(crops: np.ndarray, names: np.ndarray, true: np.ndarray) -> float:
    """Grounding accuracy: how often the nearest category name (C, D) of a crop (N, D) is the target's index (N,)."""
    return float(np.mean((crops @ names.T).argmax(axis=1) == true))
