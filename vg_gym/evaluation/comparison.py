"""A comparison: methods, floors and ceilings on one split, as a table, ``results.json`` and ``report.html``."""

from __future__ import annotations

import datetime
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym import registry
from vg_gym.clip import load_clip
from vg_gym.errors import VGGymError
from vg_gym.evaluation import metrics, probes
from vg_gym.evaluation.evaluator import Evaluator, write_results
from vg_gym.evaluation.methods import GrounderFactory, Line, build_ceiling
from vg_gym.evaluation.options import options_of, owners, sweep
from vg_gym.evaluation.recorded import recorded_rows
from vg_gym.evaluation.recorded_answers import RecordedGrounder, build_recorded
from vg_gym.evaluation.report import print_table, write_report
from vg_gym.runners import Runner, make_runner

FLOORS = ("no-op", "full", "center", "constant")
"""Every table has them; ``no-op`` is an agent that never moves its box."""
SETTINGS = ("dataset", "split", "limit", "clip", "seed", "options", "frame")
"""Fields that a resumed run must agree in."""
UNRECORDED = ("root", "out", "command", "runner", "workers")
"""Fields that ``results.json`` leaves out, or has in another place: results do not depend on them."""
LIBRARIES = ("torch", "open_clip_torch", "gymnasium", "stable-baselines3", "numpy")
"""Packages whose versions are in ``results.json``."""


