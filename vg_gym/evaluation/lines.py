"""Predictions as lines of ``predictions.jsonl``: a method predicts batch by batch, and its failures are per query."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym.errors import ImageError, MissingExtra, VGGymError, is_debugging, one_line, place_of
from vg_gym.types import Prediction, Query, Sample

Method = Callable[[Sequence[Any], np.ndarray | None], list[Prediction]]
"""Function from queries (a ceiling: samples) and initial boxes, pixels (N, 4), to predictions: ``grounder.ground``."""
Asked = Query | Sample
"""Input of a method: a query; for a ceiling, the sample."""
Batch = tuple[Sequence[Asked], np.ndarray | None]
"""Arguments of one call of a method."""
Line = dict[str, Any]
"""Prediction as a line of ``predictions.jsonl``."""

USAGE = ("prompt_tokens", "completion_tokens", "seconds")
"""Names of the costs of an answer of a model behind a server: tokens, and seconds of its request."""
MAX_NUMBER = 1e9
"""Upper limit (exclusive) of the absolute value of numbers in predictions; it also excludes NaN."""


def query_of(method_input: Asked) -> Query:
    """Return the query of an input of a method."""
    return method_input.query if isinstance(method_input, Sample) else method_input


def predict_batch(method: Method, batch: Batch) -> list[Line]:
    """Return the lines of a batch. If the method raises, each query is tried alone, so that only some of them fail.

    Raises:
        MissingExtra: the method needs a package that is not installed; this does not count as a failed query.
        VGGymError: the method raised, and ``--debug`` asks for its traceback.
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
        if is_debugging():
            raise VGGymError(_reason(error)) from error
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
    line: Line = {"key": key, "box": None, "failure": _reason(error)}
    return line if ms is None else {**line, "ms": round(ms, 4)}


def _reason(error: Exception) -> str:
    """Return an error on one line, with its place if the user's own code raised it."""
    if type(error) is VGGymError:
        return one_line(error)
    return one_line(f"{type(error).__name__}: {error}") + place_of(error)


def common_failure(lines: Sequence[Line]) -> str | None:
    """Return the reason why all predictions failed, if it is the same for all and no image is the cause; else None."""
    reasons = {line.get("failure") for line in lines if line["box"] is None}
    if len(reasons) != 1 or any(line["box"] is not None or says_nothing(line) or "point" in line for line in lines):
        return None
    reason = str(reasons.pop())
    is_unanswered = any(line.get("unanswered") for line in lines)
    return None if is_unanswered or reason.startswith(f"{ImageError.__name__}:") else reason


def _line(query: Query, prediction: Prediction, ms: float) -> Line:
    """Return the line of a prediction; an invalid box or point becomes null and a failure."""
    line: Line = {"key": query.key, "ms": round(ms, 4)}
    boxes, details = _rounded_boxes(prediction, query.image.size), prediction.details
    if point := _rounded_point(details.get("point"), query.image.size):
        boxes, line["point"] = [], point
    if details.get("unanswered"):  # the answer has no box; the method itself worked
        boxes, line["unanswered"] = None, True
    line["box"] = boxes[0] if boxes else None
    if "failure" in details or boxes is None or ("point" in details and not point):
        line["failure"] = details.get("failure", "not a valid box or point inside the image")
    if boxes is not None and (len(boxes) > 1 or not boxes and "failure" not in line and "point" not in line):
        line["boxes"] = boxes
        scores = _numbers(prediction.scores, len(boxes))
        line.update({"scores": scores} if scores else {})
    if prediction.score is not None and np.isfinite(prediction.score):
        line["score"] = float(prediction.score)
    if "evaluations" in details:
        line["evaluations"] = int(details["evaluations"])
    line.update({name: str(details[name]) for name in ("answer", "source") if name in details})
    line.update({name: details[name] for name in USAGE if name in details})
    for name in ("proposals", "trajectory"):
        if name in details:
            line[name] = np.round(np.asarray(details[name], dtype=float), 2).tolist()
    if scores := _numbers(details.get("scores", details.get("confidences")), len(line.get("proposals", []))):
        line["proposal_scores"] = scores
    return line


def _rounded_boxes(prediction: Prediction, size: tuple[int, int]) -> list[list[float]] | None:
    """Return the boxes of a prediction in an image of a size (W, H); None if one of them is invalid."""
    boxes = np.asarray(prediction.boxes, dtype=np.float32)
    if boxes.ndim != 2 or boxes.shape[1] != 4 or not box_ops.is_valid(boxes, size, tolerance=0.5).all():
        return None
    return [[round(float(v), 3) for v in box] for box in boxes]


def _rounded_point(point: Any, size: tuple[int, int]) -> list[float] | None:
    """Return a point (x, y) in an image of a size (W, H); None if there is none, or it is not in the image."""
    numbers = np.array([] if point is None else point, dtype=float)
    inside = numbers.shape == (2,) and (numbers >= 0).all() and (numbers <= size).all()
    return [round(float(v), 3) for v in numbers] if inside else None


