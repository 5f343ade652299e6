"""Confidence intervals of means over images: empirical likelihood, with part of an unseen image at the end.

Expressions of one image are not independent, so images are counted. Where nearly all boxes are right, a sample may lack
the images that a method fails on: a bootstrap of 25 images without a failure has width zero.
Each limit is therefore computed as if part of one more image lay at that end of the range, 0 or 1. Of right and wrong
answers alone this is close to the mid-P interval. ``experiments/interval_coverage.py`` measures how often the true
value is inside; docs/evaluation.md shows it.

Owen, "Empirical Likelihood", 2001; Chen, Variyath & Abraham, "Adjusted Empirical Likelihood", JCGS 2008;
Korn & Graubard, "Confidence intervals for proportions with small expected number of positive counts", 1998.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import stdtrit

LEVEL = 0.95
"""Share of draws in which an interval is to hold the true value."""
LEAST_IMAGES = 8
"""Number of images below which there is no interval."""
TOO_FEW = "too few images"
"""Text in place of an interval."""
UNSEEN = 0.5
"""Images that a limit of a mean adds at its end of the range."""
UNSEEN_OF_DIFFERENCE = 0.25
"""The same of a difference, whose range has an end on either side of 0."""
DOUBTED_IMAGES = 4.0
"""Images that must differ before the measured likeness of expressions of one image counts more than the worst case."""
BLOCK_VALUES = 2**21
"""Largest number of values of images that are worked on together."""

Interval = tuple[float, float]


def mean_interval(values: np.ndarray, groups: Sequence | np.ndarray) -> Interval | None:
    """Return the interval of the mean of values (N,) in [0, 1]; None with too few images.

    Args:
        values: IoUs, or right and wrong answers.
        groups: N image ids.

    >>> low, high = mean_interval(np.ones(100), groups=range(100))
    >>> round(low, 3), high
    (0.963, 1.0)
    """
    return as_interval(mean_intervals(np.asarray(values)[:, None], groups)[0])


def difference_interval(differences: np.ndarray, groups: Sequence | np.ndarray) -> Interval | None:
    """Return the interval of the mean of paired differences (N,) in [-1, 1]; None with too few images."""
    return as_interval(mean_intervals(np.asarray(differences)[:, None], groups, -1.0)[0])


def mean_intervals(values: np.ndarray, groups: Sequence | np.ndarray, low: float = 0.0) -> np.ndarray:
    """Return the intervals (K, 2) of the means of K columns; NaN with too few images.

    Args:
        values: (N, K), in [low, 1].
        groups: N image ids.
        low: 0, or -1 of paired differences.
    """
    images = _Images(groups)
    block = max(1, BLOCK_VALUES // max(1, images.count))
    parts = [_mean_intervals(values[:, at : at + block], images, low) for at in range(0, values.shape[1], block)]
    return np.concatenate(parts) if parts else np.empty((0, 2))


def gap_interval(
    values: np.ndarray, here: np.ndarray, there: np.ndarray, groups: Sequence | np.ndarray, low: float = 0.0
) -> Interval | None:
    """Return the interval of the difference of two means of values in [low, 1]; None with too few images.

    Args:
        values: (N,).
        here: bool (N,), which values the first mean is of.
        there: bool (N,), which values the mean that is subtracted is of.
        groups: N image ids.
        low: 0, or -1 of paired differences.
    """
    images = _Images(groups)
    gap, deviations, independent = 0.0, np.zeros((images.count, 1)), 0.0
    for part, sign in ((here, 1.0), (there, -1.0)):
        mean, count = values[part].mean(), part.sum()
        gap += sign * mean
        deviations += sign * images.sums(((values - mean) * part)[:, None]) * images.count / count
        independent += values[part].var() / count
    width = 1.0 - low
    limits = _limits(np.array([gap]), deviations, np.array([independent]), images, -width, width, UNSEEN_OF_DIFFERENCE)
    return as_interval(limits[0])


def as_interval(limits: np.ndarray) -> Interval | None:
    """Return two limits as numbers; None where they are NaN."""
    return None if np.isnan(limits).any() else (float(limits[0]), float(limits[1]))


class _Images:
    """The images that values are of."""

    def __init__(self, groups: Sequence | np.ndarray):
        _, self._member = np.unique(np.asarray(groups), return_inverse=True)
        self.count = int(self._member.max()) + 1 if len(self._member) else 0
        self.per_image = len(self._member) / max(1, self.count)
        self._order = np.argsort(self._member, kind="stable")
        self._starts = np.searchsorted(self._member[self._order], np.arange(self.count))

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Return the sums (G, K) of values (N, K) by image."""
        return (
            np.add.reduceat(values[self._order], self._starts, axis=0) if self.count else np.zeros((0, values.shape[1]))
        )