@dataclass
class Comparison:
    """What ``evaluate.py`` does: see :meth:`run`.

    Raises:
        VGGymError: there are options for a method that is not compared.
    """

    methods: Sequence[str]
    """Names of grounders and ceilings."""
    out: str
    """Folder of results."""
    dataset: str | None = None
    """Name of a data set; None with ``recorded``."""
    split: str = "test"
    """Of the data set."""
    root: str | None = None
    """Folder of a data set on disk."""
    dataset_options: dict[str, Any] = field(default_factory=dict)
    """Options of the data set's evaluated split, e.g. ``seed`` of RefShapes."""
    train_split: str = "train"
    """What fitted methods are fitted on."""
    clip: str = "refshapes"
    """CLIP of methods that take one, and of the crop metrics; ``none`` leaves those out."""
    limit: int | None = None
    """Only the first so many samples."""
    refine: str | None = None
    """A method, or several with commas, that starts from the boxes of every other method that is no floor; adds a row
    for each, the paired differences of mean IoU and Acc@0.5, and ``refined.png``."""
    predictions: str | None = None
    """Recorded answers to evaluate as another method: see :mod:`vg_gym.evaluation.recorded_answers`."""
    frame: str | None = None
    """Of the boxes in ``predictions``, a key of :data:`vg_gym.answers.frames.FRAMES`; None: pixels."""
    recorded: str | None = None
    """A file of recorded detections to evaluate, without a data set."""
    probes: bool = False
    """Also rerun every method with empty, shuffled and swapped expressions."""
    seed: int = 0
    """Of the bootstrap and the probes."""
    fresh: bool = False
    """Throw earlier predictions away."""
    options: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Method -> its options, from ``METHOD.KEY=VALUE``. Several numbers, ``diffusion.steps=1,2,4``, make a row each:
    ``diffusion[steps=1]``."""
    command: str = ""
    """What was typed."""
    runner: str = "local"
    """Where methods predict: ``local``, or ``ray`` for as many processes as there are ``workers``. It does not change
    what they predict, so a run may be resumed with another."""
    workers: int = 0
    """Of the runner; 0: one for each CPU."""

    def __post_init__(self):
        self.refiners = [name.strip() for name in (self.refine or "").split(",") if name.strip()]
        self._rows = {
            row: (name, swept)
            for name in self.methods
            for row, swept in sweep(name, self.options.get(name.partition(":")[0], {})).items()
        }
        self._factories: dict[str, GrounderFactory] = {}
        named = [*FLOORS, *self.methods, *self.refiners]
        used = {owner for name in named for owner in owners(name)}
        for key in self.options:
            if key not in used:
                raise VGGymError(f"options for {key!r}, which none of the methods is or uses: {', '.join(named)}")

    def run(self) -> list[dict[str, Any]]:
        """Predict, score, print the table, write the files; returns the rows.

        Raises:
            VGGymError: a method, an option, the data set or a file is unknown or unfit, or the run was interrupted.
        """
        if self.recorded:
            return self._run_recorded(Path(self.recorded))
        with closing(make_runner(self.runner, self.workers)) as runner:
            evaluator = self._evaluator(runner)
            try:
                self._add_rows(evaluator)
            except KeyboardInterrupt:
                raise VGGymError(f"interrupted; {self.out} keeps what there is: the same command goes on") from None
        meta = self._meta()
        evaluator.save(meta)
        write_report(evaluator.out, evaluator.rows, evaluator.samples, evaluator.predicted_box, meta)
        print_table(evaluator.rows, f"{self.dataset}/{self.split}, {len(evaluator.samples)} expressions")
        return evaluator.rows

    def _run_recorded(self, path: Path) -> list[dict[str, Any]]:
        rows, out = recorded_rows(path, self.seed), Path(self.out)
        out.mkdir(parents=True, exist_ok=True)
        write_results(out, {**self._meta(), "recorded": path.name}, rows)
        print_table(rows, f"{path.name}, {rows[0]['n']} expressions")
        return rows

    def _evaluator(self, runner: Runner) -> Evaluator:
        if self.dataset is None:
            raise VGGymError("name a data set: --dataset refshapes")
        data = registry.open_dataset(self.dataset, self.split, self.root, **self.dataset_options)
        settings = {name: value for name, value in asdict(self).items() if name in SETTINGS}
        settings |= {"dataset_options": self.dataset_options} if self.dataset_options else {}
        clip = None if self.clip == "none" else load_clip(self.clip)
        out = Path(self.out)
        return Evaluator(data, out, settings, self.limit, clip, self.seed, runner=runner, fresh=self.fresh)

    def _add_rows(self, evaluator: Evaluator) -> None:
        """Floors, then methods and ceilings as named, then recorded predictions."""
        evaluator.prior = self._prior(evaluator)
        for row in (*FLOORS, *(row for row in self._rows if row not in FLOORS)):
            if row in registry.CEILINGS:
                self._add_ceiling(evaluator, row)
            else:
                self._add_method(evaluator, row)
        if self.predictions:
            self._add_recorded(evaluator, self.predictions)

    def _add_recorded(self, evaluator: Evaluator, path: str) -> None:
        """The row of recorded predictions, with how many of them joined."""
        recorded = RecordedGrounder(path, self.frame)
        partners, joined = recorded.join(evaluator.samples)
        lines = evaluator.predict(recorded.name, partial(build_recorded, path, self.frame, partners))
        evaluator.add(recorded.name, "method", lines, frame=recorded.frame, joined=joined)

    def _prior(self, evaluator: Evaluator) -> np.ndarray:
        """The constant floor's box, normalised; it is the same on every image."""
        query = evaluator.queries[0]
        return box_ops.normalize(self._factory("constant").grounder.ground([query])[0].box, query.image.size)

    def _add_ceiling(self, evaluator: Evaluator, name: str) -> None:
        build = partial(build_ceiling, name, self.options.get(name, {}))
        lines = evaluator.predict(name, build, asked=evaluator.samples)
        evaluator.add(name, "ceiling (sees the answer)", lines)

    def _add_method(self, evaluator: Evaluator, name: str) -> None:
        """The row of a method; where it is no floor also its probes, its proposal oracle, its refined rows."""
        lines = evaluator.predict(name, self._factory(name))
        if name in FLOORS:
            evaluator.add(name, "floor", lines)
            return
        extra = {"probes": self._probe(evaluator, name)} if self.probes else {}
        ious = evaluator.add(name, "method", lines, **extra)
        evaluator.add_proposal_oracle(name, lines)
        for refiner in self.refiners:
            if refiner != name:
                self._add_refined(evaluator, name, refiner, lines, ious)

    def _probe(self, evaluator: Evaluator, name: str) -> dict[str, float]:
        """Acc@0.5 with spoiled expressions."""
        found = {}
        for how in probes.PROBES:
            spoiled = probes.altered(evaluator.queries, how, self.seed)
            ious, _, _ = evaluator.score(evaluator.predict(name, self._factory(name), asked=spoiled))
            found[how] = metrics.accuracy(ious, 0.5)
        return found

    def _add_refined(
        self, evaluator: Evaluator, name: str, refiner: str, lines: list[Line], before: np.ndarray
    ) -> None:
        """The row of a refiner that starts from a method's boxes, with what it gains over them."""
        label = f"{name} + {refiner}"
        refined = evaluator.predict(label, self._factory(refiner), evaluator.boxes(lines))
        after = evaluator.add(label, "refined", refined, refines=name)
        gain = partial(metrics.paired_difference, groups=evaluator.groups, seed=self.seed)
        evaluator.rows[-1]["refined_by"] = gain(after, before)
        evaluator.rows[-1]["refined_by_acc@0.5"] = gain(metrics.hits(after), metrics.hits(before))

    def _factory(self, row: str) -> GrounderFactory:
        """What builds the grounder of a row, with its options and, where it takes one, the comparison's CLIP."""
        if row not in self._factories:
            name, swept = self._rows.get(row, (row, {}))
            options = {**options_of(name, self.options), **swept}
            assert self.dataset is not None
            self._factories[row] = GrounderFactory(name, options, self.clip, self.dataset, self.train_split, self.root)
        return self._factories[row]

    def _meta(self) -> dict[str, Any]:
        """How the results came about."""
        return {
            **{name: value for name, value in asdict(self).items() if name not in UNRECORDED},
            "command": self.command,
            "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            "versions": {"python": sys.version.split()[0], **{name: version(name) for name in LIBRARIES}},
            "bootstrap": {"resamples": metrics.RESAMPLES, "level": 0.95, "groups": "images"},
        }
