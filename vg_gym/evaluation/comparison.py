"""A comparison: methods, floors and ceilings on one split, as a table, ``results.json`` and ``report.html``."""

from __future__ import annotations

import datetime
import itertools
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf

from vg_gym import registry
from vg_gym.clip import load_clip
from vg_gym.evaluation import metrics, probes
from vg_gym.evaluation.evaluator import Evaluator, Method, blindfold, write_results
from vg_gym.evaluation.recorded import RecordedGrounder, recorded_detections
from vg_gym.evaluation.report import print_table, write_report
from vg_gym.types import VGGymError

FLOORS = ("no-op", "full", "center", "constant")
"""Every table has them; ``no-op`` is an agent that never moves its box."""
FIT_SAMPLES = 2000
"""Training samples that a method with ``fit`` gets."""
NUMBERS = re.compile(r"-?[\d.]+(,-?[\d.]+)+")
"""Option values that are a sweep."""
PROBES = ("empty", "shuffled", "swapped")


@dataclass
class Comparison:
    """What ``evaluate.py`` does.

    Args:
        methods: names of grounders and ceilings.
        dataset: name of a data set; None with ``recorded``.
        split: of it.
        out: folder of results.
        root: folder of a data set on disk.
        train_split: what methods with ``fit`` are fitted on.
        clip: CLIP of methods that take one, and of the crop metrics; ``none`` leaves those out.
        limit: the first so many samples.
        refine: a method, or several with commas, that starts from the boxes of every other method that is no floor;
            adds a row, the paired differences of mean IoU and Acc@0.5, and ``refined.png``.
        predictions: a JSON-lines file to evaluate as another method.
        recorded: a file of recorded detections to evaluate, without a data set.
        probes: also rerun every method with empty, shuffled and swapped expressions.
        seed: of bootstrap and probes.
        fresh: throw earlier predictions away.
        options: method -> its options, from ``METHOD.KEY=VALUE``. Several numbers, ``diffusion.steps=1,2,4``, make a
            row each: ``diffusion[steps=1]``.
        command: what was typed.
    """

    methods: Sequence[str]
    out: str
    dataset: str | None = None
    split: str = "test"
    root: str | None = None
    train_split: str = "train"
    clip: str = "refshapes"
    limit: int | None = None
    refine: str | None = None
    predictions: str | None = None
    recorded: str | None = None
    probes: bool = False
    seed: int = 0
    fresh: bool = False
    options: dict[str, dict[str, Any]] = field(default_factory=dict)
    command: str = ""

    def __post_init__(self):
        self._grounders: dict[str, Any] = {}
        self.refiners = [name.strip() for name in (self.refine or "").split(",") if name.strip()]
        self._sweeps = {row: (name, extra) for name in self.methods for row, extra in self._sweep(name)}
        if not self.options:
            return
        named = [*FLOORS, *self.methods, *self.refiners]
        used = {key for name in named for key in (name.partition(":")[0], _first_stage(name))}
        for key in self.options:
            if key not in used:
                raise VGGymError(f"options for {key!r}, which none of the methods is or uses: {', '.join(named)}")

    def run(self) -> list[dict[str, Any]]:
        """Predict, score, print the table, write the files; returns the rows."""
        if self.recorded:
            return self._run_recorded(self.recorded)
        if self.dataset is None:
            raise VGGymError("name a data set: --dataset refshapes")
        data = registry.open_dataset(self.dataset, self.split, self.root)
        settings = {
            k: v for k, v in asdict(self).items() if k in ("dataset", "split", "limit", "clip", "seed", "options")
        }
        clip = None if self.clip == "none" else load_clip(self.clip)
        evaluator = Evaluator(data, Path(self.out), settings, self.limit, clip, self.seed, fresh=self.fresh)
        names = [*FLOORS, *(m for m in self._sweeps if m not in FLOORS)]
        try:
            evaluator.prior = self._constant_box()
            for name in names:
                self._evaluate(evaluator, name)
            if self.predictions:
                grounder = RecordedGrounder(self.predictions)
                evaluator.add(grounder.name, "method", evaluator.predict(grounder.name, blindfold(grounder)))
        except KeyboardInterrupt:
            raise VGGymError(f"interrupted; {self.out} keeps what there is: the same command goes on") from None
        evaluator.save(self._meta())
        write_report(evaluator, self._meta())
        print_table(evaluator.rows, f"{self.dataset}/{self.split}, {len(evaluator.samples)} expressions")
        return evaluator.rows

    def _evaluate(self, evaluator: Evaluator, name: str) -> None:
        """The row of a method, its proposal oracle, its refined row, its probes."""
        if name in registry.CEILINGS:
            ceiling = registry.resolve(registry.CEILINGS[name])(**self.options.get(name, {}))
            lines = evaluator.predict(name, lambda samples, boxes: ceiling.ground_samples(samples))
            evaluator.add(name, "ceiling (sees the answer)", lines)
            return
        method = blindfold(self.grounder(name))
        lines = evaluator.predict(name, method)
        extra = {"probes": self._probe(evaluator, name, method)} if self.probes and name not in FLOORS else {}
        before = evaluator.add(name, "floor" if name in FLOORS else "method", lines, **extra)
        evaluator.proposal_oracle(name, lines)
        for refiner in self.refiners if name not in FLOORS else ():
            if refiner == name:
                continue
            label = f"{name} + {refiner}"
            refined = evaluator.predict(label, blindfold(self.grounder(refiner)), evaluator.boxes(lines))
            after = evaluator.add(label, "refined", refined, refines=name)
            hit, was = (after >= 0.5).astype(float), (before >= 0.5).astype(float)
            evaluator.rows[-1]["refined_by"] = metrics.paired_difference(after, before, evaluator.groups, self.seed)
            evaluator.rows[-1]["refined_by_acc@0.5"] = metrics.paired_difference(hit, was, evaluator.groups, self.seed)

    def grounder(self, name: str) -> Any:
        """A grounder with its options and, where it takes one, the comparison's CLIP; fitted where it has ``fit``."""
        if name not in self._grounders:
            self._grounders[name] = self._build(name)
        return self._grounders[name]

    def _sweep(self, name: str) -> list[tuple[str, dict[str, Any]]]:
        """The rows of a method: one for every combination of the options that have several values."""
        options = self.options.get(name.partition(":")[0], {})
        swept = {k: v.split(",") for k, v in options.items() if isinstance(v, str) and NUMBERS.fullmatch(v)}
        rows = []
        for values in itertools.product(*swept.values()):
            extra = {k: float(v) if "." in v else int(v) for k, v in zip(swept, values, strict=True)}
            label = ",".join(f"{k}={v}" for k, v in extra.items())
            rows.append((f"{name}[{label}]" if label else name, extra))
        return rows

    def _build(self, row: str) -> Any:
        name, swept = self._sweeps.get(row, (row, {}))
        options = {**self.options.get(_first_stage(name), {}), **self.options.get(name.partition(":")[0], {}), **swept}
        if self.clip == "none":
            grounder = registry.grounder(name, **options)
        else:
            grounder = registry.grounder_with_clip(name, self.clip, **options)
        if hasattr(grounder, "fit"):
            self._fit(name, grounder)
        return grounder

    def _fit(self, name: str, grounder: Any) -> None:
        assert self.dataset is not None
        try:
            train = registry.open_dataset(self.dataset, self.train_split, self.root)
            grounder.fit([train[i] for i in range(min(FIT_SAMPLES, len(train)))])
        except (VGGymError, ValueError) as error:
            raise VGGymError(
                f"{name} is fitted on {self.dataset}/{self.train_split}, which is no use ({error}); name another "
                f"(--train-split), or give its box: {name}.box=[x1,y1,x2,y2], normalised"
            ) from error

    def _constant_box(self) -> np.ndarray:
        return self.grounder("constant").box

    def _probe(self, evaluator: Evaluator, name: str, method: Method) -> dict[str, float]:
        """Acc@0.5 with spoiled expressions."""
        queries = [s.query for s in evaluator.samples]
        found = {}
        for how in PROBES:
            spoiled = probes.altered(queries, how, self.seed)
            lines = evaluator.predict(name, method, queries=spoiled)
            ious, _, _ = evaluator.score(lines)
            found[how] = metrics.accuracy(ious, 0.5)
        return found

    def _run_recorded(self, path: str) -> list[dict[str, Any]]:
        rows = []
        for name, found in recorded_detections(path).items():
            ious, groups = found["ious"], found["groups"]
            rows.append(
                {
                    "method": name,
                    "role": "ceiling" if "oracle" in name else "method",
                    "n": len(ious),
                    **{f"acc@{t}": metrics.accuracy(ious, t) for t in metrics.THRESHOLDS},
                    "mean_iou": float(ious.mean()),
                    "acc@0.5_ci": metrics.bootstrap_ci((ious >= 0.5).astype(float), groups, self.seed),
                    "mean_iou_ci": metrics.bootstrap_ci(ious, groups, self.seed),
                }
            )
        Path(self.out).mkdir(parents=True, exist_ok=True)
        write_results(Path(self.out), {**self._meta(), "recorded": Path(path).name}, rows)
        print_table(rows, f"{Path(path).name}, {rows[0]['n']} expressions")
        return rows

    def _meta(self) -> dict[str, Any]:
        libraries = ("torch", "open_clip_torch", "gymnasium", "stable-baselines3", "numpy")
        settings = {k: v for k, v in asdict(self).items() if k not in ("root", "out", "command")}
        return {
            **settings,
            "command": self.command,
            "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            "versions": {"python": sys.version.split()[0], **{name: version(name) for name in libraries}},
            "bootstrap": {"resamples": metrics.RESAMPLES, "level": 0.95, "groups": "images"},
        }


