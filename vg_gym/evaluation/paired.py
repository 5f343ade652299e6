"""Paired differences of two methods on the same queries, overall and per kind of expression.

For data with empty or multiple targets the compared values are the F1 of sets of boxes, otherwise IoUs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from vg_gym.errors import VGGymError
from vg_gym.evaluation import metrics
from vg_gym.evaluation.intervals import Interval, as_interval, mean_intervals
from vg_gym.evaluation.results import POINTS, Results, check_one_setup

ALL = ""
"""Name of all kinds together. Expressions without a kind have the empty string, so no kind has this name."""


class Measure(NamedTuple):
    """Value of each query that is compared, and what makes an answer right."""

    mean: str
    """Name of the mean value."""
    accuracy: str
    """Name of the share of right answers."""
    columns: tuple[str, str]
    """Columns of both in ``results.json``."""
    threshold: float
    """Value from which an answer is right."""


IOU = Measure("mean IoU", "Acc@0.5", ("mean_iou", "acc@0.5"), 0.5)
SET_F1 = Measure("set F1", "Pr@F1", ("set_f1", "pr@f1"), 1.0)


@dataclass(frozen=True)
class Difference:
    """Difference of two methods on some queries: the values of method b minus those of method a."""

    kind: str
    """Kind of the expressions; :data:`ALL`: all kinds."""
    n: int
    """Number of expressions."""
    mean: float
    """Difference of the means."""
    mean_ci: Interval | None
    """95 % interval of ``mean`` over images; None with too few images."""
    accuracy: float
    """Difference of the shares of right answers."""
    accuracy_ci: Interval | None
    """95 % interval of ``accuracy``."""
    only_a: int
    """Number of expressions that only method a answers right."""
    only_b: int
    """Number of expressions that only method b answers right."""


class Pairing:
    """Paired differences between methods that answered the same queries.

    Args:
        values: method -> values (N,), IoUs or F1 of sets; an expression whose values are NaN is left out.
        kinds: N kinds of expression; expressions of kind ``""`` count in :data:`ALL` only.
        groups: N image ids.
        measure: :data:`IOU` or :data:`SET_F1`.

    >>> pairing = Pairing({"a": np.array([0.2, 0.6]), "b": np.array([0.7, 0.8])}, ["", ""], [1, 2])
    >>> [difference] = pairing.differences("a", "b")
    >>> round(difference.mean, 2), difference.accuracy, difference.only_a, difference.only_b
    (0.35, 0.5, 0, 1)
    """

    def __init__(
        self, values: Mapping[str, np.ndarray], kinds: Sequence[str], groups: Sequence, measure: Measure = IOU
    ):
        self.methods = list(values)
        columns = np.stack([values[name] for name in self.methods], axis=1)
        used = ~np.isnan(columns).all(axis=1)
        self._values = columns[used]
        self._hits = metrics.hits(self._values, measure.threshold)
        self._groups = np.asarray(groups)[used]
        labels = np.asarray(kinds)[used]
        everything = np.ones(len(labels), dtype=bool)
        self.parts = {ALL: everything, **{kind: labels == kind for kind in sorted(set(labels.tolist()) - {""})}}
        """Kind -> mask of its queries, bool (M,); all queries come first, and there is none without any query."""
        self.parts = {kind: part for kind, part in self.parts.items() if part.any()}

    def differences(self, a: str, b: str) -> list[Difference]:
        """Return the differences of method b from method a: all queries first, then each kind."""
        return [self._difference(kind, self.methods.index(a), self.methods.index(b)) for kind in self.parts]

    def _difference(self, kind: str, a: int, b: int) -> Difference:
        part = self.parts[kind]
        values, hits = self._values[part], self._hits[part]
        gains = np.stack([values[:, b] - values[:, a], hits[:, b] - hits[:, a]], axis=1)
        of_mean, of_accuracy = mean_intervals(gains, self._groups[part], -1.0)
        return Difference(
            kind,
            int(part.sum()),
            float(gains[:, 0].mean()),
            as_interval(of_mean),
            float(gains[:, 1].mean()),
            as_interval(of_accuracy),
            int((hits[:, a] > hits[:, b]).sum()),
            int((hits[:, b] > hits[:, a]).sum()),
        )


@dataclass(frozen=True)
class Pair:
    """Method of one run, method of another, and the differences between them."""

    a: str
    """Method of the first run."""
    b: str
    """Method of the second run."""
    measure: Measure
    """Compared values."""
    figures: dict[str, float]
    """Mean and share of right answers of each: ``mean_a``, ``mean_b``, ``accuracy_a``, ``accuracy_b``."""
    differences: list[Difference]
    """Differences of all queries, then of each kind."""

    @property
    def name(self) -> str:
        """Both names, or one name if they are equal."""
        return self.a if self.a == self.b else f"{self.b} against {self.a}"


def pair_results(first: Results, second: Results, a: str | None = None, b: str | None = None) -> list[Pair]:
    """Pair methods of two runs on the same queries; :func:`chosen_methods` chooses them.

    Args:
        first: first results, with ``queries.jsonl`` in their folder.
        second: second results; the first ones again, to compare two methods of one run.
        a: method of the first results; default: all methods in both.
        b: method of the second results; default: the same method.

    Raises:
        VGGymError: the results are not of the same queries, lack a method, or share none.
    """
    check_one_setup([first, second])
    names = chosen_methods(first, second, a, b)
    queries_a, queries_b = first.queries(), second.queries()
    measure = IOU if queries_a.one.all() else SET_F1
    pairs = []
    for name_a, name_b in names:
        values = {"a": queries_a.values(name_a), "b": queries_b.values(name_b)}
        pairing = Pairing(values, queries_a.kinds, queries_a.images, measure)
        rows = {"a": first.row(name_a), "b": second.row(name_b)}
        figures = {
            f"{figure}_{side}": row[column]
            for side, row in rows.items()
            for figure, column in zip(("mean", "accuracy"), measure.columns, strict=True)
        }
        pairs.append(Pair(name_a, name_b, measure, figures, pairing.differences("a", "b")))
    return pairs


def chosen_methods(first: Results, second: Results, a: str | None, b: str | None) -> list[tuple[str, str]]:
    """Return the pairs of methods to compare.

    These are the named methods; else all methods with the same name; else the only method of each run, without floors.

    Args:
        first: first results.
        second: second results, or the first ones again.
        a: method of the first results; None: not named.
        b: method of the second results; None: not named.

    Raises:
        VGGymError: a method does not exist or answers with points, or no method is named and the choice is ambiguous.
    """
    if a or b:
        named = (a or b or "", b or a or "")
        for row in (first.row(named[0]), second.row(named[1])):
            if row.get("answers") == POINTS:
                raise VGGymError(f"{row['method']} answers with points, which have no IoU to pair; leave it out")
        pairs = [named]
    else:
        mine, other = (
            [name for name in run.methods() if run.row(name).get("answers") != POINTS] for run in (first, second)
        )
        pairs = [(name, name) for name in mine if name in other]
        if not pairs and len(mine) == len(other) == 1:
            pairs = [(mine[0], other[0])]
    if not pairs:
        raise VGGymError(
            f"no method is in both: name one of each, --a of {', '.join(mine) or 'none'} and --b of "
            f"{', '.join(other) or 'none'}"
        )
    if first.path.resolve() == second.path.resolve() and any(x == y for x, y in pairs):
        raise VGGymError(f"{first.path} against itself: name two methods of it, --a NAME --b NAME")
    return pairs
