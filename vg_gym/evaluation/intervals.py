"""Confidence intervals of means over images: empirical likelihood, with part of an unseen image at the end.

Expressions of one image are not independent, so the images are the units. Where nearly all boxes are right, a sample
may contain no image that the method fails on: a bootstrap of 25 images without a failure has width zero.
Each limit is therefore computed as if part of one more image lay at that end of the range, 0 or 1. For right and wrong
answers this is close to the mid-P interval. ``experiments/interval_coverage.py`` measures how often intervals
contain the true value; docs/evaluation.md shows the result.

Owen, "Empirical Likelihood", 2001; Chen, Variyath & Abraham, "Adjusted Empirical Likelihood", JCGS 2008;
Korn & Graubard, "Confidence intervals for proportions with small expected number of positive counts", 1998.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import stdtrit

LEVEL = 0.95
"""Confidence level: share of samples whose interval should contain the true value."""
MIN_IMAGES = 8
"""Smallest number of images for which an interval is computed."""
TOO_FEW = "too few images"
"""Text in place of an interval."""
SIGNED = "{:+.3f} to {:+.3f}"
"""Format of the interval of a difference; see :func:`interval_text`."""
UNSEEN = 0.5
"""Part of an image that is added at the end of the range for each limit of a mean."""
UNSEEN_OF_DIFFERENCE = 0.25
"""The same for a difference, whose range has an end on either side of 0."""
DOUBTED_IMAGES = 4.0
"""Number of differing images at which the measured correlation within images weighs as much as the worst case."""
BLOCK_VALUES = 2**21
"""Largest number of values that are processed at the same time."""

Interval = tuple[float, float]


def mean_interval(values: np.ndarray, groups: Sequence | np.ndarray) -> Interval | None:
    """Return the interval of the mean of values (N,) in [0, 1]; None with too few images.

    Args:
        values: IoUs, or 1 for right and 0 for wrong answers.
        groups: N image ids.

    >>> low, high = mean_interval(np.ones(100), groups=range(100))
    >>> round(low, 3), high
    (0.966, 1.0)
    """
    return as_interval(mean_intervals(np.asarray(values)[:, None], groups)[0])


def difference_interval(differences: np.ndarray, groups: Sequence | np.ndarray) -> Interval | None:
    """Return the interval of the mean of paired differences (N,) in [-1, 1]; None with too few images."""
    return as_interval(mean_intervals(np.asarray(differences)[:, None], groups, -1.0)[0])


def mean_intervals(values: np.ndarray, groups: Sequence | np.ndarray, low: float = 0.0) -> np.ndarray:
    """Return the intervals (K, 2) of the means of K columns; NaN with too few images.

    Args:
        values: values in [low, 1], (N, K).
        groups: N image ids.
        low: 0, or -1 for paired differences.
    """
    images = _Images(groups)
    block = max(1, BLOCK_VALUES // max(1, images.count))
    parts = [_mean_intervals(values[:, at : at + block], images, low) for at in range(0, values.shape[1], block)]
    return np.concatenate(parts) if parts else np.empty((0, 2))


def gap_interval(
    values: np.ndarray, first: np.ndarray, second: np.ndarray, groups: Sequence | np.ndarray, low: float = 0.0
) -> Interval | None:
    """Return the interval of the difference of two means of values in [low, 1]; None with too few images.

    Args:
        values: all values, (N,).
        first: mask of the values of the first mean, bool (N,).
        second: mask of the values of the second mean, which is subtracted, bool (N,).
        groups: N image ids.
        low: 0, or -1 for paired differences.
    """
    images = _Images(groups)
    gap, deviations, independent = 0.0, np.zeros((images.count, 1)), 0.0
    for part, sign in ((first, 1.0), (second, -1.0)):
        mean, count = values[part].mean(), part.sum()
        gap += sign * mean
        deviations += sign * images.sums(((values - mean) * part)[:, None]) * images.count / count
        independent += values[part].var() / count
    width = 1.0 - low
    limits = _limits(np.array([gap]), deviations, np.array([independent]), images, -width, width, UNSEEN_OF_DIFFERENCE)
    return as_interval(limits[0])


def as_interval(limits: np.ndarray) -> Interval | None:
    """Return two limits as numbers; None if they are NaN."""
    return None if np.isnan(limits).any() else (float(limits[0]), float(limits[1]))


def interval_text(ci: Sequence[float] | None, form: str = "{:.3f}-{:.3f}") -> str:
    """Return an interval as text.

    >>> interval_text((0.25, 0.5)), interval_text((-0.5, 0.25), SIGNED), interval_text(None)
    ('0.250-0.500', '-0.500 to +0.250', 'too few images')
    """
    return TOO_FEW if ci is None else form.format(*ci)


class _Images:
    """Images of the values, for sums by image."""

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
        means: K means.
        deviations: amount by which each image moves each mean, times G, (G, K).
        independent: variance of each mean if expressions were independent, (K,).
        images: the G images.
        low: smallest possible mean.
        high: largest possible mean.
        unseen: part of an image that is added at an end.
    """
    if images.count < MIN_IMAGES:
        return np.full((len(means), 2), np.nan)
    part = _part_of_image(deviations, independent, images)
    critical = stdtrit(images.count - 1, (1 + LEVEL) / 2)
    below = means - _reach(-deviations, (means - low) * part, unseen, critical)
    above = means + _reach(deviations, (high - means) * part, unseen, critical)
    return np.clip(np.stack([below, above], axis=1), low, high)


def _part_of_image(deviations: np.ndarray, independent: np.ndarray, images: _Images) -> np.ndarray:
    """Return the design effect as a share of the expressions per image (K,): 1 where all answers of an image are equal.

    Few images with failures give a poor estimate, so the share is moved towards the worst case, 1.
    """
    squares = deviations**2
    total, fourth = squares.sum(axis=0), (squares**2).sum(axis=0)
    variance = total / (images.count - 1) / images.count
    effect = np.divide(variance, independent, out=np.full(len(total), images.per_image), where=independent > 0)
    share = np.clip(effect, 1, images.per_image) / images.per_image
    differing = np.divide(total**2, fourth, out=np.zeros(len(total)), where=fourth > 0)
    return (differing * share + DOUBTED_IMAGES) / (differing + DOUBTED_IMAGES)


def _reach(deviations: np.ndarray, end: np.ndarray, unseen: float, critical: float) -> np.ndarray:
    """Return the distance (K,) from each mean to the upper limit of its empirical likelihood.

    Weights of images are tilted towards large deviations, by ``1 / (1 + tilt * distance from the largest)``, until
    their likelihood ratio is ``critical ** 2``. Its root is concave, so Newton's steps approach the tilt from below.

    Args:
        deviations: deviations of the images, (G, K).
        end: deviation of an image at the end of the range, (K,).
        unseen: weight of that image.
        critical: quantile of Student's t distribution.
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
