"""Shared types: inputs and outputs of a method, samples of a data set, protocols.

The separation of :class:`Query` and :class:`Sample` keeps results honest. A :class:`Grounder` receives only queries,
which do not contain the answer. Samples contain it, and only data sets, the training environment and the evaluator
handle them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from vg_gym.errors import VGGymError


@runtime_checkable
class ImageRef(Protocol):
    """Lazy reference to an image, which is decoded on access.

    Methods receive the reference itself, so no attribute reachable from it may reveal the answer.
    """

    @property
    def key(self) -> str:
        """Identity of the pixels, stable between runs, and the key of caches."""
        ...

    @property
    def size(self) -> tuple[int, int]:
        """Size (width, height) in pixels."""
        ...

    def array(self) -> np.ndarray:
        """Return the pixels, RGB uint8 (H, W, 3)."""
        ...


class ArrayLike:
    """Base of images, so that ``numpy.asarray(image)`` returns their pixels."""

    def array(self) -> np.ndarray:
        """Return the pixels, RGB uint8 (H, W, 3)."""
        raise NotImplementedError

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Return the pixels (H, W, 3) for NumPy."""
        return np.array(self.array(), dtype=dtype) if copy else np.asarray(self.array(), dtype=dtype)


@dataclass(frozen=True)
class Query:
    """Input of a method: an image, a referring expression, and an opaque key of the pair."""

    image: ImageRef
    expression: str
    key: str


@dataclass(frozen=True, init=False)
class Sample:
    """Query with its answer: one expression and the boxes of what it means, which may be none, one or several.

    ``kind`` is the kind of expression (RefShapes: attribute, location, size, relation), or ``""`` if the data set does
    not define kinds.

    Args:
        query: the query.
        boxes: ``xyxy`` pixels of the original image, (k, 4), or (4,) for one box. A data set without answers has one
            box of NaN.
        category: name of the category of the (first) object, or ``""``.
        ref_id: number of the referring expressions of one object.
        ann_id: number of the annotation of the object.
        sent_id: number of the expression.
        image_id: number of the image.
        split: name of the split.
        kind: kind of the expression, or ``""``.
        box: the one box (4,), in place of ``boxes``.
    """

    query: Query
    boxes: np.ndarray
    category: str
    ref_id: int
    ann_id: int
    sent_id: int
    image_id: int
    split: str
    kind: str = ""

    def __init__(
        self,
        query: Query,
        boxes: np.ndarray | None = None,
        category: str = "",
        ref_id: int = 0,
        ann_id: int = 0,
        sent_id: int = 0,
        image_id: int = 0,
        split: str = "",
        kind: str = "",
        *,
        box: np.ndarray | None = None,
    ):
        self.__dict__.update(
            query=query,
            boxes=_rows_of_four(boxes if box is None else box),
            category=category,
            ref_id=ref_id,
            ann_id=ann_id,
            sent_id=sent_id,
            image_id=image_id,
            split=split,
            kind=kind,
        )

    @property
    def box(self) -> np.ndarray:
        """The one box (4,).

        Raises:
            VGGymError: the expression means nothing or several things.
        """
        if len(self.boxes) != 1:
            raise VGGymError(f"{self.query.key} has {len(self.boxes)} boxes, not one; read sample.boxes (k, 4)")
        return self.boxes[0]


@dataclass(frozen=True)
class Objects:
    """All annotated objects of one image: ``boxes`` float32 (N, 4) ``xyxy`` pixels, categories, annotation ids.

    These annotations are for training and for the evaluator's upper bounds. They are never part of a query.
    """

    boxes: np.ndarray
    categories: tuple[str, ...]
    ann_ids: tuple[int, ...]


@runtime_checkable
class GroundingDataset(Protocol):
    """Sequence of samples, one per expression, in a fixed order."""

    name: str
    split: str

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...

    @property
    def categories(self) -> tuple[str, ...]:
        """Names of all categories of the data set, sorted."""
        ...

    def objects(self, image_id: int) -> Objects:
        """Return the annotated objects of an image of this data set."""
        ...


