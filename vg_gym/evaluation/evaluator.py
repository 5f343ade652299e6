"""One evaluator for all methods: it collects predictions, which are resumable, and computes one row per method.

A method receives only queries, in this process or another. Its predictions are appended to ``predictions.jsonl`` batch
by batch. A killed run resumes where it stopped; a run on other queries is rejected. Saved predictions are reused if
everything that they depend on is unchanged, else they are computed again, and a message says which.
A failed query scores 0 and is counted. A query whose image cannot be read fails for every method. If the whole first
batch of a method fails for one reason, the run ends.

Only some numbers of each sample stay in memory: samples are created again on access, and predictions are read from the
file. A million samples take a few hundred megabytes.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from vg_gym import boxes as box_ops
from vg_gym.clip.encoder import ClipEncoder
from vg_gym.errors import VGGymError
from vg_gym.evaluation import metrics, probes, set_columns
from vg_gym.evaluation.columns import Answers, SampleColumns
from vg_gym.evaluation.lines import Asked, Batch, Line, common_failure, failed, query_of, with_boxes
from vg_gym.evaluation.predictions import Lines, PredictionFile, key_hashes
from vg_gym.evaluation.results import POINTS, SET_FIGURES, write_queries, write_results
from vg_gym.registry.identity import source_of
from vg_gym.registry.seen import ANSWER
from vg_gym.runtime.command_stages import label
from vg_gym.runtime.runners import Factory, LocalRunner, Runner
from vg_gym.storage.files import fingerprint
from vg_gym.storage.lazy_sequence import LazySequence
from vg_gym.types import GroundingDataset, MayLack, PlantsPrior, Query, Sample

SAMPLES_IN_MEMORY = 16_384
"""Number of recent samples that stay in memory."""


@dataclass
class Evaluator:
    """Evaluator of methods on the same samples, which saves their predictions.

    Raises:
        VGGymError: the data set is empty, none of its images can be read, two samples have the same key, or ``out``
            contains predictions with other settings.
    """

    dataset: GroundingDataset
    """Data set on which methods are evaluated."""
    out: Path
    """Folder for the results."""
    settings: dict[str, Any]
    """Settings that must be the same in a resumed run (data set, split, limit, seed)."""
    limit: int | None = None
    """Number of samples to evaluate, from the first on; None: all."""
    clip: ClipEncoder | None = None
    """Encoder for the crop metrics; None leaves these out."""
    seed: int = 0
    """Seed of the probes."""
    batch_size: int = 64
    """Number of queries per call of a method."""
    runner: Runner = field(default_factory=LocalRunner)
    """Runner in which methods predict. Predictions do not depend on it."""
    fresh: bool = False
    """Delete earlier predictions in ``out``."""
    retry_failures: bool = False
    """Retry queries that failed in earlier runs."""
    prior: np.ndarray | None = field(default=None, init=False)
    """Best constant box for the prior gap, normalised (4,); None leaves the gap out."""
    sets: bool = field(default=False, init=False)
    """Add the columns of :mod:`vg_gym.evaluation.set_columns`; true for data with empty or multiple targets."""
    rows: list[dict[str, Any]] = field(default_factory=list, init=False)
    """One row per method, with the columns of ``results.json``, ``ious``, and ``f1`` for data with sets."""
    lines: dict[str, Sequence[Line]] = field(default_factory=dict, init=False)
    """Row -> its predictions."""
    reused: dict[str, int] = field(default_factory=dict, init=False)
    """Row -> number of its predictions, including its probes, that come from an earlier run."""
    failed: dict[str, str] = field(default_factory=dict, init=False)
    """Method without any box -> reason why its first query failed."""

    def __post_init__(self):
        count = len(self.dataset) if self.limit is None else min(self.limit, len(self.dataset))
        if not count:
            raise VGGymError(f"{self.dataset.name}/{self.dataset.split} has no samples to evaluate")
        self.samples: Sequence[Sample] = LazySequence(count, self.dataset.__getitem__, keep=SAMPLES_IN_MEMORY)
        self.queries: Sequence[Query] = LazySequence(count, lambda index: self.samples[index].query)
        self.labeled = is_labeled(self.dataset)
        where = f"{self.dataset.name}/{self.dataset.split}"
        self.columns = SampleColumns(self.samples, where, decode=self.clip is not None)
        self.sets = self.columns.has_sets
        if self.columns.unreadable:
            self._report_unreadable()
        settings = {**self.settings, "content": self.columns.content}
        self._saved = PredictionFile(self.out, settings, self.fresh)
        self._outdated = False

    def _report_unreadable(self) -> None:
        first, reason = next(iter(self.columns.unreadable.items()))
        text = f"the images of {len(self.columns.unreadable):,} of {len(self.queries):,} queries cannot be read"
        if len(self.columns.unreadable) == len(self.queries):
            raise VGGymError(f"{self.dataset.name}/{self.dataset.split}: {text}; the first: {reason}")
        print(
            f"{text} and are failures of every method; the first, {self.queries[first].key}: {reason}", file=sys.stderr
        )

    def predict(
        self,
        name: str,
        factory: Factory[Batch, list[Line]],
        initial_boxes: np.ndarray | None = None,
        asked: Sequence[Asked] | None = None,
        inputs: Mapping[str, str] | None = None,
    ) -> Lines:
        """Return all predictions of a method; saved ones are reused if everything that they depend on is unchanged.

        Args:
            name: name of the method in the file and in the table.
            factory: factory of the method, for this process or those of the runner; see
                :mod:`vg_gym.evaluation.methods`.
            initial_boxes: boxes to start from, pixels (N, 4).
            asked: input of the method for each sample: altered queries for the probes, the samples themselves for a
                ceiling. Default: the queries of the samples.
            inputs: name -> version or hash of everything that the predictions depend on, except the images and the
                initial boxes.

        Raises:
            VGGymError: all queries of the first batch failed for one reason.
        """
        method_inputs: Sequence[Asked] = self.queries if asked is None else asked
        hashes = self._hashes_of(method_inputs)
        self._renew(name, {**(inputs or {}), **self._data_inputs}, initial_boxes, hashes)
        untried, missing = not self._saved.knows(name), self._saved.missing(name, hashes, self.retry_failures)
        lost = [i for i in missing.tolist() if i in self.columns.unreadable]
        missing = np.setdiff1d(missing, lost)
        with tqdm(total=len(hashes), initial=len(hashes) - len(missing), desc=label(name), unit="query") as bar:
            for _, lines in self.runner.map(factory, self._batches(method_inputs, missing, initial_boxes)):
                if untried and (reason := common_failure(lines)):
                    raise VGGymError(
                        f"{name} fails on every query of its first batch: {reason}; --debug shows the traceback"
                    )
                untried = False
                self._saved.append(name, lines)
                bar.update(len(lines))
        self._saved.append(name, [failed(query_of(method_inputs[i]).key, self.columns.unreadable[i]) for i in lost])
        return self._saved.lines(name, hashes)

    @cached_property
    def _data_inputs(self) -> dict[str, str]:
        """Hashes that all predictions depend on: images, and source code of a data set from outside the package."""
        return {"pictures": self.columns.pictures, "data set": source_of(type(self.dataset))[:16]}

    def _renew(self, name: str, inputs: dict[str, str], initial_boxes: np.ndarray | None, hashes: np.ndarray) -> None:
        """Discard saved predictions if their inputs have changed, and print whether they are reused."""
        if initial_boxes is not None:
            inputs["initial boxes"] = fingerprint(np.ascontiguousarray(initial_boxes).tobytes())[:16]
        if changed := self._saved.renew(name, inputs):
            self._outdated = True
            print(f"{name}: {', '.join(changed)} changed, so its saved predictions are computed again", file=sys.stderr)
        elif count := len(hashes) - len(self._saved.missing(name, hashes)):
            self.reused[name] = self.reused.get(name, 0) + count
            same = "their inputs are unchanged"
            print(f"{name}: {count:,} of {len(hashes):,} predictions are reused; {same}", file=sys.stderr)

    def _hashes_of(self, method_inputs: Sequence[Asked]) -> np.ndarray:
        """Return the hashes (N,) of the keys of a method's inputs."""
        if method_inputs is self.queries or method_inputs is self.samples:
            return self.columns.hashes
        return key_hashes((query_of(x).key for x in method_inputs), len(method_inputs))

    def _batches(
        self, method_inputs: Sequence[Asked], rows: np.ndarray, initial_boxes: np.ndarray | None
    ) -> LazySequence[Batch]:
        """Return batches of a method's inputs for some rows; each batch is created on access.

        Images keep the order of the data set. The queries of an image are ordered by their opaque keys, because their
        order in the data set may reveal the kind of expression, or which queries have the same object.
        """
        rows = rows[np.argsort(self.columns.turns[rows])]

        def batch(number: int) -> Batch:
            part = rows[number * self.batch_size : (number + 1) * self.batch_size]
            return [method_inputs[i] for i in part.tolist()], None if initial_boxes is None else initial_boxes[part]

        return LazySequence(-(-len(rows) // self.batch_size), batch)

    def add(self, name: str, role: str, answers: Answers, **extra: Any) -> np.ndarray:
        """Compute and add the row of a method, and return its IoUs (N,).

        A ``method`` with proposals gets a ceiling row too: the best proposal of each query.

        Args:
            name: name of the method.
            role: ``floor``, ``method``, ``refined``, or ``ceiling`` followed by what it bounds.
            answers: predictions of the method.
            **extra: additional columns.
        """
        ious = self._add_scores(name, role, answers, extra)
        if role == "method" and answers.with_proposals.any():
            role = f"ceiling of {name}'s proposals (sees the answer)"
            self._add_scores(f"{name} proposal-oracle", role, self._best_proposals(answers), {"seen": ANSWER})
        return ious

    def count(self, name: str, role: str, answers: Answers) -> dict[str, Any]:
        """Add a row with the columns that need no true box, and return it; see :meth:`add`."""
        row = {
            "method": name,
            "role": role,
            "dataset": self.dataset.name,
            "split": self.dataset.split,
            "n": len(answers.boxes),
            "ms_per_query": _mean(answers.ms),
            "evaluations": _mean(answers.evaluations),
            "failures": int(answers.failures.sum()),
            **({"unparsed": int(answers.unparsed.sum())} if answers.has_text.any() else {}),
            **{name: mean for name, costs in answers.usage.items() if (mean := _mean(costs)) is not None},
            **({"reused": self.reused[name]} if name in self.reused else {}),
            # Weights that answered and how they were prompted: one source, unless weights changed during the run.
            **({"source": " | ".join(answers.sources)} if answers.sources else {}),
        }
        if not (answers.has_box | answers.nothing | answers.has_point).any():
            self.failed[name] = str(answers.lines[0]["failure"])
        self.rows.append(row)
        return row

    def _add_pointing(self, name: str, role: str, answers: Answers, extra: Mapping[str, Any]) -> np.ndarray:
        """Add the row of a method that answers with points: its pointing accuracy. All columns of boxes are None."""
        row, ious = self.count(name, role, answers), np.full(len(answers.boxes), np.nan)
        row.update(
            **{**metrics.summary(ious[:0], [], ious[:0]), "n": len(ious)},
            **dict.fromkeys((*metrics.CLIP_METRICS, *probes.COLUMNS)),
            **(dict.fromkeys(SET_FIGURES) if self.sets else {}),
            **{name: value for name, value in extra.items() if name != "probes"},
            **set_columns.single_columns(answers, self.columns),
            answers=POINTS,
            ious=ious,
            by_cell=[None] * probes.CELLS,
            by_kind=set_columns.pointing_by_kind(answers, self.columns),
        )
        self.lines[name] = answers.lines
        return ious

    def _add_scores(self, name: str, role: str, answers: Answers, extra: Mapping[str, Any]) -> np.ndarray:
        if answers.has_point.any():
            return self._add_pointing(name, role, answers, extra)
        (ious, gious, boxes), columns, one = self.score(answers), self.columns, self.columns.one
        row = self.count(name, role, answers)
        row.update(
            **{**metrics.summary(ious[one], columns.groups[one], gious[one]), "n": len(ious)},
            **self._clip_metrics(boxes),
            **self._probes(ious, boxes),
            ious=ious.astype(np.float64),
            **extra,
            **set_columns.single_columns(answers, columns),
        )
        if self.sets:
            f1 = set_columns.set_f1s(answers, columns)
            row.update(set_columns.set_columns(answers, columns, f1), f1=f1)
            for kind, figures in set_columns.by_set_kind(f1, columns.kinds).items():
                row["by_kind"][kind] = {"mean_iou": None, "acc@0.5": None, **row["by_kind"].get(kind, {}), **figures}
        self.lines[name] = answers.lines
        return ious

    def _best_proposals(self, answers: Answers) -> Answers:
        """Return answers with the best proposal for each target of the queries that have proposals."""
        lines, best = answers.lines, {}
        for row in np.flatnonzero(answers.with_proposals).tolist():
            proposals = np.array(lines[row]["proposals"], dtype=np.float32)
            overlaps = box_ops.pixel_iou(proposals[:, None], self.columns.targets_of(row)[None])
            best[row] = proposals[np.unique(overlaps.argmax(axis=0))].tolist()

        def line_of(row: int) -> Line:
            line = {name: value for name, value in lines[row].items() if name != "score"}
            return with_boxes(line, best[row]) if row in best else line

        return Answers.of(LazySequence(len(lines), line_of))

    def boxes(self, answers: Answers) -> np.ndarray:
        """Return the best boxes of predictions, pixels (N, 4); the whole image where there is none."""
        return np.where(answers.has_box[:, None], answers.boxes, box_ops.FULL * self.columns.scales)

    def score(self, answers: Answers) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return IoUs (N,), GIoUs (N,) and normalised boxes (N, 4) of predictions.

        An answer without a box has IoU 0 and GIoU -1. Both are NaN for samples without exactly one true box.
        """
        boxes, has_box, one = self.boxes(answers), answers.has_box, self.columns.one
        ious = np.where(has_box, box_ops.pixel_iou(boxes, self.columns.boxes), 0.0)
        gious = np.where(has_box, box_ops.giou(boxes.astype(np.float64), self.columns.boxes.astype(np.float64)), -1.0)
        ious, gious = np.where(one, ious, np.nan), np.where(one, gious, np.nan)
        return ious, gious, (boxes / self.columns.scales).astype(np.float32)

    def tidy(self) -> None:
        """Remove outdated predictions from the file. Lines of earlier :class:`Answers` cannot be read afterwards."""
        if self._outdated:
            self._saved.tidy()

    def save(self, meta: dict[str, Any]) -> None:
        """Write ``results.json``, and ``queries.jsonl`` for pairing with other results."""
        rows = [{k: v for k, v in row.items() if k not in ("ious", "f1")} for row in self.rows]
        write_queries(self.out, self.samples, self.rows)
        write_results(self.out, {**meta, "content": self.columns.content}, rows)

    def _probes(self, ious: np.ndarray, boxes: np.ndarray) -> dict[str, Any]:
        """Return the columns of the bias probes, over the samples with one true box."""
        columns, agrees = self.columns, self._prior_agrees
        rows, one = columns.single, columns.one
        readable_ious, targets = ious[rows], columns.targets[rows]
        return {
            "by_kind": probes.by_kind(ious[one], list(compress(columns.kinds, one))),
            "by_cell": probes.by_cell(readable_ious, targets),
            "centre_slope": probes.center_slope(boxes[rows], targets),
            "prior_gap": None
            if self.prior is None
            else probes.prior_gap(readable_ious, columns.boxes[rows], self._prior_boxes),
            "planted_prior": None if agrees is None else probes.planted_gap(ious, agrees, columns.groups),
        }

    @cached_property
    def _prior_boxes(self) -> np.ndarray:
        """Box of the constant floor in pixels of the M readable images, (M, 4)."""
        return box_ops.pixels(self.prior, self.columns.scales[self.columns.single])

    @cached_property
    def _prior_agrees(self) -> list[bool | None] | None:
        """Agreement of each target with the planted prior; None if no prior is planted."""
        if not isinstance(self.dataset, PlantsPrior):
            return None
        return [self.dataset.prior_agrees(sample) for sample in self.samples]

    def _clip_metrics(self, boxes: np.ndarray) -> dict[str, Any]:
        rows = self.columns.single
        if self.clip is None or not len(rows):
            return dict.fromkeys(metrics.CLIP_METRICS)
        samples = LazySequence(len(rows), lambda number: self.samples[rows[number]])
        pixel_boxes = (boxes * self.columns.scales)[rows]
        return metrics.clip_metrics(self.clip, samples, pixel_boxes, self.dataset.categories)


def is_labeled(dataset: GroundingDataset) -> bool:
    """Return whether the samples of a data set have true boxes."""
    return dataset.labeled if isinstance(dataset, MayLack) else True


def _mean(values: np.ndarray) -> float | None:
    """Return the mean of the values that are not NaN; None if all are."""
    numbers = values[~np.isnan(values)]
    return float(numbers.mean()) if len(numbers) else None