def _mean_intervals(values: np.ndarray, images: _Images, low: float) -> np.ndarray:
    means = values.mean(axis=0) if len(values) else np.zeros(values.shape[1])
    deviations = images.sums(values - means) / max(1e-12, images.per_image)
    independent = values.var(axis=0) / max(1, len(values)) if len(values) else means
    unseen = UNSEEN if low == 0 else UNSEEN_OF_DIFFERENCE
    return _limits(means, deviations, independent, images, low, 1.0, unseen)


def _limits(
    means: np.ndarray, deviations: np.ndarray, independent: np.ndarray, images: _Images, low: float, high: float,
    unseen: float,
) -> np.ndarray:  # fmt: skip
    """Return the limits (K, 2) of K means.

    Args:
        means: (K,).
        deviations: (G, K), by how much an image moves each mean, times G.
        independent: (K,), variance of each mean if expressions were independent.
        images: the G images.
        low: smallest possible mean.
        high: largest possible mean.
        unseen: images that are added at an end.
    """
    if images.count < LEAST_IMAGES:
        return np.full((len(means), 2), np.nan)
    part = _part_of_image(deviations, independent, images)
    critical = stdtrit(images.count - 1, (1 + LEVEL) / 2)
    below = means - _reach(-deviations, (means - low) * part, unseen, critical)
    above = means + _reach(deviations, (high - means) * part, unseen, critical)
    return np.clip(np.stack([below, above], axis=1), low, high)


def _part_of_image(deviations: np.ndarray, independent: np.ndarray, images: _Images) -> np.ndarray:
    """Return how many expressions of an image (K,) count as one, as a share: 1 where all answers to it are alike.

    It is the design effect, of which few images with failures say little: there it is taken towards the worst case.
    """
    squares = deviations**2
    total, fourth = squares.sum(axis=0), (squares**2).sum(axis=0)
    variance = total / (images.count - 1) / images.count
    effect = np.divide(variance, independent, out=np.full(len(total), images.per_image), where=independent > 0)
    share = np.clip(effect, 1, images.per_image) / images.per_image
    differing = np.divide(total**2, fourth, out=np.zeros(len(total)), where=fourth > 0)
    return (differing * share + DOUBTED_IMAGES) / (differing + DOUBTED_IMAGES)


def _reach(deviations: np.ndarray, end: np.ndarray, unseen: float, critical: float) -> np.ndarray:
    """Return how far above its estimate (K,) the empirical likelihood leaves a mean.

    Weights of images are tilted towards large deviations, by ``1 / (1 + tilt * distance from the largest)``, until
    their likelihood ratio is ``critical ** 2``. Its root is concave, so Newton's steps approach the tilt from below.

    Args:
        deviations: (G, K).
        end: (K,), deviation of an image at the end of the range.
        unseen: weight of that image.
        critical: quantile of t.
    """
    values = np.concatenate([deviations, end[None]])
    weights = np.ones((len(values), 1))
    weights[-1] = unseen
    total, top = weights.sum(), values.max(axis=0)
    distances = top - values
    spread = np.sqrt((weights * distances**2).mean(axis=0))
    distances = distances / np.where(spread > 0, spread, 1)
    tilt = np.full(len(top), critical / np.sqrt(total) / 4)
    for _ in range(60):
        parts = 1 / (1 + tilt * distances)
        weighted = weights * parts
        sums = weighted.sum(axis=0)
        ratio = np.sqrt(np.maximum(2 * (total * np.log(sums / total) - (weights * np.log(parts)).sum(axis=0)), 1e-300))
        slope = ((weighted * distances).sum(axis=0) - total * (weighted * parts * distances).sum(axis=0) / sums) / ratio
        step = np.where(spread > 0, (critical - ratio) / np.maximum(slope, 1e-300), 0)
        tilt = np.maximum(tilt + step, tilt / 4)
        if np.all(np.abs(step) <= 1e-9 * tilt):
            break
    tilted = weights / (1 + tilt * distances)
    return top - spread * (tilted * distances).sum(axis=0) / tilted.sum(axis=0)