@runtime_checkable
class MayLack(Protocol):
    """Data set that may lack boxes or splits, and declares which it has; other data sets have both."""

    @property
    def labeled(self) -> bool:
        """True if the samples have boxes; otherwise their boxes are NaN."""
        ...

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits; empty if every split is the whole data set."""
        ...


@runtime_checkable
class MeansAny(Protocol):
    """Data set whose expressions may mean none or several objects; those of other data sets mean one."""

    def means_one(self) -> np.ndarray:
        """Return which samples have exactly one box, bool (N,), without reading the samples."""
        ...


@runtime_checkable
class HasSegments(Protocol):
    """Data set with a segmentation of the objects."""

    def segments(self, image_id: int) -> np.ndarray:
        """Return uint8 (H, W): 0 for background, else 1 + the object's row in :meth:`GroundingDataset.objects`."""
        ...


@runtime_checkable
class PlantsPrior(Protocol):
    """Data set with an artificial prior in its training split, so that a probe can detect methods that learn it."""

    def prior_agrees(self, sample: Sample) -> bool | None:
        """Return True if a sample's target agrees with the artificial prior; None for samples without the prior."""
        ...


@dataclass(frozen=True, init=False)
class Prediction:
    """Answer of a method: boxes, best first, with scores and details. No box says that nothing fits.

    Most methods answer with one box: ``Prediction(box, score)``.

    Args:
        box: the one box (4,), float32 ``xyxy`` pixels; None for no box.
        score: confidence of the best box, or that there is something to find; None if the method has none.
        details: see below.
        boxes: boxes (m, 4), in place of ``box``.
        scores: their confidences (m,), in place of ``score``.

    Keys of ``details``:

    - ``proposals`` (N, 4) and ``trajectory`` (T, 4), in pixels, and ``heat_map`` (h, w);
    - ``point`` (2,), x and y in pixels: the answer of a method that points, which gives no boxes;
    - ``evaluations``: number of computed region scores;
    - ``failure``: reason why the method answered with a default box; the evaluator counts failures;
    - ``unanswered``: true for a placeholder box, which may serve as an initial box and scores 0;
    - ``answer``: text that a model wrote;
    - ``source``: weights, revision and prompt of the answering model.

    >>> Prediction(np.array([0, 0, 8, 8]), 0.9).box.tolist(), Prediction(score=0.1).box
    ([0, 0, 8, 8], None)
    """

    boxes: np.ndarray
    """Boxes (m, 4), best first."""
    scores: np.ndarray | None
    """Confidences of the boxes (m,); None if the method has none."""
    score: float | None
    """Confidence of the best box; of an empty answer, that there is something to find after all."""
    details: dict[str, Any]

    def __init__(
        self,
        box: np.ndarray | None = None,
        score: float | None = None,
        details: dict[str, Any] | None = None,
        *,
        boxes: np.ndarray | None = None,
        scores: np.ndarray | None = None,
    ):
        boxes = _rows_of_four(box if boxes is None else boxes)
        if score is None and scores is not None and len(scores):
            score = float(scores[0])
        if scores is None and score is not None and len(boxes) <= 1:
            scores = np.full(len(boxes), score)
        self.__dict__.update(
            boxes=boxes,
            scores=scores,
            score=score,
            details={} if details is None else details,
        )

    @property
    def box(self) -> np.ndarray | None:
        """The best box (4,); None if there is none."""
        return self.boxes[0] if len(self.boxes) else None


def _rows_of_four(boxes: np.ndarray | None) -> np.ndarray:
    """Return boxes (k, 4) from one box (4,), several, or None, which stands for no box."""
    boxes = np.zeros((0, 4), dtype=np.float32) if boxes is None else np.asarray(boxes)
    return boxes.reshape(-1, 4) if boxes.size == 0 or boxes.ndim == 1 and boxes.size == 4 else boxes


@runtime_checkable
class Grounder(Protocol):
    """Method of visual grounding. Batching, caching and crops in one forward pass happen inside ``ground``."""

    name: str

    def ground(self, queries: Sequence[Query], initial_boxes: np.ndarray | None = None) -> list[Prediction]:
        """Ground every query.

        Args:
            queries: N queries.
            initial_boxes: ``xyxy`` pixel boxes (N, 4) to refine. A method that cannot refine boxes raises
                :class:`VGGymError`.
        """
        ...