def _first_stage(name: str) -> str:
    """The proposer of a two-stage pipeline; empty for any other method."""
    key = name.partition(":")[0]
    factory = registry.resolve(registry.GROUNDERS[key]) if key in registry.GROUNDERS else None
    first = factory.args[:1] if isinstance(factory, partial) else ()
    return first[0] if first and first[0] in registry.PROPOSERS else ""


def method_options(pairs: Sequence[str]) -> dict[str, dict[str, Any]]:
    """``["clip-window.score=cosine"]`` as ``{"clip-window": {"score": "cosine"}}``.

    A method is a grounder, a ceiling, or a proposer, whose options go to all pipelines that start with it.

    Raises:
        VGGymError: a pair is not METHOD.KEY=VALUE, or the method is unknown.
    """
    options: dict[str, dict[str, Any]] = {}
    for pair in pairs:
        left, equals, value = pair.partition("=")
        method, dot, key = left.partition(".")
        if not (equals and dot and key):
            raise VGGymError(f"{pair!r} is not METHOD.KEY=VALUE, e.g. clip-window.score=cosine")
        known: Mapping[str, str] = {**registry.GROUNDERS, **registry.CEILINGS, **registry.PROPOSERS}
        if method not in known:
            raise registry.unknown("grounder", method, known)
        parsed = OmegaConf.to_container(OmegaConf.create(f"value: {value}"))
        options.setdefault(method, {})[key] = parsed["value"]  # type: ignore[index, call-overload]
    return options
