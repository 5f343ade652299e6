"""Comparison of methods with floors (baselines) and ceilings (upper bounds) on one split.

It prints a table and writes ``results.json`` and ``report.html``.
"""

from __future__ import annotations

import datetime
import sys
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym import registry
from vg_gym.clip import load_clip
from vg_gym.errors import Interrupted, MissingExtra, VGGymError
from vg_gym.evaluation import intervals, metrics, probes
from vg_gym.evaluation.answer_columns import Answers
from vg_gym.evaluation.evaluator import Evaluator, write_results
from vg_gym.evaluation.methods import Description, GrounderFactory, Unfitted, build_ceiling
from vg_gym.evaluation.options import is_sweep, options_of, owners, sweep
from vg_gym.evaluation.recorded import recorded_rows
from vg_gym.evaluation.recorded_answers import RecordedGrounder, build_recorded
from vg_gym.evaluation.report.report import write_report
from vg_gym.evaluation.saved import refuse_other_folders
from vg_gym.evaluation.tables import print_counts, print_table
from vg_gym.registry.identity import versions
from vg_gym.registry.seen import ANSWER, RECORDED, seen_text
from vg_gym.runtime.runners import Runner, make_runner
from vg_gym.storage.files import fingerprint
from vg_gym.storage.locks import writing_alone
from vg_gym.types import best_boxes

FLOORS = ("no-op", "full", "center", "constant")
"""Baselines of every table; ``no-op`` is an agent that never moves its box."""
SETTINGS = ("dataset", "dataset_options", "split", "limit", "seed")
"""Fields that must be the same in a resumed run."""
UNRECORDED = ("root", "out", "command", "runner", "workers")
"""Fields that are not in the settings of ``results.json``, since results do not depend on them."""
LIBRARIES = ("torch", "open_clip_torch", "gymnasium", "stable-baselines3", "numpy")
"""Packages whose versions are in ``results.json``."""


