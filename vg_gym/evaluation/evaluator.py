"""One evaluator for all methods: predictions, resumable and appended as they come; then rows of figures.

A method is sent queries only, in this process or another. What it predicts is written to ``predictions.jsonl`` batch by
batch, as batches are done; a run that was killed goes on where it stopped, and one with other settings refuses to mix.
A query that fails scores 0 and is counted.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from vg_gym import boxes as box_ops
from vg_gym.clip.crops import crop
from vg_gym.clip.encoder import ClipEncoder
from vg_gym.errors import VGGymError
from vg_gym.evaluation import metrics, probes
from vg_gym.evaluation.methods import Asked, Batch, Line, query_of
from vg_gym.runners import Factory, LocalRunner, Runner
from vg_gym.storage.files import write_json, write_text
from vg_gym.types import GroundingDataset, Sample


@dataclass
class Evaluator:
    """Evaluates methods on the same samples and keeps their predictions.

    Args:
        dataset: what is evaluated on.
        out: folder of results.
        settings: what a resumed run must agree in (data set, limit, CLIP, seed, options).
        limit: the first so many samples.
        clip: encoder of the crop metrics; None leaves them out.
        seed: of bootstrap and probes.
        batch_size: queries per call of a method.
        runner: where methods predict; it does not change what they predict.
        fresh: throw earlier predictions in ``out`` away.

    Raises:
        VGGymError: ``out`` holds predictions made with other settings.
    """

    dataset: GroundingDataset
    out: Path
    settings: dict[str, Any]
    limit: int | None = None
    clip: ClipEncoder | None = None
    seed: int = 0
    batch_size: int = 64
    runner: Runner = field(default_factory=LocalRunner)
    fresh: bool = False
    rows: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self):
        count = len(self.dataset) if self.limit is None else min(self.limit, len(self.dataset))
        self.samples: list[Sample] = [self.dataset[i] for i in range(count)]
        if not self.samples:
            raise VGGymError(f"{self.dataset.name}/{self.dataset.split} has no samples to evaluate")
        self.queries = [s.query for s in self.samples]
        self.out.mkdir(parents=True, exist_ok=True)
        self.targets = probes.normalized(self.samples, np.stack([s.box for s in self.samples]))
        self.groups = [s.image_id for s in self.samples]
        self.file = self.out / "predictions.jsonl"
        self._check_settings()
        self._done: dict[tuple[str, str], Line] = _read_lines(self.file)
        self.prior: np.ndarray | None = None

    def _check_settings(self) -> None:
        """Refuse to mix predictions made with different settings."""
        digest = hashlib.sha256()
        for sample in self.samples:
            digest.update(f"{sample.query.key} {sample.query.expression} {sample.box.tolist()}".encode())
        settings = json.loads(json.dumps({**self.settings, "content": digest.hexdigest()[:16]}))
        path = self.out / "settings.json"
        if self.fresh:
            self.file.unlink(missing_ok=True)
        elif path.is_file() and self.file.is_file():
            before = json.loads(path.read_text())
            changed = sorted(k for k in {*before, *settings} if before.get(k) != settings.get(k))
            if changed:
                raise VGGymError(
                    f"{self.out} holds predictions made with other {', '.join(changed)}; use another --out, or --fresh"
                )
        write_json(path, settings)
        self.content = settings["content"]

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
        """
        shown: Sequence[Asked] = self.queries if asked is None else asked
        keys = [query_of(x).key for x in shown]
        missing = [i for i, key in enumerate(keys) if (name, key) not in self._done]
        rows = [missing[at : at + self.batch_size] for at in range(0, len(missing), self.batch_size)]
        batches: list[Batch] = [
            ([shown[i] for i in r], None if initial_boxes is None else initial_boxes[r]) for r in rows
        ]
        bar = tqdm(total=len(keys), initial=len(keys) - len(missing), desc=name, unit="query")
        with self.file.open("a") as file, bar:
            for _, lines in self.runner.map(factory, batches):
                for line in lines:
                    self._done[name, line["key"]] = {"method": name, **line}
                    file.write(json.dumps(self._done[name, line["key"]]) + "\n")
                file.flush()
                bar.update(len(lines))
        return [self._done[name, key] for key in keys]

    def add(self, name: str, role: str, lines: list[Line], **extra: Any) -> np.ndarray:
        """Compute a method's row and keep it; returns its IoUs (N,)."""
        ious, gious, boxes = self.score(lines)
        row = {
            "method": name,
            "role": role,
            "dataset": self.dataset.name,
            "split": self.dataset.split,
            "n": len(ious),
            **{f"acc@{t}": metrics.accuracy(ious, t) for t in metrics.THRESHOLDS},
            "mean_iou": float(ious.mean()),
            "giou_acc@0.5": metrics.accuracy(gious, 0.5),
            "acc@0.5_ci": metrics.bootstrap_ci((ious >= 0.5).astype(float), self.groups, self.seed),
            "mean_iou_ci": metrics.bootstrap_ci(ious, self.groups, self.seed),
            **self._clip_metrics(boxes),
            "ms_per_query": float(np.mean([line["ms"] for line in lines])),
            "evaluations": _mean([line.get("evaluations") for line in lines]),
            "failures": sum("failure" in line for line in lines),
            "by_kind": self._by_kind(ious),
            "by_cell": probes.by_cell(ious, self.targets),
            "centre_slope": probes.centre_slope(boxes, self.targets),
            "prior_gap": None if self.prior is None else probes.prior_gap(ious, self.targets, self.prior),
            "planted_prior": self._planted(ious),
            "ious": [round(float(i), 4) for i in ious],
            **extra,
        }
        self.rows.append(row)
        return ious

    def proposal_oracle(self, name: str, lines: list[Line]) -> None:
        """A ceiling row for a method that keeps proposals: the best of them for each query."""
        if not any(line.get("proposals") for line in lines):
            return
        best = []
        for sample, line in zip(self.samples, lines, strict=True):
            proposals = np.array(line.get("proposals") or [line["box"] or [0, 0, 0, 0]], dtype=np.float32)
            box = proposals[int(box_ops.iou(proposals, sample.box).argmax())]
            best.append({"box": box.tolist(), "ms": line["ms"]})
        self.add(f"{name} proposal-oracle", "ceiling", best)

    def boxes(self, lines: list[Line]) -> np.ndarray:
        """Pixel boxes (N, 4) of predictions; the whole image where one failed."""
        full = [box_ops.denormalize(box_ops.FULL, s.query.image.size) for s in self.samples]
        return np.stack([f if x["box"] is None else np.float32(x["box"]) for x, f in zip(lines, full, strict=True)])

    def score(self, lines: list[Line]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """IoUs (N,), GIoUs (N,) and normalised boxes (N, 4) of predictions; a failure has IoU 0 and GIoU -1."""
        boxes = probes.normalized(self.samples, self.boxes(lines))
        valid = np.array([line["box"] is not None for line in lines])
        ious = np.where(valid, box_ops.iou(boxes, self.targets), 0.0)
        return ious, np.where(valid, box_ops.giou(boxes, self.targets), -1.0), boxes

    def _by_kind(self, ious: np.ndarray) -> dict[str, dict[str, float]]:
        kinds = np.array([s.kind for s in self.samples])
        return {
            str(kind): {"mean_iou": float(ious[kinds == kind].mean()),
                        "acc@0.5": metrics.accuracy(ious[kinds == kind], 0.5), "n": int((kinds == kind).sum())}
            for kind in sorted(set(kinds) - {""})
        }  # fmt: skip

    def _planted(self, ious: np.ndarray) -> dict[str, object] | None:
        """The gap that a planted prior makes, where the data set plants one."""
        agrees = getattr(self.dataset, "prior_agrees", None)
        if agrees is None:
            return None
        return probes.planted_gap(ious, [agrees(s) for s in self.samples], self.groups, self.seed)

    def _clip_metrics(self, boxes: np.ndarray) -> dict[str, float | None]:
        if self.clip is None:
            return dict.fromkeys(("cosine", "euclidean", "dot", "grounding_accuracy"))
        crops: list[np.ndarray] = []
        pixels: dict[str, np.ndarray] = {}
        for sample, box in zip(self.samples, boxes, strict=True):
            image = sample.query.image
            if image.key not in pixels:
                pixels = {image.key: image.array()}  # samples of an image follow each other
            crops.append(crop(pixels[image.key], box_ops.denormalize(box, image.size)))
        embedded = self.clip.encode_crops(crops)
        names = list(self.dataset.categories)
        prompt = "the {}" if self.clip.words else "a photo of a {}"
        categories = self.clip.encode_text([prompt.format(name) for name in names])
        true = np.array([names.index(s.category) for s in self.samples])
        texts = self.clip.encode_text([s.query.expression for s in self.samples])
        found = metrics.embedding_metrics(texts, embedded)
        return {**found, "grounding_accuracy": metrics.naming_accuracy(embedded, categories, true)}

    def save(self, meta: dict[str, Any]) -> Path:
        """Write ``results.json``: strict JSON, by way of a temporary name."""
        rows = [{k: v for k, v in row.items() if k != "ious"} for row in self.rows]
        return write_results(self.out, {**meta, "content": self.content}, rows)

    def line(self, name: str, index: int) -> Line | None:
        """The prediction of a method for a sample, as it is on file."""
        return self._done.get((name, self.samples[index].query.key))


def write_results(out: Path, meta: dict[str, Any], rows: list[dict[str, Any]]) -> Path:
    """Write ``results.json`` into a folder."""
    write_json(out / "results.json", {"meta": meta, "rows": rows})
    return out / "results.json"


def _read_lines(path: Path) -> dict[tuple[str, str], Line]:
    """Predictions on file; a line cut off by a kill is dropped, in the file too."""
    if not path.is_file():
        return {}
    found, good = {}, []
    for text in path.read_text().splitlines():
        try:
            line = json.loads(text)
            found[line["method"], line["key"]] = line
            good.append(text)
        except (json.JSONDecodeError, KeyError):
            continue
    write_text(path, "".join(f"{text}\n" for text in good))
    return found


def _mean(values: list[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return float(np.mean(known)) if known else None
