"""Methods of a comparison: their options from the command line, and the factories that build them.

A factory builds its grounder once in each process in which it predicts. Options are ``METHOD.KEY=VALUE``; an option
with several numbers is a sweep, with one row for each.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

from vg_gym import registry
from vg_gym.config import read_pairs
from vg_gym.data.rows import ALL
from vg_gym.errors import VGGymError, unknown
from vg_gym.evaluation.columns import readable_size
from vg_gym.evaluation.lines import Batch, Line, predict_batch
from vg_gym.evaluation.results import hash_of_samples
from vg_gym.registry.identity import inputs_of, versions
from vg_gym.registry.photographs import clip_for, is_drawn, knows_drawn_only
from vg_gym.registry.seen import ANSWER, seen_by
from vg_gym.runtime.runners import Factory
from vg_gym.storage.files import fingerprint
from vg_gym.types import Fitted, Grounder, MayLack, Moving, Sample

SWEEP_PATTERN = re.compile(r"-?[\d.]+(,-?[\d.]+)+")
"""Pattern of option values that are a sweep."""
OPTION = "nothing_below"
"""Option of every method with scores: the score below which its answer is that nothing fits. It does not reach the
method, since the evaluator applies it."""
DATASET = "dataset_options"
"""Name that stands in place of a method for the options of the data set."""
FIT_SAMPLES = 2000
"""Number of training samples for a :class:`~vg_gym.types.Fitted` grounder."""


def method_options(pairs: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Parse ``METHOD.KEY=VALUE`` and return the options by method.

    A method is a grounder (also ``package.module:factory``), a ceiling, a proposer, whose options go to all pipelines
    that start with it, or ``dataset_options`` for the options of the data set.

    Raises:
        VGGymError: a pair is not METHOD.KEY=VALUE, or the method is unknown.

    >>> method_options(["clip-window.score=cosine", "diffusion.steps=2"])
    {'clip-window': {'score': 'cosine'}, 'diffusion': {'steps': 2}}
    """
    options: dict[str, dict[str, Any]] = {}
    methods = {*registry.grounder_names(), *registry.CEILINGS, *registry.PROPOSERS, DATASET}
    for pair in pairs:
        path, equals, value = pair.partition("=")
        method, dot, key = path.rpartition(".")
        if not (equals and dot and key):
            raise VGGymError(f"{pair!r} is not METHOD.KEY=VALUE, e.g. clip-window.score=cosine")
        if method not in methods and ":" not in method:  # package.module:name is checked when it is built
            raise unknown("method", method, methods)
        options.setdefault(method, {})[key] = read_pairs([f"value={value}"])["value"]
    return options


