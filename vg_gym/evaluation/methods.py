"""Methods as the evaluator asks them: built where they are to run, batch by batch; a query that fails fails alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym import registry
from vg_gym.data.rows import ALL
from vg_gym.errors import ImageError, MissingExtra, VGGymError
from vg_gym.evaluation.queries import hash_of_samples
from vg_gym.registry.identity import inputs_of
from vg_gym.registry.seen import seen_by
from vg_gym.storage.files import fingerprint
from vg_gym.types import Fitted, Grounder, MayLack, Moving, Prediction, Query, Sample

Method = Callable[[Sequence[Any], np.ndarray | None], list[Prediction]]
"""Queries and pixel boxes (N, 4) to start from, to predictions: ``grounder.ground``. A ceiling's takes samples."""
Asked = Query | Sample
"""What a method is shown: a query. Only a ceiling is shown the sample."""
Batch = tuple[Sequence[Asked], np.ndarray | None]
"""What one call of a method is given."""
Line = dict[str, Any]
"""A prediction as it is written to ``predictions.jsonl``."""

FIT_SAMPLES = 2000
"""Training samples that a :class:`~vg_gym.types.Fitted` grounder gets."""


class Unfitted(VGGymError):
    """A grounder that is to be fitted, and no samples to fit it on."""


@dataclass(frozen=True)
class Description:
    """What a grounder says of itself, once it is built."""

    inputs: dict[str, str]
    """What its answers depend on; see :func:`vg_gym.registry.identity.inputs_of`."""
    moves: dict[str, Any] | None
    """Options of the ceiling of its moves; None where it does not move a box."""
    seen: dict[str, str]
    """What its parts have seen of the truth; see :mod:`vg_gym.registry.seen`."""


@dataclass(frozen=True, eq=False)
class GrounderFactory:
    """Builds a grounder once in each process that calls this, and returns what answers batches with it.

    Only the fields go to other processes, never what was built.
    """

    name: str
    """Of the grounder."""
    options: dict[str, Any]
    """Of the grounder."""
    clip: str
    """CLIP of a grounder that takes one; ``none``: its own."""
    dataset: str
    """Name of the data set that a fitted grounder is fitted on."""
    split: str
    """Of that data set."""
    root: str | None
    """Folder of that data set."""
    evaluated: str = ""
    """The split that is evaluated, which nothing is fitted on."""
    known: tuple[dict, dict, dict] = field(default_factory=registry.registered)
    """All that is registered; a process that did not register what this one has finds it here."""

    def __call__(self) -> Callable[[Batch], list[Line]]:
        """A worker for :meth:`vg_gym.runners.Runner.map`."""
        return partial(predict_batch, self.grounder.ground)

    def describing(self) -> Callable[[None], Description]:
        """A worker that builds the grounder and describes it."""
        return lambda _: self.description

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k not in ("grounder", "description")}

    @cached_property
    def description(self) -> Description:
        """What the grounder says of itself before it answers."""
        grounder = self.grounder
        moves = grounder.moves if isinstance(grounder, Moving) else None
        return Description(self._inputs(), moves, seen_by(self.name, self.options, self.clip, grounder))

    def _inputs(self) -> dict[str, str]:
        fitted = {"training split": self.__dict__["_fitted_on"]} if isinstance(self.grounder, Fitted) else {}
        return {**inputs_of(self.name, self.grounder, self.options, self.clip), **fitted}

    @cached_property
    def grounder(self) -> Grounder:
        """The grounder of this process."""
        registry.register_all(self.known)
        if self.clip == "none":
            grounder = registry.grounder(self.name, **self.options)
        else:
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
                f"{self.name} is fitted on {self.dataset}/{self.split}, which is no use ({error}); name another "
                f"(--train-split), or give its box: {self.name}.box=[x1,y1,x2,y2], normalised"
            ) from error

    def _training_samples(self) -> list[Sample]:
        """The first training samples, without those whose image cannot be read."""
        train = registry.open_dataset(self.dataset, self.split, self.root)
        if isinstance(train, MayLack) and not (train.labeled and train.splits):
            raise VGGymError(f"it has no {'split' if train.labeled else 'boxes'} to learn from")
        if self.evaluated in (self.split, ALL) or self.evaluated and self.split == ALL:
            raise VGGymError(f"{self.evaluated} is evaluated, and its boxes are the answers")
        samples = [train[i] for i in range(min(FIT_SAMPLES, len(train)))]
        return [sample for sample in samples if not isinstance(readable_size(sample.query), Exception)]


