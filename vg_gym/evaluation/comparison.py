"""Comparison of methods with floors (baselines that cannot see) and ceilings (upper bounds) on one split.

:meth:`Comparison.run` builds and checks every row of the table, predicts with all methods, scores the predictions, and
writes the results: a table on the terminal, ``results.json`` and ``report.html``.
"""

from __future__ import annotations

import datetime
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym import registry
from vg_gym.clip import load_clip
from vg_gym.clip.known_words import warn_of_dataset
from vg_gym.errors import Interrupted, MissingExtra, VGGymError, without_scores
from vg_gym.evaluation import intervals, metrics, probes, rejection
from vg_gym.evaluation.columns import Answers
from vg_gym.evaluation.comparison_options import SETTINGS, UNRECORDED, ComparisonOptions
from vg_gym.evaluation.evaluator import Evaluator, is_labeled
from vg_gym.evaluation.methods import (
    FIT_SAMPLES,
    GrounderFactory,
    TableRow,
    Unfitted,
    ceiling_rows,
    default_clip,
    drawn_methods,
    is_sweep,
    options_of,
    owners,
    row_name,
    sweep,
    taken_threshold,
    with_server,
)
from vg_gym.evaluation.predictions import Lines
from vg_gym.evaluation.recorded import RecordedGrounder, recorded_name, recorded_row
from vg_gym.evaluation.recorded_detections import recorded_rows
from vg_gym.evaluation.rejection import Fits
from vg_gym.evaluation.report.report import write_report
from vg_gym.evaluation.results import refuse_other_folders, write_results
from vg_gym.evaluation.terminal_tables import print_counts, print_table
from vg_gym.evaluation.turns import FLOORS, check_turns, is_iterated, turn_rows
from vg_gym.registry.checks import check_grounder, check_refiner
from vg_gym.registry.photographs import PUBLISHED_CLIP, clip_for, weights_for, world_of
from vg_gym.registry.seen import seen_text
from vg_gym.runtime.devices import pick_device
from vg_gym.runtime.runners import Runner, make_runner
from vg_gym.storage.files import fingerprint
from vg_gym.storage.locks import writing_alone
from vg_gym.types import GroundingDataset, best_boxes

LIBRARIES = ("torch", "open_clip_torch", "gymnasium", "stable-baselines3", "numpy")
"""Packages whose versions are in ``results.json``."""


