"""One evaluator for all methods: predictions, resumable and appended as they come; then rows of figures.

A method is sent queries only, in this process or another. Its predictions are written to ``predictions.jsonl`` batch by
batch, as batches are done; a run that was killed goes on where it stopped, and one on other queries refuses to mix.
Predictions on file count where all that they depend on is unchanged; else they are made again. Either is said.
A query that fails scores 0 and is counted, one whose image cannot be read with every method; a method whose first batch
fails as a whole, for one reason, ends the run.

What is kept in memory of a sample are some numbers: samples are made anew when they are asked for, and predictions are
read from the file, so that a million of them take some hundred megabytes.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from vg_gym import boxes as box_ops
from vg_gym.clip.encoder import ClipEncoder
from vg_gym.errors import VGGymError
from vg_gym.evaluation import clip_metrics, metrics, probes
from vg_gym.evaluation.answers import Answers
from vg_gym.evaluation.methods import Asked, Batch, Line, common_failure, failed, query_of
from vg_gym.evaluation.predictions import PredictionFile, key_hashes
from vg_gym.evaluation.queries import write_queries
from vg_gym.evaluation.sample_columns import SampleColumns
from vg_gym.registry.identity import source_of
from vg_gym.registry.seen import ANSWER
from vg_gym.runners import Factory, LocalRunner, Runner
from vg_gym.storage.files import fingerprint, write_json
from vg_gym.storage.lazy_sequence import LazySequence
from vg_gym.types import GroundingDataset, MayLack, PlantsPrior, Query, Sample

RECENT = 16_384
"""Samples that are kept in memory."""


@dataclass
class Evaluator:
    """Evaluates methods on the same samples and keeps their predictions.

    Raises:
        VGGymError: the data set is empty, no image of it can be read, two of its samples have one key, or ``out`` holds
            predictions made with other settings.
    """

    dataset: GroundingDataset
    """What methods are evaluated on."""
    out: Path
    """Folder of results."""
    settings: dict[str, Any]
    """What a resumed run must agree in (data set, split, limit, seed)."""
    limit: int | None = None
    """Only the first so many samples."""
    clip: ClipEncoder | None = None
    """Encoder of the crop metrics; None leaves them out."""
    seed: int = 0
    """Of the probes."""
    batch_size: int = 64
    """Queries per call of a method."""
    runner: Runner = field(default_factory=LocalRunner)
    """Where methods predict; it does not change what they predict."""
    fresh: bool = False
    """Throw earlier predictions in ``out`` away."""
    retry_failures: bool = False
    """Ask again what earlier runs failed on."""
    prior: np.ndarray | None = field(default=None, init=False)
    """The best constant box (4,), normalised, against which the prior gap is measured; None leaves the gap out."""
    rows: list[dict[str, Any]] = field(default_factory=list, init=False)
    """One per method added, as in ``results.json``, and its IoUs."""
    lines: dict[str, Sequence[Line]] = field(default_factory=dict, init=False)
    """Row -> the predictions that it is of."""
    reused: dict[str, int] = field(default_factory=dict, init=False)
    """Row -> number of its predictions, and those of its probes, that an earlier run made."""
    failed: dict[str, str] = field(default_factory=dict, init=False)
    """Methods without any box, and why their first query failed."""

    def __post_init__(self):
        count = len(self.dataset) if self.limit is None else min(self.limit, len(self.dataset))
        if not count:
            raise VGGymError(f"{self.dataset.name}/{self.dataset.split} has no samples to evaluate")
        self.samples: Sequence[Sample] = LazySequence(count, self.dataset.__getitem__, keep=RECENT)
        self.queries: Sequence[Query] = LazySequence(count, lambda index: self.samples[index].query)
        self.labeled = self.dataset.labeled if isinstance(self.dataset, MayLack) else True
        where = f"{self.dataset.name}/{self.dataset.split}"
        self.columns = SampleColumns(self.samples, where, decode=self.clip is not None)
        if self.columns.unreadable:
            self._say_unreadable()
        settings = {**self.settings, "content": self.columns.content}
        self._kept = PredictionFile(self.out, settings, self.fresh)
        self._outdated = False

    def _say_unreadable(self) -> None:
        first, reason = next(iter(self.columns.unreadable.items()))
        said = f"the images of {len(self.columns.unreadable):,} of {len(self.queries):,} queries cannot be read"
        if len(self.columns.unreadable) == len(self.queries):
            raise VGGymError(f"{self.dataset.name}/{self.dataset.split}: {said}; the first: {reason}")
        print(
            f"{said} and are failures of every method; the first, {self.queries[first].key}: {reason}", file=sys.stderr
        )

    def predict(
        self,
        name: str,
        factory: Factory[Batch, list[Line]],
        initial_boxes: np.ndarray | None = None,
        asked: Sequence[Asked] | None = None,
        inputs: Mapping[str, str] | None = None,
    ) -> Answers:
        """All predictions of a method; those on file count where what they depend on is unchanged.

        Args:
            name: of the method, in the file and in the table.
            factory: makes the method, in this process or in the runner's; see :mod:`vg_gym.evaluation.methods`.
            initial_boxes: pixel boxes (N, 4) to start from.
            asked: what the method is shown for each sample: other queries, for the probes; the samples themselves, for
                a ceiling. Default: the samples' queries.
            inputs: what the predictions depend on, beside the pictures and the initial boxes: name of the part -> its
                version or hash.

        Raises:
            VGGymError: all queries of the first batch failed for one reason.
        """
        shown: Sequence[Asked] = self.queries if asked is None else asked
        hashes = self._hashes_of(shown)
        self._renew(name, {**(inputs or {}), **self._data_inputs}, initial_boxes, hashes)
        untried, missing = not self._kept.knows(name), self._kept.missing(name, hashes, self.retry_failures)
        lost = [i for i in missing.tolist() if i in self.columns.unreadable]
        missing = np.setdiff1d(missing, lost)
        with tqdm(total=len(hashes), initial=len(hashes) - len(missing), desc=name, unit="query") as bar:
            for _, lines in self.runner.map(factory, self._batches(shown, missing, initial_boxes)):
                if untried and (reason := common_failure(lines)):
                    raise VGGymError(f"{name} fails on every query of its first batch: {reason}")
                untried = False
                self._kept.append(name, lines)
                bar.update(len(lines))
        self._kept.append(name, [failed(query_of(shown[i]).key, self.columns.unreadable[i]) for i in lost])
        return Answers.of(self._kept.lines(name, hashes))

    @cached_property
    def _data_inputs(self) -> dict[str, str]:
        """What all predictions depend on: the pictures, and the source of a data set of one's own."""
        return {"pictures": self.columns.pictures, "data set": source_of(type(self.dataset))[:16]}

    def _renew(self, name: str, inputs: dict[str, str], initial_boxes: np.ndarray | None, hashes: np.ndarray) -> None:
        """Throw predictions on file away where what they depend on has changed, and say what is done with them."""
        if initial_boxes is not None:
            inputs["initial boxes"] = fingerprint(np.ascontiguousarray(initial_boxes).tobytes())[:16]
        if changed := self._kept.renew(name, inputs):
            self._outdated = True
            print(f"{name}: {', '.join(changed)} changed, so its predictions on file are made again", file=sys.stderr)
        elif count := len(hashes) - len(self._kept.missing(name, hashes)):
            self.reused[name] = self.reused.get(name, 0) + count
            same = "what they depend on is unchanged"
            print(f"{name}: {count:,} of {len(hashes):,} predictions are those on file; {same}", file=sys.stderr)

    def _hashes_of(self, shown: Sequence[Asked]) -> np.ndarray:
        """Hashes (N,) of the keys of what a method is shown."""
        if shown is self.queries or shown is self.samples:
            return self.columns.hashes
        return key_hashes((query_of(x).key for x in shown), len(shown))

    def _batches(
        self, shown: Sequence[Asked], rows: np.ndarray, initial_boxes: np.ndarray | None
    ) -> LazySequence[Batch]:
        """What a method is shown of some rows, in batches that are made when it is their turn.

        Images follow each other as in the data set; the queries of one are ordered by their opaque keys, because their
        places in the data set may tell the kind of expression, or which of them mean the same object.
        """
        rows = rows[np.argsort(self.columns.turns[rows])]

        def batch(number: int) -> Batch:
            part = rows[number * self.batch_size : (number + 1) * self.batch_size]
            return [shown[i] for i in part.tolist()], None if initial_boxes is None else initial_boxes[part]

        return LazySequence(-(-len(rows) // self.batch_size), batch)

    def count(self, name: str, role: str, answers: Answers) -> dict[str, Any]:
        """Keep and return the columns of a method's row that need no true box; see :meth:`add`."""
        row = {
            "method": name,
            "role": role,
            "dataset": self.dataset.name,
            "split": self.dataset.split,
            "n": len(answers),
            "ms_per_query": _mean(answers.ms),
            "evaluations": _mean(answers.evaluations),
            "failures": int(answers.failures.sum()),
            **({"reused": self.reused[name]} if name in self.reused else {}),
            # Which weights answered, and how they were asked: one source, unless weights changed on the way.
            **({"source": " | ".join(answers.sources)} if answers.sources else {}),
        }
        if not (answers.found | answers.unanswered).any():
            self.failed[name] = str(answers.lines[0]["failure"])
        self.rows.append(row)
        return row

    def add(self, name: str, role: str, answers: Answers, **extra: Any) -> np.ndarray:
        """Compute a method's row and keep it; returns its IoUs (N,).

        Args:
            name: of the method.
            role: ``floor``, ``method``, ``refined``, or ``ceiling`` with whatever follows.
            answers: its predictions.
            **extra: more columns.
        """
        ious, gious, boxes = self.score(answers)
        self.count(name, role, answers).update(
            **metrics.summary(ious, self.columns.groups, gious),
            **self._clip_metrics(boxes),
            **self._probes(ious, boxes),
            ious=ious.astype(np.float64),
            **extra,
        )
        self.lines[name] = answers.lines
        return ious

    def add_proposal_oracle(self, name: str, answers: Answers) -> None:
        """Add a ceiling row for a method that keeps proposals: the best of them for each query."""
        rows, boxes, lines = np.flatnonzero(answers.with_proposals), answers.boxes.copy(), answers.lines
        for row in rows.tolist():
            proposals = np.array(lines[row]["proposals"], dtype=np.float32)
            boxes[row] = proposals[int(box_ops.pixel_iou(proposals, self.samples[row].box).argmax())]

        def best(row: int) -> Line:
            return {**lines[row], "box": boxes[row].tolist()} if answers.with_proposals[row] else lines[row]

        if len(rows):
            chosen = replace(answers, boxes=boxes, lines=LazySequence(len(lines), best))
            self.add(f"{name} proposal-oracle", f"ceiling of {name}'s proposals (sees the answer)", chosen, seen=ANSWER)

    def boxes(self, answers: Answers) -> np.ndarray:
        """Pixel boxes (N, 4) of predictions; the whole image where one failed."""
        return np.where(answers.found[:, None], answers.boxes, box_ops.FULL * self.columns.scales)

    def score(self, answers: Answers) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """IoUs (N,), GIoUs (N,) and normalised boxes (N, 4) of predictions; a failure has IoU 0 and GIoU -1."""
        boxes, found = self.boxes(answers), answers.found
        ious = np.where(found, box_ops.pixel_iou(boxes, self.columns.boxes), 0.0)
        gious = np.where(found, box_ops.giou(boxes.astype(np.float64), self.columns.boxes.astype(np.float64)), -1.0)
        return ious, gious, (boxes / self.columns.scales).astype(np.float32)

    def tidy(self) -> None:
        """Remove predictions that no longer count from the file; lines of answers cannot be read after it."""
        if self._outdated:
            self._kept.tidy()

    def save(self, meta: dict[str, Any]) -> None:
        """Write ``results.json``, and ``queries.jsonl``, by which it can be paired with others."""
        rows = [{k: v for k, v in row.items() if k != "ious"} for row in self.rows]
        write_queries(self.out, self.samples, self.rows)
        write_results(self.out, {**meta, "content": self.columns.content}, rows)

    def _probes(self, ious: np.ndarray, boxes: np.ndarray) -> dict[str, Any]:
        """The bias probes of a method."""
        columns, agrees = self.columns, self._prior_agrees
        rows = columns.readable
        seen, targets = ious[rows], columns.targets[rows]
        return {
            "by_kind": probes.by_kind(ious, columns.kinds),
            "by_cell": probes.by_cell(seen, targets),
            "centre_slope": probes.center_slope(boxes[rows], targets),
            "prior_gap": None if self.prior is None else probes.prior_gap(seen, columns.boxes[rows], self._prior_boxes),
            "planted_prior": None if agrees is None else probes.planted_gap(ious, agrees, columns.groups),
        }

    @cached_property
    def _prior_boxes(self) -> np.ndarray:
        """The constant floor's box in pixels of the images that can be read (M, 4)."""
        return box_ops.pixels(self.prior, self.columns.scales[self.columns.readable])

    @cached_property
    def _prior_agrees(self) -> list[bool | None] | None:
        """Whether each target lies where a planted prior says; None where none is planted."""
        if not isinstance(self.dataset, PlantsPrior):
            return None
        return [self.dataset.prior_agrees(sample) for sample in self.samples]

    def _clip_metrics(self, boxes: np.ndarray) -> dict[str, Any]:
        if self.clip is None:
            return dict.fromkeys(clip_metrics.NAMES)
        rows = self.columns.readable
        samples = LazySequence(len(rows), lambda number: self.samples[rows[number]])
        return clip_metrics.clip_metrics(
            self.clip, samples, (boxes * self.columns.scales)[rows], self.dataset.categories
        )


def write_results(out: Path, meta: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """Write ``results.json`` into a folder: strict JSON, whole or not at all."""
    write_json(out / "results.json", {"meta": meta, "rows": rows})


def _mean(values: np.ndarray) -> float | None:
    """Of those that are known."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None
