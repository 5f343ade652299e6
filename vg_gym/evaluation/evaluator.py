"""One evaluator for all methods: predictions, resumable and appended as they come; then rows of figures.

A method is sent queries only, in this process or another. Its predictions are written to ``predictions.jsonl`` batch by
batch, as batches are done; a run that was killed goes on where it stopped, and one with other settings refuses to mix.
A query that fails scores 0 and is counted, one whose image cannot be read with every method; a method whose first batch
fails as a whole, for one reason, ends the run.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from vg_gym import boxes as box_ops
from vg_gym.clip.encoder import ClipEncoder
from vg_gym.errors import VGGymError
from vg_gym.evaluation import clip_metrics, metrics, probes
from vg_gym.evaluation.methods import Asked, Batch, Line, common_failure, failed, query_of, readable_size
from vg_gym.evaluation.predictions import PredictionFile
from vg_gym.evaluation.queries import hash_of_samples, write_queries
from vg_gym.runners import Factory, LocalRunner, Runner
from vg_gym.storage.files import write_json
from vg_gym.types import GroundingDataset, MayLack, PlantsPrior, Sample


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
    """What a resumed run must agree in (data set, limit, CLIP, seed, options)."""
    limit: int | None = None
    """Only the first so many samples."""
    clip: ClipEncoder | None = None
    """Encoder of the crop metrics; None leaves them out."""
    seed: int = 0
    """Of the bootstrap and the probes."""
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
    lines: dict[str, list[Line]] = field(default_factory=dict, init=False)
    """Row -> the predictions that it is of."""
    failed: dict[str, str] = field(default_factory=dict, init=False)
    """Methods without any box, and why their first query failed."""

    def __post_init__(self):
        count = len(self.dataset) if self.limit is None else min(self.limit, len(self.dataset))
        self.samples: list[Sample] = [self.dataset[i] for i in range(count)]
        if not self.samples:
            raise VGGymError(f"{self.dataset.name}/{self.dataset.split} has no samples to evaluate")
        self.queries = [s.query for s in self.samples]
        self.labeled = self.dataset.labeled if isinstance(self.dataset, MayLack) else True
        self._refuse_clashes()
        self.unreadable: dict[int, Exception] = {}
        self._scales = self._read_sizes()
        self.targets = np.stack([s.box for s in self.samples]) / self._scales
        self.groups = [s.image_id for s in self.samples]
        self.content = hash_of_samples(self.samples)
        self._kept = PredictionFile(self.out, {**self.settings, "content": self.content}, self.fresh)

    def _refuse_clashes(self) -> None:
        """Predictions are kept by key: two samples with one would share an answer."""
        first: dict[str, int] = {}
        for i, query in enumerate(self.queries):
            if (before := first.setdefault(query.key, i)) != i:
                raise VGGymError(
                    f"samples {before} and {i} of {self.dataset.name}/{self.dataset.split} have the same key "
                    f"{query.key!r}; keys must differ"
                )

    def _read_sizes(self) -> np.ndarray:
        """(N, 4) widths and heights, twice; 1 of an image that cannot be read, which is remembered with the reason.

        Where crops are to be measured, images are decoded too.
        """
        sizes: dict[str, tuple[int, int] | Exception] = {}
        scales = np.ones((len(self.queries), 4), dtype=np.float32)
        for i, query in enumerate(self.queries):
            if query.image.key not in sizes:
                sizes[query.image.key] = readable_size(query, decode=self.clip is not None)
            size = sizes[query.image.key]
            if isinstance(size, Exception):
                self.unreadable[i] = size
            else:
                scales[i] = box_ops.image_scale(size)
        if self.unreadable:
            self._say_unreadable()
        return scales

    def _say_unreadable(self) -> None:
        first, reason = next(iter(self.unreadable.items()))
        said = f"the images of {len(self.unreadable):,} of {len(self.queries):,} queries cannot be read"
        if len(self.unreadable) == len(self.queries):
            raise VGGymError(f"{self.dataset.name}/{self.dataset.split}: {said}; the first: {reason}")
        print(
            f"{said} and are failures of every method; the first, {self.queries[first].key}: {reason}", file=sys.stderr
        )

    @property
    def readable(self) -> np.ndarray:
        """Indices (M,) of the samples whose images can be read."""
        return np.array([i for i in range(len(self.samples)) if i not in self.unreadable])

    def predict(
        self,
        name: str,
        factory: Factory[Batch, list[Line]],
        initial_boxes: np.ndarray | None = None,
        asked: Sequence[Asked] | None = None,
    ) -> list[Line]:
        """All predictions of a method as JSON-able rows, those on file taken from there.

        Args:
            name: of the method, in the file and in the table.
            factory: makes the method, in this process or in the runner's; see :mod:`vg_gym.evaluation.methods`.
            initial_boxes: pixel boxes (N, 4) to start from.
            asked: what the method is shown for each sample: other queries, for the probes; the samples themselves, for
                a ceiling. Default: the samples' queries.

        Raises:
            VGGymError: all queries of the first batch failed for one reason.
        """
        shown: Sequence[Asked] = self.queries if asked is None else asked
        keys = [query_of(x).key for x in shown]
        untried, missing = not self._kept.knows(name), self._kept.missing(name, keys, self.retry_failures)
        lost = [i for i in missing if i in self.unreadable]
        missing = [i for i in missing if i not in self.unreadable]
        parts = [missing[at : at + self.batch_size] for at in range(0, len(missing), self.batch_size)]
        batches: list[Batch] = [
            ([shown[i] for i in part], None if initial_boxes is None else initial_boxes[part]) for part in parts
        ]
        with tqdm(total=len(keys), initial=len(keys) - len(missing), desc=name, unit="query") as bar:
            for _, lines in self.runner.map(factory, batches):
                if untried and (reason := common_failure(lines)):
                    raise VGGymError(f"{name} fails on every query of its first batch: {reason}")
                untried = False
                self._kept.append(name, lines)
                bar.update(len(lines))
        self._kept.append(name, [failed(keys[i], self.unreadable[i]) for i in lost])
        return [self._kept[name, key] for key in keys]

    def count(self, name: str, role: str, lines: list[Line]) -> dict[str, Any]:
        """Keep and return the columns of a method's row that need no true box; see :meth:`add`."""
        row = {
            "method": name,
            "role": role,
            "dataset": self.dataset.name,
            "split": self.dataset.split,
            "n": len(lines),
            "ms_per_query": _mean([line.get("ms") for line in lines]),
            "evaluations": _mean([line.get("evaluations") for line in lines]),
            "failures": sum("failure" in line for line in lines),
            **_sources(lines),
        }
        if all(line["box"] is None and not line.get("unanswered") for line in lines):
            self.failed[name] = str(lines[0]["failure"])
        self.rows.append(row)
        return row

    def add(self, name: str, role: str, lines: list[Line], **extra: Any) -> np.ndarray:
        """Compute a method's row and keep it; returns its IoUs (N,).

        Args:
            name: of the method.
            role: ``floor``, ``method``, ``refined``, or ``ceiling`` with whatever follows.
            lines: its predictions, as :meth:`predict` returns them.
            **extra: more columns.
        """
        ious, gious, boxes = self.score(lines)
        self.count(name, role, lines).update(
            **metrics.summary(ious, self.groups, self.seed, gious),
            **self._clip_metrics(boxes),
            **self._probes(ious, boxes),
            ious=[float(i) for i in ious],
            **extra,
        )
        self.lines[name] = lines
        return ious

    def add_proposal_oracle(self, name: str, lines: list[Line]) -> None:
        """Add a ceiling row for a method that keeps proposals: the best of them for each query."""
        if not any(line.get("proposals") for line in lines):
            return
        best = []
        for sample, line in zip(self.samples, lines, strict=True):
            if line.get("proposals"):
                proposals = np.array(line["proposals"], dtype=np.float32)
                line = {**line, "box": proposals[int(box_ops.iou(proposals, sample.box).argmax())].tolist()}
            best.append(line)
        self.add(f"{name} proposal-oracle", "ceiling", best)

    def boxes(self, lines: list[Line]) -> np.ndarray:
        """Pixel boxes (N, 4) of predictions; the whole image where one failed."""
        full = box_ops.FULL * self._scales
        return np.stack([f if x["box"] is None else np.float32(x["box"]) for x, f in zip(lines, full, strict=True)])

    def score(self, lines: list[Line]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """IoUs (N,), GIoUs (N,) and normalised boxes (N, 4) of predictions; a failure has IoU 0 and GIoU -1."""
        boxes = (self.boxes(lines) / self._scales).astype(np.float32)
        valid = np.array([line["box"] is not None for line in lines])
        ious = np.where(valid, box_ops.iou(boxes, self.targets), 0.0)
        return ious, np.where(valid, box_ops.giou(boxes, self.targets), -1.0), boxes

    def save(self, meta: dict[str, Any]) -> None:
        """Write ``results.json``, and ``queries.jsonl``, by which it can be paired with others."""
        rows = [{k: v for k, v in row.items() if k != "ious"} for row in self.rows]
        write_queries(self.out, self.samples, self.rows)
        write_results(self.out, {**meta, "content": self.content}, rows)

    def _probes(self, ious: np.ndarray, boxes: np.ndarray) -> dict[str, Any]:
        """The bias probes of a method."""
        agrees = None
        if isinstance(self.dataset, PlantsPrior):
            agrees = [self.dataset.prior_agrees(sample) for sample in self.samples]
        rows = self.readable
        seen, targets = ious[rows], self.targets[rows]
        return {
            "by_kind": probes.by_kind(ious, [sample.kind for sample in self.samples]),
            "by_cell": probes.by_cell(seen, targets),
            "centre_slope": probes.center_slope(boxes[rows], targets),
            "prior_gap": None if self.prior is None else probes.prior_gap(seen, targets, self.prior),
            "planted_prior": None if agrees is None else probes.planted_gap(ious, agrees, self.groups, self.seed),
        }

    def _clip_metrics(self, boxes: np.ndarray) -> dict[str, Any]:
        if self.clip is None:
            return dict.fromkeys(clip_metrics.NAMES)
        rows = self.readable
        samples = [self.samples[i] for i in rows]
        return clip_metrics.clip_metrics(self.clip, samples, (boxes * self._scales)[rows], self.dataset.categories)


def write_results(out: Path, meta: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """Write ``results.json`` into a folder: strict JSON, whole or not at all."""
    write_json(out / "results.json", {"meta": meta, "rows": rows})


def _sources(lines: list[Line]) -> dict[str, Any]:
    """Which weights answered, and how they were asked, where lines say so; one unless weights changed on the way."""
    sources = sorted({line["source"] for line in lines if "source" in line})
    return {"source": " | ".join(sources)} if sources else {}


def _mean(values: list[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return float(np.mean(known)) if known else None