@dataclass
class Comparison:
    """Comparison that ``evaluate.py`` runs; see :meth:`run`.

    Raises:
        VGGymError: a method is unknown, or there are options for one that is not compared.
    """

    methods: Sequence[str]
    """Grounders (``vg-gym list grounders``), grounders of your own (``package.module:factory``), and ``action-oracle``,
    the upper bound of an action set. Without options it bounds the moves of each agent in the table, or
    ``multi-edges`` in 12 steps."""
    out: str
    """Folder for the results."""
    dataset: str | None = None
    """A data set (``vg-gym list datasets``), or ``package.module:factory``; unused with ``recorded``."""
    split: str = "test"
    """Split of the data set that is evaluated."""
    root: str | None = None
    """Folder of the data set on disk."""
    dataset_options: dict[str, Any] = field(default_factory=dict)
    """Options of the evaluated split, e.g. ``seed`` of RefShapes."""
    train_split: str = "train"
    """Split on which fitted methods are fitted."""
    clip: str = "refshapes"
    """CLIP of methods that take one, and of the crop metrics; ``none`` leaves the crop metrics out."""
    limit: int | None = None
    """Number of samples to evaluate, from the first on; by default all."""
    refine: str | None = None
    """One method, or several with commas, that starts from the boxes of every other method except floors. Each adds a
    row with the paired differences of mean IoU and Acc@0.5, and a panel in ``refined.png``."""
    predictions: str | None = None
    """File of recorded answers to evaluate as one more method; docs/evaluation.md describes its format."""
    frame: str | None = None
    """Coordinate frame of the boxes in ``predictions``; by default pixels."""
    box_format: str | None = None
    """Format of the boxes in ``predictions``; by default xyxy, and boxes called ``bbox`` are an error."""
    recorded: str | None = None
    """File of recorded detections to evaluate without a data set."""
    probes: bool = False
    """Rerun every method with empty, shuffled and swapped expressions."""
    seed: int = 0
    """Seed of the probes."""
    fresh: bool = False
    """Delete earlier predictions."""
    retry_failures: bool = False
    """Retry queries that failed in earlier runs."""
    options: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Method -> its options, from ``METHOD.KEY=VALUE``. Several numbers, e.g. ``diffusion.steps=1,2,4``, give one row
    each: ``diffusion[steps=1]``."""
    command: str = ""
    """Command line, for ``results.json``."""
    runner: str = "local"
    """Runner of the methods: ``local``, or ``ray`` with several processes. Predictions do not depend on it, so
    another runner can resume a run."""
    workers: int = 0
    """Number of processes of the runner; 0: one per CPU."""

    def __post_init__(self):
        self.refiners = [name.strip() for name in (self.refine or "").split(",") if name.strip()]
        self._rows = {
            row: (name, swept)
            for name in self.methods
            for row, swept in sweep(name, self.options.get(registry.grounder_key(name), {})).items()
        }
        self._factories: dict[str, GrounderFactory] = {}
        self._descriptions: dict[str, Description] = {}
        self.left_out: dict[str, str] = {}
        """Floor or ceiling that the table lacks -> reason."""
        self._lacking: dict[str, MissingExtra] = {}
        named = [*FLOORS, *self.methods, *self.refiners]
        used = {owner for name in named for owner in owners(name)}
        for key in self.options:
            if key not in used:
                raise VGGymError(f"options for {key!r}, which none of the methods is or uses: {', '.join(named)}")

    def run(self) -> list[dict[str, Any]]:
        """Predict, score, print the table, write the files, and return the rows.

        Data without boxes cannot be scored: predictions are written, but no results.

        Raises:
            Interrupted: Ctrl-C or SIGTERM; the same command resumes the run.
            VGGymError: a method, an option, the data set or a file is unknown or unusable, or another process writes to
                ``out``. Also, after the rows of all other methods: a method failed on every query or needs a package
                that is not installed.
            CannotWrite: ``out`` cannot be created or written.
        """
        with writing_alone(Path(self.out)):
            refuse_other_folders(Path(self.out))
            return self._run_recorded(Path(self.recorded)) if self.recorded else self._run()

    def _run(self) -> list[dict[str, Any]]:
        with closing(make_runner(self.runner, self.workers)) as runner:
            evaluator = self._evaluator(runner)
            try:
                if evaluator.labeled:
                    self._add_rows(evaluator)
                else:
                    self._add_predictions(evaluator)
            except KeyboardInterrupt:
                raise Interrupted(
                    f"interrupted; the work so far is in {self.out}: the same command resumes the run"
                ) from None
        self._write(evaluator)
        evaluator.tidy()
        for name, reason in evaluator.failed.items():
            raise VGGymError(
                f"{name} failed on every query, the first: {reason}; fix the cause and add --retry-failures (the other "
                f"results are in {self.out})"
            )
        if self._lacking:
            reasons = "; ".join(f"{row}: {error}" for row, error in self._lacking.items())
            raise VGGymError(f"left out, while {self.out} has the rest: {reasons}")
        return evaluator.rows

    def _write(self, evaluator: Evaluator) -> None:
        title = f"{self.dataset}/{self.split}, {len(evaluator.samples)} expressions"
        if evaluator.labeled:
            meta = self._meta()
            evaluator.save(meta)
            write_report(evaluator.out, evaluator.rows, evaluator.samples, evaluator.lines, meta)
            print_table(evaluator.rows, title)
        else:
            print_counts(evaluator.rows, title)
            print(f"{self.dataset}/{self.split} has no boxes to score against, so there are no results; the")
            print(f"predictions are in {Path(self.out) / 'predictions.jsonl'}")
        for name, reason in self.left_out.items():
            print(f"left out: {name}. {reason}")

    def _run_recorded(self, path: Path) -> list[dict[str, Any]]:
        rows, out = recorded_rows(path), Path(self.out)
        write_results(out, {**self._meta(), "recorded": path.name, "content": fingerprint(path)[:16]}, rows)
        print_table(rows, f"{path.name}, {rows[0]['n']} expressions")
        return rows

    def _evaluator(self, runner: Runner) -> Evaluator:
        if self.dataset is None:
            raise VGGymError("name a data set: --dataset refshapes")
        data = registry.open_dataset(self.dataset, self.split, self.root, **self.dataset_options)
        settings = {name: value for name, value in asdict(self).items() if name in SETTINGS}
        clip = None if self.clip == "none" else load_clip(self.clip)
        out = Path(self.out)
        return Evaluator(
            data, out, settings, self.limit, clip, self.seed,
            runner=runner, fresh=self.fresh, retry_failures=self.retry_failures,
        )  # fmt: skip

    def _add_rows(self, evaluator: Evaluator) -> None:
        """Add floors, then methods and ceilings in the order of the command, then recorded predictions."""
        evaluator.prior = self._prior(evaluator)
        floors = [name for name in FLOORS if name not in self.left_out]
        for row in (*floors, *(row for row in self._rows if row not in FLOORS)):
            try:
                (self._add_ceilings if self._is_ceiling(row) else self._add_method)(evaluator, row)
            except MissingExtra as error:
                self._lacking[row] = error
        if self.predictions:
            self._add_recorded(evaluator, self.predictions)

    def _add_recorded(self, evaluator: Evaluator, path: str) -> None:
        """Add the row of recorded predictions, with the number of answers that matched a query."""
        recorded = RecordedGrounder(path, self.frame, box_format=self.box_format)
        partners, joined = recorded.join(evaluator.samples)
        inputs = {
            "answers": fingerprint(Path(path), sorted(partners.items()))[:16],
            "frame": recorded.frame,
            "box format": str(self.box_format),
            **versions(),
        }
        build = partial(build_recorded, path, self.frame, self.box_format, partners)
        answers = evaluator.predict(recorded.name, build, inputs=inputs)
        evaluator.add(recorded.name, "method", answers, frame=recorded.frame, joined=joined, seen=RECORDED)

    def _add_predictions(self, evaluator: Evaluator) -> None:
        """Predict without scoring, for data without boxes."""
        if self.probes or self.predictions:
            needs = "--probes" if self.probes else "--predictions"
            raise VGGymError(f"{self.dataset}/{self.split} has no boxes, which {needs} needs; leave it out")
        self.left_out = {
            row: "It needs the true boxes, and the data has none." for row in self._rows if self._is_ceiling(row)
        }
        if not self._rows:
            raise VGGymError(f"{self.dataset}/{self.split} has no boxes: name --methods to predict with")
        for row in (row for row in self._rows if row not in self.left_out):
            answers = self._predict(evaluator, row)
            evaluator.count(row, "method", answers)
            for refiner in (name for name in self.refiners if name != row):
                label = f"{row} + {refiner}"
                refined = self._predict(evaluator, refiner, label, initial_boxes=evaluator.boxes(answers))
                evaluator.count(label, "refined", refined)

    def _prior(self, evaluator: Evaluator) -> np.ndarray | None:
        """Return the normalised box of the constant floor, the same for all images; None if the floor is left out."""
        query = evaluator.queries[evaluator.columns.readable[0]]
        try:
            prediction = self._factory("constant").grounder.ground([query])
            return box_ops.normalize(best_boxes(prediction, [query])[0], query.image.size)
        except Unfitted as error:
            if "constant" in self.methods or self.train_split != type(self).train_split:
                raise
            self.left_out["constant"] = str(error)
            return None

    def _is_ceiling(self, row: str) -> bool:
        return row in self._rows and self._rows[row][0] in registry.CEILINGS

    def _add_ceilings(self, evaluator: Evaluator, row: str) -> None:
        """Add the row of a ceiling; without options, one row for each set of moves of the methods in the table."""
        name, swept = self._rows[row]
        options = {key: value for key, value in self.options.get(name, {}).items() if not is_sweep(value)} | swept
        moves = {} if options else self._moves(evaluator)
        if len(moves) < 2:
            self._add_ceiling(evaluator, row, name, options or next(iter(moves.values()), {}))
            return
        for method, one in moves.items():
            self._add_ceiling(evaluator, f"{row} of {method}", name, one)

    def _moves(self, evaluator: Evaluator) -> dict[str, dict[str, Any]]:
        """Return the options of the ceiling of a method's moves by method; methods with the same moves occur once."""
        moves_by_method: dict[str, dict[str, Any]] = {}
        for row in (row for row in self._rows if row not in FLOORS and not self._is_ceiling(row)):
            with suppress(MissingExtra):  # the row of the method reports it
                moves = self._description(evaluator, row).moves
                if moves is not None and moves not in moves_by_method.values():
                    moves_by_method[row] = moves
        return moves_by_method

    def _add_ceiling(self, evaluator: Evaluator, row: str, name: str, options: dict[str, Any]) -> None:
        """Add a row of a ceiling, whose role says what it bounds."""
        inputs = {"options": repr(sorted(options.items())), **versions()}
        build = partial(build_ceiling, name, options)
        answers = evaluator.predict(row, build, asked=evaluator.samples, inputs=inputs)
        bounds = registry.ceiling(name, **options).bounds
        evaluator.add(row, f"ceiling of {bounds} (sees the answer)", answers, seen=ANSWER)

    def _add_method(self, evaluator: Evaluator, name: str) -> None:
        """Add the row of a method and, except for floors, its probes, proposal oracle and refined rows."""
        answers = self._predict(evaluator, name)
        if name in FLOORS:
            evaluator.add(name, "floor", answers, seen=self._seen(evaluator, name))
            return
        extra = {"probes": self._probe(evaluator, name)} if self.probes else {}
        ious = evaluator.add(name, "method", answers, seen=self._seen(evaluator, name), **extra)
        evaluator.add_proposal_oracle(name, answers)
        for refiner in self.refiners:
            if refiner != name:
                self._add_refined(evaluator, name, refiner, answers, ious)

    def _probe(self, evaluator: Evaluator, name: str) -> dict[str, float]:
        """Return Acc@0.5 with altered expressions, by probe."""
        accuracies = {}
        for how in probes.PROBES:
            spoiled = probes.altered(evaluator.queries, how, self.seed)
            ious, _, _ = evaluator.score(self._predict(evaluator, name, asked=spoiled))
            accuracies[how] = metrics.accuracy(ious, 0.5)
        return accuracies

    def _add_refined(self, evaluator: Evaluator, name: str, refiner: str, answers: Answers, before: np.ndarray) -> None:
        """Add the row of a refiner that starts from the boxes of a method, with its gain over them."""
        label = f"{name} + {refiner}"
        refined = self._predict(evaluator, refiner, label, initial_boxes=evaluator.boxes(answers))
        seen_by_part = {**self._seen(evaluator, refiner), "initial boxes": seen_text(self._seen(evaluator, name))}
        after = evaluator.add(label, "refined", refined, refines=name, seen=seen_by_part)
        gain = partial(metrics.paired_difference, groups=evaluator.columns.groups)
        evaluator.rows[-1]["refined_by"] = gain(after, before)
        evaluator.rows[-1]["refined_by_acc@0.5"] = gain(metrics.hits(after), metrics.hits(before))

    def _predict(self, evaluator: Evaluator, row: str, label: str = "", **arguments: Any) -> Answers:
        """Return the predictions of the method of a row, saved under ``label`` (default: the name of the row)."""
        inputs = self._description(evaluator, row).inputs
        return evaluator.predict(label or row, self._factory(row), inputs=inputs, **arguments)

    def _seen(self, evaluator: Evaluator, row: str) -> dict[str, str]:
        """Return what each part of the method of a row has seen of the truth."""
        return self._description(evaluator, row).seen

    def _description(self, evaluator: Evaluator, row: str) -> Description:
        """Return the description of the method of a row, from the process in which it runs."""
        if row not in self._descriptions:
            [(_, self._descriptions[row])] = evaluator.runner.map(self._factory(row).describing, [None])
        return self._descriptions[row]

    def _factory(self, row: str) -> GrounderFactory:
        """Return the factory of the grounder of a row, with its options and the CLIP of the comparison."""
        if row not in self._factories:
            name, swept = self._rows.get(row, (row, None))
            options = options_of(name, self.options)
            if swept is None:  # a refiner has one row and takes the defaults of swept options
                options = {key: value for key, value in options.items() if not is_sweep(value)}
            options = {**options, **(swept or {})}
            assert self.dataset is not None
            self._factories[row] = GrounderFactory(
                name, options, self.clip, self.dataset, self.train_split, self.root, self.split
            )
        return self._factories[row]

    def _meta(self) -> dict[str, Any]:
        """Return command, settings, date and versions for ``results.json``."""
        return {
            **{name: value for name, value in asdict(self).items() if name not in UNRECORDED},
            **({"left_out": self.left_out} if self.left_out else {}),
            "command": self.command,
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "versions": {"python": sys.version.split()[0], **{name: version(name) for name in LIBRARIES}},
            "intervals": {"method": "empirical likelihood", "level": intervals.LEVEL, "groups": "images"},
        }
