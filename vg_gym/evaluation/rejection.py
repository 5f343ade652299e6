"""Thresholds below which a method says that nothing fits, and calibration of its scores.

Both are fitted on a split that is not evaluated. Predictions keep their scores, and the threshold is applied when they
are scored, so that another threshold needs no new predictions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from vg_gym.data.rows import ALL
from vg_gym.errors import VGGymError, without_scores
from vg_gym.evaluation import set_metrics
from vg_gym.evaluation.columns import Answers, SampleColumns
from vg_gym.evaluation.evaluator import Evaluator, is_labeled
from vg_gym.evaluation.methods import GrounderFactory, TableRow
from vg_gym.evaluation.predictions import Lines
from vg_gym.evaluation.results import refuse_other_folders
from vg_gym.evaluation.set_columns import right_boxes
from vg_gym.types import GroundingDataset, MayLack

Predict = Callable[[Evaluator, Sequence[TableRow]], Mapping[str, Lines]]
"""Function that returns the predictions of rows on the samples of an evaluator."""
FOLDER = "fitted-on-{}"
"""Name of the folder with the predictions on the split of a fit."""


@dataclass(frozen=True)
class Fits:
    """Answers of the methods on the splits on which thresholds and temperatures are fitted."""

    threshold_split: str | None
    """Split of the thresholds; None: thresholds are not fitted."""
    temperature_split: str | None
    """Split of the temperatures; None: scores are not calibrated."""
    columns: Mapping[str, SampleColumns]
    """Split -> columns of its samples."""
    answers: Mapping[str, Mapping[str, Answers]]
    """Split -> row -> its answers."""

    def threshold(self, row: TableRow) -> dict[str, Any] | None:
        """Return the threshold of a row with its origin, the column ``nothing_below``; None without a threshold.

        None is fitted for a refiner, which leaves the decision to the method that it follows.
        """
        if row.nothing_below is not None:
            return {"value": row.nothing_below}
        split = self.threshold_split
        if split is None or row.refines or row.name not in self.answers[split]:
            return None
        answers, columns = self.answers[split][row.name], self.columns[split]
        used = np.isfinite(answers.scores) & (columns.counts > 0)
        if not used.any():
            return None
        value = set_metrics.fit_threshold(answers.scores[used], used[used])
        refused = set_metrics.MAX_REFUSED_SHARE
        return {"value": value, "fitted_on": split, "n": int(used.sum()), "max_refused": refused}

    def calibration(self, row: TableRow, answers: Answers, columns: SampleColumns) -> dict[str, Any] | None:
        """Return the temperature of a row's scores with ECE before and after; None without scores from 0 to 1.

        Args:
            row: the row.
            answers: its answers on the evaluated split, without a threshold.
            columns: columns of the evaluated samples.
        """
        split = self.temperature_split
        if split is None or row.name not in self.answers[split]:
            return None
        fitted = probabilities(self.answers[split][row.name], self.columns[split])
        evaluated = probabilities(answers, columns)
        if fitted is None or evaluated is None:
            return None
        temperature = set_metrics.fit_temperature(*fitted)
        after = set_metrics.calibrated(evaluated[0], temperature)
        return {
            "temperature": temperature,
            "fitted_on": split,
            "n": len(fitted[0]),
            "ece": set_metrics.calibration_error(*evaluated),
            "ece_calibrated": set_metrics.calibration_error(after, evaluated[1]),
        }


def probabilities(answers: Answers, columns: SampleColumns) -> tuple[np.ndarray, np.ndarray] | None:
    """Return scores (M,) and whether their boxes are right, bool (M,); None if scores are not probabilities.

    Args:
        answers: N answers, of which M have a score.
        columns: columns of the N samples.
    """
    scored = np.isfinite(answers.scores)
    scores = answers.scores[scored]
    if not len(scores) or scores.min() < 0 or scores.max() > 1:
        return None
    return scores, right_boxes(answers, columns)[scored]


def open_fit_data(
    splits: Sequence[str], evaluated: str, open_split: Callable[[str], GroundingDataset]
) -> dict[str, GroundingDataset]:
    """Open the splits on which something is fitted.

    Args:
        splits: names of the splits.
        evaluated: name of the evaluated split.
        open_split: function from the name of a split to the data.

    Raises:
        VGGymError: a split is the evaluated one, or lacks true boxes.
    """
    data = {}
    for split in dict.fromkeys(splits):
        if evaluated in (split, ALL) or split == ALL:
            raise VGGymError(f"nothing is fitted on {split}, since {evaluated} is evaluated; name another split")
        dataset = data[split] = open_split(split)
        has_splits = not isinstance(dataset, MayLack) or bool(dataset.splits)
        if not (has_splits and is_labeled(dataset)):
            lack = "true boxes to fit on" if has_splits else f"splits, so that {evaluated} is the same data"
            raise VGGymError(f"{dataset.name}/{split} has no {lack}; leave --fit-threshold and --calibrate out")
    return data


def fitted_rows(rows: Sequence[TableRow], lines: Mapping[str, Lines]) -> list[TableRow]:
    """Return the methods whose answers have scores, and those from whose boxes they start."""
    scored = [
        row
        for row in rows
        if row.role in ("method", "refined") and isinstance(row.factory, GrounderFactory)
        if row.name in lines and np.isfinite(Answers.of(lines[row.name]).scores).any()
    ]
    needed = {row.name for row in scored} | {row.refines for row in scored}
    return [row for row in rows if row.name in needed]


def fit(
    data: Mapping[str, GroundingDataset],
    rows: Sequence[TableRow],
    predict: Predict,
    out: Path,
    threshold_split: str | None,
    temperature_split: str | None,
    **options: Any,
) -> Fits:
    """Predict with methods on the splits of the fits.

    Args:
        data: split -> its data.
        rows: rows of the methods.
        predict: function that predicts.
        out: folder of the results; the predictions are saved in a folder of it.
        threshold_split: split of the thresholds.
        temperature_split: split of the temperatures.
        **options: ``settings`` of the evaluation and other arguments of the evaluator.
    """
    columns, answers = {}, {}
    settings = options.pop("settings")
    for split, dataset in data.items():
        folder = out / FOLDER.format(quote(split, safe=""))
        refuse_other_folders(folder)
        evaluator = Evaluator(dataset, folder, {**settings, "split": split}, **options)
        columns[split] = evaluator.columns
        answers[split] = {name: Answers.of(lines) for name, lines in predict(evaluator, rows).items()}
        evaluator.tidy()
    return Fits(threshold_split, temperature_split, columns, answers)


def check_scored(row: TableRow, answers: Answers) -> None:
    """Raise an error if a threshold is given for a method without scores.

    Raises:
        VGGymError: no answer has a score.
    """
    if row.nothing_below is not None and answers.has_box.any() and not np.isfinite(answers.scores).any():
        raise without_scores(row.name, row.nothing_below)