@runtime_checkable
class Fitted(Protocol):
    """Grounder that is fitted to training samples before its evaluation."""

    def fit(self, samples: Sequence[Sample]) -> None:
        """Fit to training samples; the evaluator calls this once, before the first :meth:`Grounder.ground`."""
        ...


@runtime_checkable
class Fingerprinted(Protocol):
    """Grounder whose boxes can be cached, because a hash identifies its weights and settings."""

    @property
    def fingerprint(self) -> str:
        """Hash of weights and settings; grounders with equal hashes give equal answers."""
        ...


@runtime_checkable
class SaysSeen(Protocol):
    """Grounder that declares the training data of its parts; see :mod:`vg_gym.registry.seen`."""

    @property
    def seen(self) -> dict[str, str]:
        """Name of a part -> annotations that it was trained on."""
        ...


@runtime_checkable
class Moving(Protocol):
    """Grounder that moves a box and declares its moves, so that their upper bound can be computed."""

    @property
    def moves(self) -> dict[str, Any]:
        """Options of ``action-oracle``: ``action``, ``max_steps`` and the sizes of steps."""
        ...


@dataclass(frozen=True)
class Proposals:
    """Proposals of one image, best first."""

    boxes: np.ndarray
    """Boxes float32 (P, 4), ``xyxy`` pixels inside the image."""
    scores: np.ndarray
    """Confidences float32 (P,)."""
    labels: tuple[str, ...]
    """Category names (P,); ``""`` from a proposer without categories."""
    masks: np.ndarray | None = None
    """Masks bool (P, H, W); None from a proposer that does not segment."""

    def __len__(self) -> int:
        """Return the number of proposals."""
        return len(self.boxes)

    def take(self, rows: np.ndarray) -> Proposals:
        """Return the proposals at ``rows``, in that order."""
        masks = None if self.masks is None else self.masks[rows]
        return Proposals(self.boxes[rows], self.scores[rows], tuple(self.labels[i] for i in rows), masks)


@runtime_checkable
class Proposer(Protocol):
    """Finder of candidate boxes in an image, without reading any expression."""

    name: str

    @property
    def fingerprint(self) -> str:
        """Hash of weights and settings, and the key of caches of boxes."""
        ...

    def propose(self, images: Sequence[np.ndarray]) -> list[Proposals]:
        """Return the proposals of every image (H, W, 3) uint8."""
        ...


def best_boxes(predictions: Sequence[Prediction], queries: Sequence[Query]) -> np.ndarray:
    """Return the best box of each prediction, pixels (N, 4); where nothing was found, the whole image to start from.

    Raises:
        VGGymError: a prediction is a point, which is not a box to start from.
    """
    if any("point" in prediction.details for prediction in predictions):
        raise VGGymError(
            "a method that answers with points has no boxes to start from; name one that answers with boxes"
        )
    pairs = zip(predictions, queries, strict=True)
    return np.stack([np.array([0, 0, *q.image.size], np.float32) if p.box is None else p.box for p, q in pairs])


def refuse_initial_boxes(name: str, initial_boxes: np.ndarray | None) -> None:
    """Reject initial boxes, for methods that cannot refine boxes.

    Raises:
        VGGymError: ``initial_boxes`` is not None.
    """
    if initial_boxes is not None:
        raise VGGymError(f"{name!r} does not refine given boxes; call ground(queries) without initial_boxes")


def by_image(samples: Iterable[Sample]) -> list[list[Sample]]:
    """Group samples by image, in order of first appearance."""
    groups: dict[int, list[Sample]] = defaultdict(list)
    for sample in samples:
        groups[sample.image_id].append(sample)
    return list(groups.values())


def rows_by_image(dataset: GroundingDataset) -> list[list[int]]:
    """Group the rows of a data set by image, in order of first appearance."""
    groups: dict[int, list[int]] = defaultdict(list)
    for row in range(len(dataset)):
        groups[dataset[row].image_id].append(row)
    return list(groups.values())
