"""Workers that build a method in the process where it runs and predict batch by batch; failures are per query."""

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
"""Function from queries (a ceiling: samples) and initial boxes, pixels (N, 4), to predictions: ``grounder.ground``."""
Asked = Query | Sample
"""Input of a method: a query; for a ceiling, the sample."""
Batch = tuple[Sequence[Asked], np.ndarray | None]
"""Arguments of one call of a method."""
Line = dict[str, Any]
"""Prediction as a line of ``predictions.jsonl``."""

FIT_SAMPLES = 2000
"""Number of training samples for a :class:`~vg_gym.types.Fitted` grounder."""


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
    """CLIP for a grounder that takes one; ``none``: the default of the grounder."""
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


def readable_size(query: Query, decode: bool = False) -> tuple[int, int] | Exception:
    """Return the (width, height) of the image of a query, or the error if it cannot be read.

    Args:
        query: query whose image is read.
        decode: whether to decode the pixels too, which finds damaged files.
    """
    try:
        if decode:
            query.image.array()
        return query.image.size
    except Exception as error:  # images of other data sets may fail in any way
        return error


def build_ceiling(name: str, options: dict[str, Any]) -> Callable[[Batch], list[Line]]:
    """Return a worker that sees the true boxes: its batches consist of samples."""
    ceiling = registry.ceiling(name, **options)
    return partial(predict_batch, lambda samples, boxes: ceiling.ground_samples(samples))


def query_of(method_input: Asked) -> Query:
    """Return the query of an input of a method."""
    return method_input.query if isinstance(method_input, Sample) else method_input


def predict_batch(method: Method, batch: Batch) -> list[Line]:
    """Return the lines of a batch. If the method raises, each query is tried alone, so that only some of them fail.

    Raises:
        MissingExtra: the method needs a package that is not installed; this does not count as a failed query.
    """
    inputs, initial_boxes = batch
    start = time.perf_counter()
    try:
        predictions = method(inputs, initial_boxes)
        if len(predictions) != len(inputs):
            raise RuntimeError(f"{len(predictions)} predictions for {len(inputs)} queries")
        ms = 1000 * (time.perf_counter() - start) / len(inputs)
        return [_line(query_of(x), p, ms) for x, p in zip(inputs, predictions, strict=True)]
    except MissingExtra:
        raise
    except Exception as error:  # a method may fail in any way; the failure is counted
        if len(inputs) == 1:
            return [failed(query_of(inputs[0]).key, error, 1000 * (time.perf_counter() - start))]
    parts = [
        (inputs[i : i + 1], None if initial_boxes is None else initial_boxes[i : i + 1]) for i in range(len(inputs))
    ]
    return [line for part in parts for line in predict_batch(method, part)]


def failed(key: str, error: Exception, ms: float | None = None) -> Line:
    """Return the line of a query that could not be read or predicted.

    Args:
        key: key of the query.
        error: cause of the failure.
        ms: milliseconds of the attempt; None if the method was not called.
    """
    reason = str(error) if type(error) is VGGymError else f"{type(error).__name__}: {error}"
    line: Line = {"key": key, "box": None, "failure": " ".join(reason.split())[:300]}
    return line if ms is None else {**line, "ms": round(ms, 4)}


def common_failure(lines: Sequence[Line]) -> str | None:
    """Return the reason why all predictions failed, if it is the same for all and no image is the cause; else None."""
    reasons = {line.get("failure") for line in lines if line["box"] is None}
    if len(reasons) != 1 or any(line["box"] is not None for line in lines):
        return None
    reason = str(reasons.pop())
    is_unanswered = any(line.get("unanswered") for line in lines)
    return None if is_unanswered or reason.startswith(f"{ImageError.__name__}:") else reason


def _line(query: Query, prediction: Prediction, ms: float) -> Line:
    """Return the line of a prediction; an invalid box becomes null and a failure."""
    line: Line = {"key": query.key, "ms": round(ms, 4)}
    box, details = np.asarray(prediction.box, dtype=np.float32), prediction.details
    good = box.shape == (4,) and bool(box_ops.is_valid(box, query.image.size, tolerance=0.5))
    if details.get("unanswered"):  # the answer has no box; the method itself worked
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