@dataclass
class Comparison(ComparisonOptions):
    """Comparison that ``evaluate.py`` runs; see :meth:`run`.

    Raises:
        VGGymError: a method is unknown, or there are options for one that is not compared.
    """

    def __post_init__(self):
        self.left_out: dict[str, str] = {}
        """Floor, ceiling or metric that the table lacks -> reason."""
        self.options = with_server(self.options, self.api_base, self.api_concurrency)
        self.refiners = [name.strip() for name in (self.refine or "").split(",") if name.strip()]
        self._rows = {
            row: (name, swept)
            for name in self.methods
            for row, swept in sweep(name, self.options.get(registry.grounder_key(name), {})).items()
        }
        self._factories: dict[str, GrounderFactory] = {}
        self._built: dict[str, TableRow] = {}
        self._lacking: dict[str, MissingExtra] = {}
        named = [*FLOORS, *self.methods, *self.refiners]
        used = {owner for name in named for owner in owners(name)} | {recorded_name(self.predictions or "")}
        for key in self.options:
            if key not in used:
                remedy = f"add it to --methods, or leave its options out: {', '.join(named)}"
                raise VGGymError(f"options for {key!r}, which none of the methods is or uses; {remedy}")
        check_turns(self.iterate, [name for name, _ in self._rows.values()])

    def run(self) -> list[dict[str, Any]]:
        """Check every method, predict, score, print the table, write the files, and return the rows.

        Data without boxes cannot be scored: predictions are written, but no results.

        Raises:
            Interrupted: Ctrl-C or SIGTERM; the same command resumes the run.
            VGGymError: before any prediction: a method, an option, the data set or a file is unknown or unusable, a
                method needs a package that is not installed, or another process writes to ``out``. After the rows of
                all other methods: a method failed on every query, or lacks a package that it imports only then.
            CannotWrite: ``out`` cannot be created or written.
        """
        out = Path(self.out)
        if not self.recorded:
            self._check()
        with writing_alone(out):
            refuse_other_folders(out)
            if self.recorded:
                return self._score_recorded_detections(Path(self.recorded))
            with closing(make_runner(self.runner, self.workers)) as runner:
                try:
                    evaluator = self._evaluate(runner)
                except KeyboardInterrupt:
                    same = "the same command without --fresh" if self.fresh else "the same command"
                    raise Interrupted(f"interrupted; the work so far is in {out}: {same} resumes the run") from None
            self._write(evaluator)
            self._raise_failures(evaluator)
            return evaluator.rows

    def _check(self) -> None:
        """Check names, options, extras and agents of all methods, and the number of samples; nothing is built."""
        if self.limit is not None and self.limit < 1:
            raise VGGymError(f"--limit is {self.limit}; it must be at least 1, or left out to evaluate all samples")
        for refiner in self.refiners:
            check_refiner(refiner)
        for row in dict.fromkeys([*self._rows, *self.refiners, *FLOORS]):
            name, swept = self._rows.get(row, (row, None))
            if name in registry.CEILINGS:
                registry.ceiling(name, **self._ceiling_options(name, swept or {}))
            else:
                check_grounder(name, self._options_of(row)[1])

    def _evaluate(self, runner: Runner) -> Evaluator:
        """Check everything, then predict with every method, then score every row."""
        data = self._open_data(self.split)
        splits = [split for split in (self.fit_threshold, self.calibrate) if split]
        fit_data = rejection.open_fit_data(splits, self.split, self._open_data)
        named = [*self.methods, *self.refiners]
        if not self.clip:
            self.clip = default_clip(named, str(self.dataset))
            if self.clip == "none":
                self.left_out["crop metrics"] = f"No method takes a CLIP; --clip {PUBLISHED_CLIP} adds them."
        rows = self._check_rows(runner) if is_labeled(data) else self._check_rows_without_boxes(runner)
        warn_of_dataset(
            drawn_methods(named, self._method_clip, self.options, str(self.dataset)), str(self.dataset), data
        )
        answers = (
            RecordedGrounder(self.predictions, self.frame, None, self.box_format, True) if self.predictions else None
        )
        evaluator = self._evaluator(data, runner)
        if answers:
            sets, options = evaluator.columns.has_sets, self.options.get(answers.name, {})
            rows.append(recorded_row(answers, evaluator.samples, sets, options))
        lines = self._predict(evaluator, rows, probed=True)
        fits = rejection.fit(
            fit_data, rejection.fitted_rows(rows, lines) if fit_data else [], self._predict, evaluator.out,
            self.fit_threshold, self.calibrate, settings=self._settings, limit=self.limit or FIT_SAMPLES,
            seed=self.seed, runner=runner, fresh=self.fresh, retry_failures=self.retry_failures,
        )  # fmt: skip
        self._score(evaluator, rows, lines, fits)
        return evaluator

    # Check: build the rows of the table.

    def _open_data(self, split: str) -> GroundingDataset:
        if self.dataset is None:
            raise VGGymError("name a data set: --dataset refshapes")
        return registry.open_dataset(self.dataset, split, self.root, **self.dataset_options)

    def _check_rows(self, runner: Runner) -> list[TableRow]:
        """Build the methods of all rows: floors, then methods and ceilings in the order of the command."""
        methods = {
            name: self._row(runner, name, "method")
            for name in self._rows
            if name not in FLOORS and not self._is_ceiling(name)
        }
        rows = [self._row(runner, name, "floor") for name in FLOORS if name != "constant" or self._has_constant()]
        for name in self._rows:
            if name in methods:
                rows += [methods[name], *self._turn_rows(methods[name]), *self._refined_rows(runner, methods[name])]
            elif self._is_ceiling(name):
                rows += self._ceiling_rows(name, methods.values())
        return rows

    def _check_rows_without_boxes(self, runner: Runner) -> list[TableRow]:
        """Build the methods of all rows for data without boxes, which have neither floors nor ceilings."""
        flags = ("probes", "predictions", "fit_threshold", "calibrate")
        if needs := [f"--{name.replace('_', '-')}" for name in flags if getattr(self, name)]:
            raise VGGymError(f"{self.dataset}/{self.split} has no boxes, which {needs[0]} needs; leave it out")
        if not self._rows:
            raise VGGymError(f"{self.dataset}/{self.split} has no boxes: name --methods to predict with")
        self.left_out = {
            name: "It needs the true boxes, and the data has none." for name in self._rows if self._is_ceiling(name)
        }
        methods = [self._row(runner, name, "method") for name in self._rows if name not in self.left_out]
        return [
            row for method in methods for row in (method, *self._turn_rows(method), *self._refined_rows(runner, method))
        ]

    def _has_constant(self) -> bool:
        """Return whether the floor ``constant`` can be fitted; if not, it is left out, unless the user named it."""
        try:
            return bool(self._factory("constant").grounder)
        except Unfitted as error:
            if "constant" in self.methods or self.train_split != type(self).train_split:
                raise
            self.left_out["constant"] = str(error)
            return False

    def _is_probed(self, row: TableRow) -> bool:
        return self.probes and row.role == "method" and row.name in self._rows

    def _is_ceiling(self, row: str) -> bool:
        return row in self._rows and self._rows[row][0] in registry.CEILINGS

    def _row(self, runner: Runner, name: str, role: str) -> TableRow:
        """Return the row of a method, which is built once, in the process in which it runs."""
        if name not in self._built:
            factory = self._factory(name)
            [(_, description)] = runner.map(factory.describing, [None])
            columns, (saved_as, _, nothing_below) = {"seen": description.seen}, self._options_of(name)
            self._built[name] = TableRow(
                name, role, factory, description.inputs, columns, description.moves, nothing_below, saved_as
            )
        return replace(self._built[name], role=role)

    def _refined_rows(self, runner: Runner, initial: TableRow) -> list[TableRow]:
        """Return the rows of the refiners that start from the boxes of a method."""
        rows = [self._row(runner, refiner, "refined") for refiner in self.refiners if refiner != initial.name]
        initial_seen = {"initial boxes": seen_text(initial.columns["seen"])}
        return [
            replace(
                row,
                name=f"{initial.name} + {row.name}",
                saved_as=f"{initial.saved_as} + {row.saved_as}",
                columns={"refines": initial.name, "seen": {**row.columns["seen"], **initial_seen}},
            )
            for row in rows
        ]

    def _turn_rows(self, first: TableRow) -> list[TableRow]:
        return turn_rows(first, self.iterate) if is_iterated(self._rows[first.name][0]) else []

    def _ceiling_rows(self, row: str, methods: Iterable[TableRow]) -> list[TableRow]:
        """Return the rows of a ceiling, which bounds the moves of the methods in the table."""
        name, swept = self._rows[row]
        return ceiling_rows(row, name, self._ceiling_options(name, swept), methods)

    def _ceiling_options(self, name: str, swept: Mapping[str, Any]) -> dict[str, Any]:
        """Return the options of a ceiling, with one value of each swept option."""
        return {key: value for key, value in self.options.get(name, {}).items() if not is_sweep(value)} | dict(swept)

    def _factory(self, row: str) -> GrounderFactory:
        """Return the factory of the grounder of a row, with its options and the CLIP of the comparison."""
        saved_as, options, _ = self._options_of(row)
        if saved_as not in self._factories:
            assert self.dataset is not None
            name = self._rows.get(row, (row, None))[0]
            if name not in registry.CEILINGS:
                options = weights_for(name, options, world_of(self.dataset))
            self._factories[saved_as] = GrounderFactory(
                name, options, self._method_clip, self.dataset, self.train_split, self.root, self.split
            )
        return self._factories[saved_as]

    @property
    def _method_clip(self) -> str:
        """CLIP of methods that take one; without crop metrics, that of the data set."""
        return clip_for(str(self.dataset)) if self.clip == "none" else self.clip

    def _options_of(self, row: str) -> tuple[str, dict[str, Any], float | None]:
        """Return the name of the row's predictions, the options of its method, and the threshold of its scores."""
        name, swept = self._rows.get(row, (row, None))
        options = options_of(name, self.options)
        if swept is None:  # a refiner has one row and takes the defaults of swept options
            options = {key: value for key, value in options.items() if not is_sweep(value)}
        options = {**options, **(swept or {})}
        threshold = taken_threshold(options, row)
        if threshold is not None and not registry.grounder_spec(name).scored:
            raise without_scores(row, threshold)
        return row_name(name, {key: options[key] for key in swept or () if key in options}), options, threshold

    @property
    def _settings(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if name in SETTINGS}

    def _evaluator(self, data: GroundingDataset, runner: Runner) -> Evaluator:
        clip = None if self.clip == "none" else load_clip(self.clip, pick_device())
        return Evaluator(
            data, Path(self.out), self._settings, self.limit, clip, self.seed,
            runner=runner, fresh=self.fresh, retry_failures=self.retry_failures,
        )  # fmt: skip

    # Predict and score.

    def _predict(self, evaluator: Evaluator, rows: Sequence[TableRow], probed: bool = False) -> dict[str, Lines]:
        """Return the predictions of every row, and if ``probed`` those with altered expressions as ``"row?probe"``.

        A row whose method lacks a package is left out, and so are the rows that start from its boxes.
        """
        lines: dict[str, Lines] = {}
        for row in rows:
            if row.refines and row.refines not in lines:
                continue
            initial = Answers.of(lines[row.refines]) if row.refines else None
            if initial is not None and initial.has_point.any():
                self.left_out[row.name] = f"{row.refines} answers with points, which are not boxes to start from"
                continue
            initial_boxes = None if initial is None else evaluator.boxes(initial)
            queries = evaluator.samples if row.role.startswith("ceiling") else evaluator.queries
            predict = partial(evaluator.predict, row.saved_as or row.name, row.factory, inputs=row.inputs)
            try:
                lines[row.name] = predict(initial_boxes=initial_boxes, asked=queries)
                rejection.check_scored(row, Answers.of(lines[row.name]))
                for probe in probes.PROBES if probed and self._is_probed(row) else ():
                    queries = probes.altered(evaluator.queries, probe, self.seed)
                    lines[f"{row.name}?{probe}"] = predict(asked=queries)
            except MissingExtra as error:
                self._lacking[row.name] = error
        return lines

    def _score(self, evaluator: Evaluator, rows: Sequence[TableRow], lines: Mapping[str, Lines], fits: Fits) -> None:
        """Add every row with its columns to the evaluator."""
        rows = [row for row in rows if row.name not in self._lacking and row.name in lines]
        if not evaluator.labeled:
            for row in rows:
                evaluator.count(row.name, row.role, Answers.of(lines[row.name]))
            return
        evaluator.prior = self._prior(evaluator)
        thresholds = {row.name: threshold for row in rows if (threshold := fits.threshold(row))}
        evaluator.sets |= bool(thresholds)
        ious: dict[str, np.ndarray] = {}
        answered: dict[str, Answers] = {}
        for row in rows:
            probed = {"probes": _probe_columns(evaluator, row.name, lines)} if self._is_probed(row) else {}
            answers = Answers.of(lines[row.name])
            calibration = fits.calibration(row, answers, evaluator.columns)
            fitted = {"calibration": calibration} if calibration else {}
            if threshold := thresholds.get(row.name):
                answers, fitted["nothing_below"] = answers.above(threshold["value"]), threshold
            answered[row.name] = answers = answers.after(answered[row.refines]) if row.refines else answers
            ious[row.name] = evaluator.add(row.name, row.role, answers, **row.columns, **probed, **fitted)
            if row.refines and evaluator.columns.one.any():
                one = evaluator.columns.one
                before, after = ious[row.refines][one], ious[row.name][one]
                refined = metrics.refinement(before, after, evaluator.columns.groups[one])
                evaluator.rows[-1].update(refined)

    def _prior(self, evaluator: Evaluator) -> np.ndarray | None:
        """Return the normalised box of the constant floor, the same for all images; None if the floor is left out."""
        if "constant" in self.left_out:
            return None
        query = evaluator.queries[evaluator.columns.readable[0]]
        prediction = self._factory("constant").grounder.ground([query])
        return box_ops.normalize(best_boxes(prediction, [query])[0], query.image.size)

    def _score_recorded_detections(self, path: Path) -> list[dict[str, Any]]:
        rows = recorded_rows(path)
        write_results(Path(self.out), {**self._meta(), "recorded": path.name, "content": fingerprint(path)[:16]}, rows)
        print_table(rows, f"{path.name}, {rows[0]['n']} expressions")
        return rows

    # Write.

    def _write(self, evaluator: Evaluator) -> None:
        """Write the results and the report, and print the table."""
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
        evaluator.tidy()

    def _raise_failures(self, evaluator: Evaluator) -> None:
        """Raise an error if a method failed on every query or lacks a package, after all other rows are written."""
        for name, reason in evaluator.failed.items():
            raise VGGymError(
                f"{name} failed on every query, the first: {reason}; fix the cause and add --retry-failures (the other "
                f"results are in {self.out})"
            )
        if self._lacking:
            reasons = "; ".join(f"{row}: {error}" for row, error in self._lacking.items())
            raise VGGymError(f"left out, while {self.out} has the rest: {reasons}")

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


def _probe_columns(evaluator: Evaluator, name: str, lines: Mapping[str, Lines]) -> dict[str, float]:
    """Return Acc@0.5 with altered expressions, by probe."""
    ious = {probe: evaluator.score(Answers.of(lines[f"{name}?{probe}"]))[0] for probe in probes.PROBES}
    return {probe: metrics.accuracy(values, 0.5) for probe, values in ious.items()}