def _numbers(values: Any, count: int) -> list[float]:
    """Return ``count`` numbers with six digits; an empty list without as many finite numbers."""
    try:
        numbers = np.asarray([] if values is None else values, dtype=float)
    except (TypeError, ValueError):
        return []
    if numbers.shape != (count,) or not (abs(numbers) < MAX_NUMBER).all():
        return []
    return [float(f"{number:.6g}") for number in numbers.tolist()]


def says_nothing(line: Line) -> bool:
    """Return whether a line is an answer without a box, which says that nothing fits; a failure does not count as one.

    >>> says_nothing({"key": "a", "box": None, "boxes": []}), says_nothing({"key": "a", "box": None, "failure": "?"})
    (True, False)
    """
    return line.get("boxes") == []


def is_unparsed(line: Line) -> bool:
    """Return whether a line is a model's text without a box inside the image.

    >>> is_unparsed({"key": "a", "box": None, "unanswered": True, "answer": "I see no cup", "failure": "no box"})
    True
    """
    return bool(line.get("unanswered")) and "answer" in line


def boxes_in(line: Line) -> list[list[float]]:
    """Return the boxes of a line, best first."""
    return line.get("boxes", [] if line["box"] is None else [line["box"]])


def without_boxes_below(line: Line, threshold: float) -> Line:
    """Return a line without the boxes whose score is below a threshold; without any box it says that nothing fits.

    >>> without_boxes_below({"key": "a", "box": [0, 0, 1, 1], "score": 0.2}, 0.3)
    {'key': 'a', 'box': None, 'score': 0.2, 'boxes': []}
    """
    if line["box"] is None or "score" not in line:
        return line
    boxes, scores = boxes_in(line), line.get("scores", [])
    rows = rows_above(threshold, line["score"], scores, len(boxes))
    return (
        line
        if len(rows) == len(boxes)
        else with_boxes(line, [boxes[i] for i in rows], [scores[i] for i in rows if scores])
    )


def rows_above(threshold: float, score: float, scores: Sequence[float] | np.ndarray, count: int) -> list[int]:
    """Return the indices of the boxes of an answer that a threshold leaves.

    Args:
        threshold: score below which a box is left out.
        score: score of the answer; below the threshold no box is left.
        scores: scores of the boxes; empty if only the answer has a score.
        count: number of boxes.

    >>> rows_above(0.3, 0.9, [0.9, 0.2], 2), rows_above(0.3, 0.2, [], 1)
    ([0], [])
    """
    if score < threshold:
        return []
    return [row for row in range(count) if not len(scores) or scores[row] >= threshold]


def with_boxes(line: Line, boxes: list[list[float]], scores: Sequence[float] = ()) -> Line:
    """Return a line with other boxes, best first, and their scores."""
    line = {**{name: value for name, value in line.items() if name not in ("boxes", "scores")}}
    line["box"] = boxes[0] if boxes else None
    if len(boxes) != 1:
        line |= {"boxes": boxes, **({"scores": list(scores)} if scores else {})}
    return line


def refined_line(first: Line, last: Line) -> Line:
    """Return the answer of a refiner, which moves the best box of a first answer and leaves its other boxes.

    If nothing fits according to the first answer, there is nothing to refine.

    >>> refined_line({"box": None, "boxes": []}, {"box": [0, 0, 2, 2]})
    {'box': None, 'boxes': []}
    """
    boxes = boxes_in(last)
    if says_nothing(first):
        return first
    return with_boxes(last, [*boxes, *boxes_in(first)[1:]]) if len(boxes) == 1 else last


def is_prediction(line: Any) -> bool:
    """Return whether a line has all fields of a prediction with the right types."""
    if not isinstance(line, dict) or not all(isinstance(line.get(name), str) for name in ("method", "key")):
        return False
    box, boxes = line.get("box", ""), line.get("boxes", [])
    return (
        (_is_box(box) or (box is None and ("failure" in line or says_nothing(line) or "point" in line)))
        and ("point" not in line or _is_point(line["point"]))
        and all(isinstance(line.get(name, []), list) for name in ("boxes", "proposals", "scores", "proposal_scores"))
        and all(map(_is_box, [*boxes, *line.get("proposals", [])]))
        and (not boxes or boxes[0] == box)
        and all(map(_is_number, [*line.get("scores", []), *line.get("proposal_scores", [])]))
        and len(line.get("scores") or boxes) == len(boxes)
        and len(line.get("proposal_scores", ())) in (0, len(line.get("proposals", ())))
        and all(_is_number(line[name]) for name in ("ms", "evaluations", "score", *USAGE) if name in line)
        and all(isinstance(line[name], str) for name in ("failure", "source", "answer") if name in line)
    )


def _is_box(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 4 and all(map(_is_number, value))


def _is_point(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_number, value))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < MAX_NUMBER
