"""A comparison: methods, floors and ceilings on one split, as a table, ``results.json`` and ``report.html``."""

from __future__ import annotations

import datetime
import itertools
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from vg_gym import registry
from vg_gym.clip import load_clip
from vg_gym.errors import VGGymError
from vg_gym.evaluation import metrics, probes
from vg_gym.evaluation.evaluator import Evaluator, write_results
from vg_gym.evaluation.methods import GrounderFactory, build_ceiling
from vg_gym.evaluation.recorded import build_recorded, recorded_detections
from vg_gym.evaluation.report import print_table, write_report
from vg_gym.runners import make_runner

FLOORS = ("no-op", "full", "center", "constant")
"""Every table has them; ``no-op`` is an agent that never moves its box."""
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
        runner: where methods predict: ``local``, or ``ray`` for as many processes as there are ``workers``. It does not
            change what they predict, so a run may be resumed with another.
        workers: of the runner; 0: one for each CPU.
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
    runner: str = "local"
    workers: int = 0

    def __post_init__(self):
        self._factories: dict[str, GrounderFactory] = {}
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
        with closing(make_runner(self.runner, self.workers)) as runner:
            evaluator = Evaluator(
                data, Path(self.out), settings, self.limit, clip, self.seed, runner=runner, fresh=self.fresh
            )
            try:
                self._evaluate_all(evaluator)
            except KeyboardInterrupt:
                raise VGGymError(f"interrupted; {self.out} keeps what there is: the same command goes on") from None
        evaluator.save(self._meta())
        write_report(evaluator, self._meta())
        print_table(evaluator.rows, f"{self.dataset}/{self.split}, {len(evaluator.samples)} expressions")
        return evaluator.rows

    def _evaluate_all(self, evaluator: Evaluator) -> None:
        evaluator.prior = self._factory("constant").grounder.box
        for name in (*FLOORS, *(m for m in self._sweeps if m not in FLOORS)):
            self._evaluate(evaluator, name)
        if self.predictions:
            name = f"recorded:{Path(self.predictions).stem}"
            evaluator.add(name, "method", evaluator.predict(name, partial(build_recorded, self.predictions)))

    def _evaluate(self, evaluator: Evaluator, name: str) -> None:
        """The row of a method, its proposal oracle, its refined row, its probes."""
        if name in registry.CEILINGS:
            ceiling = partial(build_ceiling, name, self.options.get(name, {}))
            lines = evaluator.predict(name, ceiling, asked=evaluator.samples)
            evaluator.add(name, "ceiling (sees the answer)", lines)
            return
        factory = self._factory(name)
        lines = evaluator.predict(name, factory)
        extra = {"probes": self._probe(evaluator, name, factory)} if self.probes and name not in FLOORS else {}
        before = evaluator.add(name, "floor" if name in FLOORS else "method", lines, **extra)
        evaluator.proposal_oracle(name, lines)
        for refiner in self.refiners if name not in FLOORS else ():
            if refiner == name:
                continue
            label = f"{name} + {refiner}"
            refined = evaluator.predict(label, self._factory(refiner), evaluator.boxes(lines))
            after = evaluator.add(label, "refined", refined, refines=name)
            hit, was = (after >= 0.5).astype(float), (before >= 0.5).astype(float)
            evaluator.rows[-1]["refined_by"] = metrics.paired_difference(after, before, evaluator.groups, self.seed)
            evaluator.rows[-1]["refined_by_acc@0.5"] = metrics.paired_difference(hit, was, evaluator.groups, self.seed)

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

    def _factory(self, row: str) -> GrounderFactory:
        """What builds the grounder of a row, with its options and, where it takes one, the comparison's CLIP."""
        if row not in self._factories:
            name, swept = self._sweeps.get(row, (row, {}))
            key = name.partition(":")[0]
            options = {**self.options.get(_first_stage(name), {}), **self.options.get(key, {}), **swept}
            assert self.dataset is not None
            self._factories[row] = GrounderFactory(name, options, self.clip, self.dataset, self.train_split, self.root)
        return self._factories[row]

    def _probe(self, evaluator: Evaluator, name: str, factory: GrounderFactory) -> dict[str, float]:
        """Acc@0.5 with spoiled expressions."""
        found = {}
        for how in PROBES:
            spoiled = probes.altered(evaluator.queries, how, self.seed)
            lines = evaluator.predict(name, factory, asked=spoiled)
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
        settings = {k: v for k, v in asdict(self).items() if k not in ("root", "out", "command", "runner", "workers")}
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
