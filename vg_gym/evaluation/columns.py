"""Columns of samples and of predictions, as arrays. Samples and lines are read once and do not stay in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from sys import intern
from zlib import crc32

import numpy as np
from tqdm import tqdm

from vg_gym import boxes as box_ops
from vg_gym.errors import VGGymError
from vg_gym.evaluation.lines import USAGE, Line, is_unparsed, refined_line, says_nothing, without_boxes_below
from vg_gym.evaluation.results import ContentHash
from vg_gym.storage.lazy_sequence import LazySequence
from vg_gym.types import Query, Sample

LINES_IN_MEMORY = 4096
"""Number of lines that are in memory at the same time."""
_NO_BOX, _NO_POINT = [np.nan] * 4, [np.nan] * 2
NUMBERS = ("ms", "evaluations", "score")
"""Names of the numbers of a line, in the order of the fields of :class:`Answers`."""
MARKS = ("proposals", "trajectory")
"""Names of parts of a line whose presence is noted, in the order of the fields of :class:`Answers`."""


class SampleColumns:
    """Columns of N samples, about 90 bytes per sample.

    Args:
        samples: samples to read.
        name: name of the data set, for errors.
        decode: whether to decode all images, which finds damaged ones.

    Raises:
        VGGymError: two samples have the same key.
    """

    def __init__(self, samples: Sequence[Sample], name: str, decode: bool):
        count = len(samples)
        boxes = np.full((count, 4), np.nan, np.result_type(samples[0].boxes, np.float32))
        self.scales = np.ones((count, 4), np.float32)
        """(width, height, width, height) of the images, (N, 4); 1 for images that cannot be read."""
        self.hashes = np.empty(count, np.int64)
        """Hashes (N,) of the keys, as from :func:`vg_gym.evaluation.predictions.key_hashes`."""
        self.kinds: list[str] = []
        """N kinds of expression."""
        self.counts = np.empty(count, np.int32)
        """Numbers (N,) of true boxes."""
        self.several: dict[int, np.ndarray] = {}
        """Index of a sample with several true boxes -> these boxes, pixels (k, 4)."""
        self.unreadable: dict[int, Exception] = {}
        """Index of a sample -> error of reading its image."""
        self._sizes: dict[str, tuple[int, int] | Exception] = {}
        self._pictures = hashlib.sha256()
        marks, groups, content = np.empty(count, np.uint32), [], ContentHash()
        for i, sample in enumerate(tqdm(samples, desc="samples", unit="sample", delay=2)):
            query = sample.query
            self.hashes[i], self.counts[i] = hash(query.key), len(sample.boxes)
            if len(sample.boxes) == 1:
                boxes[i] = sample.boxes[0]
            elif len(sample.boxes):
                self.several[i] = sample.boxes
            marks[i] = crc32(query.key.encode())
            groups.append(sample.image_id)
            self.kinds.append(intern(sample.kind))
            content.add(query.key, query.expression, sample.boxes.tolist())
            self._note_size(i, query, decode)
        self._sizes.clear()
        self.boxes = boxes
        """True boxes (N, 4), pixels; NaN where there is not exactly one."""
        self.one = self.counts == 1
        """Mask of the samples with exactly one true box, bool (N,)."""
        self.pictures = self._pictures.hexdigest()[:16]
        """Hash of the keys of all images; it changes if an image file changes."""
        self.targets = boxes / self.scales
        """The same boxes, normalised."""
        self.groups = np.array(groups)
        """Image ids (N,)."""
        self.turns = _turns(self.groups, marks)
        """Position (N,) of each sample in the order in which methods receive them."""
        self.content = str(content)
        """Hash of keys, expressions and true boxes."""
        self._refuse_clashes(samples, name)

    def _note_size(self, index: int, query: Query, decode: bool) -> None:
        """Note the size of an image, or the error of reading it; each image is read once."""
        if (key := query.image.key) not in self._sizes:
            self._sizes[key] = readable_size(query, decode)
            self._pictures.update(key.encode())
        size = self._sizes[key]
        if isinstance(size, Exception):
            self.unreadable[index] = size
        else:
            self.scales[index] = box_ops.image_scale(size)

    def _refuse_clashes(self, samples: Sequence[Sample], name: str) -> None:
        """Raise an error if two samples have the same key, as they would share a prediction."""
        _, first, inverse = np.unique(self.hashes, return_index=True, return_inverse=True)
        before = first[inverse]
        for i in np.flatnonzero(before != np.arange(len(before)))[:1].tolist():
            raise VGGymError(
                f"samples {before[i]} and {i} of {name} have the same key {samples[i].query.key!r}; keys must differ"
            )

    @cached_property
    def readable(self) -> np.ndarray:
        """Indices (M,) of the samples whose images can be read."""
        return np.delete(np.arange(len(self.scales)), list(self.unreadable))

    @cached_property
    def single(self) -> np.ndarray:
        """Indices (M,) of the samples whose images can be read and which have exactly one true box."""
        return self.readable[self.one[self.readable]]

    @cached_property
    def has_sets(self) -> bool:
        """True if the number of true boxes differs from one in some samples."""
        return not self.one.all()

    def targets_of(self, index: int) -> np.ndarray:
        """Return the true boxes of a sample, pixels (k, 4)."""
        return self.several.get(index, self.boxes[index : index + int(self.one[index])])


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


def _turns(groups: np.ndarray, marks: np.ndarray) -> np.ndarray:
    """Return the positions (N,) of samples in an order that keeps images together and is random within an image.

    Args:
        groups: image ids of the samples, (N,).
        marks: hashes of their keys, (N,), which give the order within an image.
    """
    _, first, inverse = np.unique(groups, return_index=True, return_inverse=True)
    turns = np.empty(len(groups), np.int64)
    turns[np.lexsort((marks, first[inverse]))] = np.arange(len(groups))
    return turns


@dataclass(frozen=True)
class Answers:
    """Answers of a method to N queries."""

    lines: Sequence[Line]
    """Lines of ``predictions.jsonl``, read from the file on access."""
    boxes: np.ndarray
    """Best boxes, ``xyxy`` pixels, float32 (N, 4); NaN for a failure or an answer without a box."""
    several: dict[int, np.ndarray]
    """Index of an answer of several boxes -> these boxes, pixels (m, 4), best first."""
    ms: np.ndarray
    """Milliseconds per query (N,); NaN where the method was not called."""
    evaluations: np.ndarray
    """Number of region scores computed (N,); NaN where it is unknown."""
    scores: np.ndarray
    """Scores (N,); NaN where the answer has none."""
    nothing: np.ndarray
    """Mask of answers without a box, bool (N,): that nothing fits, or a model's answer in which there is none."""
    failures: np.ndarray
    """Mask of failures, bool (N,)."""
    has_text: np.ndarray
    """Mask of answers that are texts of a model, bool (N,)."""
    unparsed: np.ndarray
    """Mask of texts of a model without a box inside the image, bool (N,)."""
    with_proposals: np.ndarray
    """Mask of lines with the proposals among which the box was chosen, bool (N,)."""
    with_path: np.ndarray
    """Mask of lines with the path of an agent, bool (N,)."""
    usage: dict[str, np.ndarray]
    """Costs (N,) of answers by the names in :data:`vg_gym.evaluation.lines.USAGE`; NaN where they are unknown."""
    sources: tuple[str, ...]
    """Weights that answered and how they were prompted, where lines say so; sorted."""
    points: np.ndarray
    """Points (x, y) of answers that are points, pixels, float32 (N, 2); NaN elsewhere."""

    @classmethod
    def of(cls, lines: Sequence[Line]) -> Answers:
        """Read lines once and return their columns."""
        count, reading = len(lines), iter(lines)
        boxes, numbers = np.full((count, 4), np.nan, np.float32), np.full((count, len(NUMBERS) + len(USAGE)), np.nan)
        points = np.full((count, 2), np.nan, np.float32)
        several: dict[int, np.ndarray] = {}
        marks = np.zeros((count, 4 + len(MARKS)), bool)
        sources: set[str] = set()
        for at in range(0, count, LINES_IN_MEMORY):
            part = list(islice(reading, LINES_IN_MEMORY))
            rows = slice(at, at + len(part))
            boxes[rows] = [_NO_BOX if line["box"] is None else line["box"] for line in part]
            points[rows] = [line.get("point", _NO_POINT) for line in part]
            numbers[rows] = [[line.get(name, np.nan) for name in (*NUMBERS, *USAGE)] for line in part]
            marks[rows] = [
                (
                    *(_has_none(line), "failure" in line, "answer" in line, is_unparsed(line)),
                    *(bool(line.get(name)) for name in MARKS),
                )
                for line in part
            ]
            several |= {at + i: np.array(line["boxes"], np.float32) for i, line in enumerate(part) if line.get("boxes")}
            sources |= {line["source"] for line in part if "source" in line}
        ms, evaluations, scores, *costs = numbers.T
        nothing, failures, has_text, unparsed, with_proposals, with_path = marks.T
        return cls(
            lines, boxes, several, ms, evaluations, scores, nothing, failures, has_text, unparsed, with_proposals,
            with_path, dict(zip(USAGE, costs, strict=True)), tuple(sorted(sources)), points,
        )  # fmt: skip

    @cached_property
    def has_box(self) -> np.ndarray:
        """Mask of queries with a box, bool (N,)."""
        return np.isfinite(self.boxes[:, 0])

    @cached_property
    def has_point(self) -> np.ndarray:
        """Mask of answers that are a point, bool (N,)."""
        return np.isfinite(self.points[:, 0])

    def boxes_of(self, index: int) -> np.ndarray:
        """Return the boxes of an answer, pixels (m, 4), best first."""
        return self.several.get(index, self.boxes[index : index + int(self.has_box[index])])

    def above(self, threshold: float) -> Answers:
        """Return the answers without the boxes whose score is below a threshold."""
        lines = LazySequence(len(self.lines), lambda row: without_boxes_below(self.lines[row], threshold))
        return Answers.of(lines)

    def after(self, first: Answers) -> Answers:
        """Return the answers of a refiner to queries with these first answers; see :func:`refined_line`."""
        lines = LazySequence(len(self.lines), lambda row: refined_line(first.lines[row], self.lines[row]))
        return Answers.of(lines)


def _has_none(line: Line) -> bool:
    """Return whether a method answered without a box; a placeholder box of a model does not count."""
    return says_nothing(line) or bool(line.get("unanswered"))