def readable_size(query: Query, decode: bool = False) -> tuple[int, int] | Exception:
    """The (width, height) of a query's image, or why it cannot be read.

    Args:
        query: whose image.
        decode: also read the pixels, which a damaged file may lack.
    """
    try:
        if decode:
            query.image.array()
        return query.image.size
    except Exception as error:  # an image may be anybody's
        return error


def build_ceiling(name: str, options: dict[str, Any]) -> Callable[[Batch], list[Line]]:
    """A worker that sees the answers: its batches are of samples."""
    ceiling = registry.ceiling(name, **options)
    return partial(predict_batch, lambda samples, boxes: ceiling.ground_samples(samples))


def query_of(asked: Asked) -> Query:
    """The query of what a method is asked."""
    return asked.query if isinstance(asked, Sample) else asked


def predict_batch(method: Method, batch: Batch) -> list[Line]:
    """Lines of a batch; if the method raises, its queries are tried one at a time, and those that fail are failures.

    Raises:
        MissingExtra: the method needs a package that is not installed, which is no query's failure.
    """
    asked, initial_boxes = batch
    start = time.perf_counter()
    try:
        predictions = method(asked, initial_boxes)
        if len(predictions) != len(asked):
            raise RuntimeError(f"{len(predictions)} predictions for {len(asked)} queries")
        ms = 1000 * (time.perf_counter() - start) / len(asked)
        return [_line(query_of(x), p, ms) for x, p in zip(asked, predictions, strict=True)]
    except MissingExtra:
        raise
    except Exception as error:  # a method may fail in any way; it is counted, not dropped
        if len(asked) == 1:
            return [failed(query_of(asked[0]).key, error, 1000 * (time.perf_counter() - start))]
    parts = [(asked[i : i + 1], None if initial_boxes is None else initial_boxes[i : i + 1]) for i in range(len(asked))]
    return [line for part in parts for line in predict_batch(method, part)]


def failed(key: str, error: Exception, ms: float | None = None) -> Line:
    """The line of a query that could not be read or predicted.

    Args:
        key: of the query.
        error: why.
        ms: how long it took; None where the method was not asked.
    """
    reason = str(error) if type(error) is VGGymError else f"{type(error).__name__}: {error}"
    line: Line = {"key": key, "box": None, "failure": " ".join(reason.split())[:300]}
    return line if ms is None else {**line, "ms": round(ms, 4)}


def common_failure(lines: Sequence[Line]) -> str | None:
    """Why all of some predictions failed, where that is one reason and no image's: the method's own mistake."""
    reasons = {line.get("failure") for line in lines if line["box"] is None}
    if len(reasons) != 1 or any(line["box"] is not None for line in lines):
        return None
    reason = str(reasons.pop())
    answered = any(line.get("unanswered") for line in lines)
    return None if answered or reason.startswith(f"{ImageError.__name__}:") else reason


def _line(query: Query, prediction: Prediction, ms: float) -> Line:
    """A prediction as it is written; an invalid box becomes null and a failure."""
    line: Line = {"key": query.key, "ms": round(ms, 4)}
    box, details = np.asarray(prediction.box, dtype=np.float32), prediction.details
    good = box.shape == (4,) and bool(box_ops.is_valid(box, query.image.size, tolerance=0.5))
    if details.get("unanswered"):  # an answer without a box is the answer's failure, and not the method's mistake
        good, line["unanswered"] = False, True
    line["box"] = [round(float(v), 3) for v in box] if good else None
    if "failure" in details or not good:
        line["failure"] = details.get("failure", "not a valid box inside the image")
    if prediction.score is not None and np.isfinite(prediction.score):
        line["score"] = float(prediction.score)
    if "evaluations" in details:
        line["evaluations"] = int(details["evaluations"])
    line.update({name: str(details[name]) for name in ("answer", "source") if name in details})
    for name in ("proposals", "trajectory"):
        if name in details:
            line[name] = np.round(np.asarray(details[name], dtype=float), 2).tolist()
    return line
