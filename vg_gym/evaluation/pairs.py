"""Methods paired: the difference of two on the same queries, overall and per kind of expression."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from vg_gym.evaluation import metrics

ALL = ""
"""Stands for all kinds together; it is the kind of expressions that have none, so no kind has this name."""
LEVEL = 0.95
"""Of intervals."""


@dataclass(frozen=True)
class Difference:
    """How much better a method b is than a method a on some queries: figures of b minus those of a."""

    kind: str
    """Of the expressions; :data:`ALL`: of all."""
    n: int
    """How many there are."""
    mean_iou: float
    """Difference of mean IoU."""
    mean_iou_ci: tuple[float, float]
    """Its 95 % bootstrap interval over images."""
    accuracy: float
    """Difference of Acc@0.5."""
    accuracy_ci: tuple[float, float]
    """Its interval."""
    only_a: int
    """Expressions that a alone finds, with IoU >= 0.5."""
    only_b: int
    """Expressions that b alone finds."""


class Pairing:
    """Differences of any two of some methods that answered the same queries.

    All pairs share the images that are drawn, so that many cost hardly more than one.

    Args:
        ious: method -> IoUs (N,).
        kinds: N kinds of expression; those of kind ``""`` count in :data:`ALL` only.
        groups: N group labels (image ids) for the bootstrap.
        seed: of the bootstrap.

    >>> pairing = Pairing({"a": np.array([0.2, 0.6]), "b": np.array([0.7, 0.8])}, ["", ""], [1, 2])
    >>> [difference] = pairing.differences("a", "b")
    >>> round(difference.mean_iou, 2), difference.accuracy, difference.only_a, difference.only_b
    (0.35, 0.5, 0, 1)
    """

    def __init__(self, ious: Mapping[str, np.ndarray], kinds: Sequence[str], groups: Sequence, seed: int = 0):
        self.methods = list(ious)
        self._values = np.stack([ious[name] for name in self.methods], axis=1)
        self._hits = metrics.hits(self._values)
        self._groups, self._seed = np.asarray(groups), seed
        labels = np.asarray(kinds)
        everything = np.ones(len(labels), dtype=bool)
        self.parts = {ALL: everything, **{kind: labels == kind for kind in sorted(set(kinds) - {""})}}
        """Kind -> which queries (N,) are of it; all of them first."""
        self._resampled = lru_cache(None)(self._resample)

    def differences(self, a: str, b: str) -> list[Difference]:
        """The differences of a method b from a method a: of all queries, then of each kind."""
        return [self._difference(kind, self.methods.index(a), self.methods.index(b)) for kind in self.parts]

    def _difference(self, kind: str, a: int, b: int) -> Difference:
        part = self.parts[kind]
        values, hits = self._values[part], self._hits[part]
        means, accuracies = self._resampled(kind)
        return Difference(
            kind,
            int(part.sum()),
            float((values[:, b] - values[:, a]).mean()),
            _interval(means[:, b] - means[:, a]),
            float((hits[:, b] - hits[:, a]).mean()),
            _interval(accuracies[:, b] - accuracies[:, a]),
            int((hits[:, a] > hits[:, b]).sum()),
            int((hits[:, b] > hits[:, a]).sum()),
        )

    def _resample(self, kind: str) -> tuple[np.ndarray, np.ndarray]:
        """Resampled mean IoUs and accuracies, each (resamples, methods)."""
        part = self.parts[kind]
        both = np.concatenate([self._values[part], self._hits[part]], axis=1)
        means = metrics.resampled_means(both, self._groups[part], self._seed)
        return means[:, : len(self.methods)], means[:, len(self.methods) :]


def _interval(resampled: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