def sweep(name: str, options: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the rows of a method: one for every combination of the options with several values.

    Args:
        name: name of the method.
        options: options of the method; a string of numbers with commas stands for several values.

    Returns:
        name of the row -> the values of the swept options in it.

    >>> sweep("diffusion", {"steps": "1,2", "seed": 3})
    {'diffusion[steps=1]': {'steps': 1}, 'diffusion[steps=2]': {'steps': 2}}
    >>> sweep("center", {})
    {'center': {}}
    """
    swept = {k: v.split(",") for k, v in options.items() if is_sweep(v)}
    rows = {}
    for values in itertools.product(*swept.values()):
        chosen = {k: float(v) if "." in v else int(v) for k, v in zip(swept, values, strict=True)}
        rows[row_name(name, chosen)] = chosen
    return rows


def row_name(name: str, swept: Mapping[str, Any]) -> str:
    """Return the name of the row of a method with values of swept options.

    >>> row_name("diffusion", {"steps": 1}), row_name("diffusion", {})
    ('diffusion[steps=1]', 'diffusion')
    """
    label = ",".join(f"{k}={v}" for k, v in swept.items())
    return f"{name}[{label}]" if label else name


def taken_threshold(options: dict[str, Any], row: str) -> float | None:
    """Remove :data:`OPTION` from options and return its value; None if it is not among them.

    Raises:
        VGGymError: the value is not a number.
    """
    value = options.pop(OPTION, None)
    if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e9):
        raise VGGymError(f"{row}.{OPTION}={value!r} is not a number; give the score below which nothing fits, e.g. 0.3")
    return None if value is None else float(value)


def with_server(
    options: Mapping[str, dict[str, Any]], base: str | None, concurrency: int | None
) -> dict[str, dict[str, Any]]:
    """Return the options of all methods with the server of ``api:MODEL`` among those of ``api``.

    Args:
        options: method -> its options.
        base: address of the server; None: not given.
        concurrency: number of requests at the same time; None: not given.

    >>> with_server({}, "http://localhost:8000/v1", None)
    {'api': {'base': 'http://localhost:8000/v1'}}
    """
    flags = {"base": base, "concurrency": concurrency}
    values = {key: value for key, value in flags.items() if value is not None}
    return {**options, "api": {**options.get("api", {}), **values}} if values else dict(options)


def is_sweep(value: Any) -> bool:
    """Return whether an option has several values: a string of numbers with commas.

    >>> is_sweep("1,2"), is_sweep(1), is_sweep("a,b")
    (True, False, False)
    """
    return isinstance(value, str) and SWEEP_PATTERN.fullmatch(value) is not None


def options_of(name: str, options: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the options that reach a method: those of its first stage, then its own.

    >>> options_of("reclip", {"yolo": {"weights": "a.pt"}, "reclip": {"margin": 0.1}, "ssd-clip": {"parse": True}})
    {'weights': 'a.pt', 'margin': 0.1}
    """
    return {key: value for owner in owners(name) for key, value in options.get(owner, {}).items()}


def owners(name: str) -> tuple[str, ...]:
    """Return the names whose options reach a method: its first stage if it has one, and the method itself.

    Raises:
        VGGymError: the method is unknown.
    """
    if name in registry.CEILINGS:
        return (name,)
    methods = [*registry.grounder_names(), *registry.CEILINGS]
    if ":" not in name and name not in methods:
        raise unknown("method", name, methods)
    spec, key = registry.grounder_spec(name), registry.grounder_key(name)
    return (spec.proposer, key) if spec.proposer else (key,)


def default_clip(names: Sequence[str], dataset: str) -> str:
    """Return the CLIP of a comparison whose user names none; ``none`` if nothing needs the published one.

    >>> default_clip(["center"], "refshapes"), default_clip(["center"], "mine.jsonl")
    ('refshapes', 'none')
    """
    takes_clip = any(registry.grounder_spec(name).takes_clip for name in names if name not in registry.CEILINGS)
    return clip_for(dataset) if takes_clip or is_drawn(dataset) else "none"


def drawn_methods(names: Sequence[str], clip: str, options: Mapping[str, Mapping[str, Any]], dataset: str) -> list[str]:
    """Return the methods that answer with built-in weights of another world than the data set's.

    Args:
        names: names of methods.
        clip: CLIP of those that take one.
        options: options by method, as the user named them.
        dataset: name of the data set.
    """
    published = {"weights": ""}
    return [
        name
        for name in dict.fromkeys(names)
        if name not in registry.CEILINGS
        and knows_drawn_only(name, clip, ({} if ":" in name else published) | options_of(name, options), dataset)
    ]


class Unfitted(VGGymError):
    """Error: a grounder must be fitted, but samples for fitting are missing."""


@dataclass(frozen=True)
class Description:
    """Properties of a grounder that are known once it is built."""

    inputs: dict[str, str]
    """Versions and hashes of everything that its answers depend on; see :func:`vg_gym.registry.identity.inputs_of`."""
    moves: dict[str, Any] | None
    """Options of the ceiling of its moves; None if it does not move a box."""
    seen: dict[str, str]
    """Part -> what it has seen of the truth; see :mod:`vg_gym.registry.seen`."""


@dataclass(frozen=True, eq=False)
class GrounderFactory:
    """Factory that builds a grounder once per process and returns a worker that predicts batches with it.

    Only the fields are sent to other processes, never the grounder.
    """

    name: str
    """Name of the grounder."""
    options: dict[str, Any]
    """Options of the grounder."""
    clip: str
    """CLIP for a grounder that takes one."""
    dataset: str
    """Name of the data set on which a fitted grounder is fitted."""
    split: str
    """Split of that data set."""
    root: str | None
    """Folder of that data set."""
    evaluated: str = ""
    """Split that is evaluated; no grounder is fitted on it."""
    known: tuple[dict, dict, dict] = field(default_factory=registry.registered)
    """Registered names of this process, for processes that have not registered them."""

    def __call__(self) -> Callable[[Batch], list[Line]]:
        """Return a worker for :meth:`vg_gym.runtime.runners.Runner.map`."""
        return partial(predict_batch, self.grounder.ground)

    def describing(self) -> Callable[[None], Description]:
        """Return a worker that builds the grounder and describes it."""
        return lambda _: self.description

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k not in ("grounder", "description")}

    @cached_property
    def description(self) -> Description:
        """Description of the grounder, before its first prediction."""
        grounder = self.grounder
        moves = grounder.moves if isinstance(grounder, Moving) else None
        return Description(self._inputs(), moves, seen_by(self.name, self.options, self.clip, grounder))

    def _inputs(self) -> dict[str, str]:
        fitted = {"training split": self.__dict__["_fitted_on"]} if isinstance(self.grounder, Fitted) else {}
        return {**inputs_of(self.name, self.grounder, self.options, self.clip), **fitted}

    @cached_property
    def grounder(self) -> Grounder:
        """Grounder of this process."""
        registry.register_all(self.known)
        grounder = registry.grounder_with_clip(self.name, self.clip, **self.options)
        if isinstance(grounder, Fitted):
            self._fit(grounder)
        return grounder

    def _fit(self, grounder: Fitted) -> None:
        try:
            samples = self._training_samples()
            self.__dict__["_fitted_on"] = fingerprint(
                hash_of_samples(samples), [sample.query.image.key for sample in samples]
            )[:16]
            grounder.fit(samples)
        except (VGGymError, ValueError) as error:
            raise Unfitted(
                f"{self.name} is fitted on {self.dataset}/{self.split}, which cannot be used ({error}); name another "
                f"split (--train-split), or give its box: {self.name}.box=[x1,y1,x2,y2], normalised"
            ) from error

    def _training_samples(self) -> list[Sample]:
        """Return the first training samples, without those whose image cannot be read."""
        train = registry.open_dataset(self.dataset, self.split, self.root)
        if isinstance(train, MayLack) and not (train.labeled and train.splits):
            raise VGGymError(f"it has no {'split' if train.labeled else 'boxes'} to learn from")
        if self.evaluated in (self.split, ALL) or self.evaluated and self.split == ALL:
            raise VGGymError(f"{self.evaluated} is evaluated, and its boxes are the answers")
        samples = [train[i] for i in range(min(FIT_SAMPLES, len(train)))]
        return [sample for sample in samples if not isinstance(readable_size(sample.query), Exception)]


