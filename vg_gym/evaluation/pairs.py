"""Paired differences of two methods on the same queries, overall and per kind of expression."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vg_gym.evaluation import metrics
from vg_gym.evaluation.intervals import Interval, as_interval, mean_intervals

ALL = ""
"""Name of all kinds together. Expressions without a kind have the empty string, so no kind has this name."""


@dataclass(frozen=True)
class Difference:
    """Difference of two methods on some queries: the values of method b minus those of method a."""

    kind: str
    """Kind of the expressions; :data:`ALL`: all kinds."""
    n: int
    """Number of expressions."""
    mean_iou: float
    """Difference of mean IoU."""
    mean_iou_ci: Interval | None
    """95 % interval of ``mean_iou`` over images; None with too few images."""
    accuracy: float
    """Difference of Acc@0.5."""
    accuracy_ci: Interval | None
    """95 % interval of ``accuracy``."""
    only_a: int
    """Number of expressions that only method a finds (IoU >= 0.5)."""
    only_b: int
    """Number of expressions that only method b finds."""


class Pairing:
    """Paired differences between methods that answered the same queries.

    Args:
        ious: method -> IoUs (N,).
        kinds: N kinds of expression; expressions of kind ``""`` count in :data:`ALL` only.
        groups: N image ids.

    >>> pairing = Pairing({"a": np.array([0.2, 0.6]), "b": np.array([0.7, 0.8])}, ["", ""], [1, 2])
    >>> [difference] = pairing.differences("a", "b")
    >>> round(difference.mean_iou, 2), difference.accuracy, difference.only_a, difference.only_b
    (0.35, 0.5, 0, 1)
    """

    def __init__(self, ious: Mapping[str, np.ndarray], kinds: Sequence[str], groups: Sequence):
        self.methods = list(ious)
        self._values = np.stack([ious[name] for name in self.methods], axis=1)
        self._hits = metrics.hits(self._values)
        self._groups = np.asarray(groups)
        labels = np.asarray(kinds)
        everything = np.ones(len(labels), dtype=bool)
        self.parts = {ALL: everything, **{kind: labels == kind for kind in sorted(set(kinds) - {""})}}
        """Kind -> mask of its queries, bool (N,); all queries come first."""

    def differences(self, a: str, b: str) -> list[Difference]:
        """Return the differences of method b from method a: all queries first, then each kind."""
        return [self._difference(kind, self.methods.index(a), self.methods.index(b)) for kind in self.parts]

    def _difference(self, kind: str, a: int, b: int) -> Difference:
        part = self.parts[kind]
        values, hits = self._values[part], self._hits[part]
        gains = np.stack([values[:, b] - values[:, a], hits[:, b] - hits[:, a]], axis=1)
        of_iou, of_accuracy = mean_intervals(gains, self._groups[part], -1.0)
        return Difference(
            kind,
            int(part.sum()),
            float(gains[:, 0].mean()),
            as_interval(of_iou),
            float(gains[:, 1].mean()),
            as_interval(of_accuracy),
            int((hits[:, a] > hits[:, b]).sum()),
            int((hits[:, b] > hits[:, a]).sum()),
        )