@dataclass(frozen=True)
class TableRow:
    """Row of the table whose method is built and checked, but has not predicted yet."""

    name: str
    """Name in the table."""
    role: str
    """``floor``, ``method``, ``refined``, or ``ceiling`` followed by what it bounds."""
    factory: Factory[Batch, list[Line]]
    """Factory of the worker that predicts."""
    inputs: dict[str, str]
    """Version or hash of everything that the predictions depend on."""
    columns: dict[str, Any]
    """Columns of the row that are known before it is scored: ``seen``, ``refines``, ..."""
    moves: dict[str, Any] | None = None
    """Options of the ceiling of the method's moves; None if it does not move a box."""
    nothing_below: float | None = None
    """Score below which its answer is that nothing fits; None if no threshold is given."""
    saved_as: str = ""
    """Name in ``predictions.jsonl``, where rows with different thresholds share predictions; empty: the row's name."""

    @property
    def refines(self) -> str:
        """Name of the row whose boxes it starts from; empty if it starts from none."""
        return self.columns.get("refines", "")


def ceiling_rows(row: str, name: str, options: dict[str, Any], methods: Iterable[TableRow]) -> list[TableRow]:
    """Return the row of a ceiling; without options, one row for each set of moves of the methods.

    Args:
        row: name of the row.
        name: name of the ceiling.
        options: options of the ceiling.
        methods: rows of the methods in the table.
    """
    moves: dict[str, dict[str, Any]] = {}
    for method in () if options else methods:
        if method.moves is not None and method.moves not in moves.values():
            moves[method.name] = method.moves
    if len(moves) < 2:
        return [ceiling_row(row, name, options or next(iter(moves.values()), {}))]
    return [ceiling_row(f"{row} of {method}", name, one) for method, one in moves.items()]


def ceiling_row(row: str, name: str, options: dict[str, Any]) -> TableRow:
    """Build a ceiling and return its row, whose role says what it bounds."""
    inputs = {"options": repr(sorted(options.items())), **versions()}
    role = f"ceiling of {registry.ceiling(name, **options).bounds} (sees the answer)"
    return TableRow(row, role, partial(build_ceiling, name, options), inputs, {"seen": ANSWER})


def build_ceiling(name: str, options: dict[str, Any]) -> Callable[[Batch], list[Line]]:
    """Return a worker that sees the true boxes: its batches consist of samples."""
    ceiling = registry.ceiling(name, **options)
    return partial(predict_batch, lambda samples, boxes: ceiling.ground_samples(samples))
