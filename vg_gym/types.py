"""The contracts every part shares: what a method may see, what it returns, what the evaluator knows.

The split is the honesty guarantee of the project: a :class:`Grounder` receives :class:`Query` objects,
which have no answer in them; the answer lives in :class:`Sample`, which only data sets, the training
environment and the evaluator handle.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np

from vg_gym.errors import VGGymError


@runtime_checkable
class ImageRef(Protocol):
    """A lazy reference to an image: cheap to hold, decoded when asked.

    A method is handed it as it is: what can be reached from it must not lead to an answer.
    """

    @property
    def key(self) -> str:
        """Identity of the pixels, stable between runs; caches are keyed by it."""
        ...

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        ...

    def array(self) -> np.ndarray:
        """The pixels, uint8 RGB of shape (H, W, 3)."""
        ...


@dataclass(frozen=True)
class Query:
    """All that a method may see: an image, a referring expression, and an opaque key that names the pair."""

    image: ImageRef
    expression: str
    key: str


@dataclass(frozen=True)
class Sample:
    """A query with its answer: one expression of one referent.

    ``box`` is float32 ``xyxy`` in pixels of the original image. ``kind`` is the kind of expression where the data
    set knows it (RefShapes: attribute, location, size, relation), else ``""``.
    """

    query: Query
    box: np.ndarray
    category: str
    ref_id: int
    ann_id: int
    sent_id: int
    image_id: int
    split: str
    kind: str = ""


@dataclass(frozen=True)
class Objects:
    """All annotated objects of one image: ``boxes`` float32 (N, 4) ``xyxy`` pixels, categories, annotation ids.

    This is truth, for the evaluator's ceilings and for training; it is never part of a query.
    """

    boxes: np.ndarray
    categories: tuple[str, ...]
    ann_ids: tuple[int, ...]


@runtime_checkable
class GroundingDataset(Protocol):
    """A sequence of samples, one per expression, in a fixed order."""

    name: str
    split: str

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...

    @property
    def categories(self) -> tuple[str, ...]:
        """Every category name of the data set, sorted."""
        ...

    def objects(self, image_id: int) -> Objects:
        """The annotated objects of an image of this data set."""
        ...


@runtime_checkable
class MayLack(Protocol):
    """A data set that says whether it has boxes and splits; others have both."""

    @property
    def labeled(self) -> bool:
        """Whether its samples have boxes; where not, they are NaN."""
        ...

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of its splits; none where every split that is asked for is all of it."""
        ...


@runtime_checkable
class HasSegments(Protocol):
    """A data set that also knows which pixels belong to which object."""

    def segments(self, image_id: int) -> np.ndarray:
        """uint8 (H, W): 0 where there is no object, else 1 + the row in :meth:`GroundingDataset.objects`."""
        ...


@runtime_checkable
class PlantsPrior(Protocol):
    """A data set whose training split has a prior planted in it, so that a probe can tell who learned it."""

    def prior_agrees(self, sample: Sample) -> bool | None:
        """Whether the target of a sample lies where the planted prior says; None where nothing is planted."""
        ...


@dataclass(frozen=True)
class Prediction:
    """What a method answers: a box (float32 ``xyxy`` pixels), an optional score, and details worth keeping.

    ``details`` may hold ``proposals`` (N, 4) and ``trajectory`` (T, 4), in pixels, ``heat_map`` (h, w), ``evaluations``
    (number of region scores computed), ``failure`` (a string: the method fell back and the evaluator counts it),
    ``unanswered`` (true: the box only stands in for an answer, as a first box to refine, and scores 0), ``answer`` (the
    text that a model wrote), ``source`` (a string: which weights of which revision answered, and how they were asked).
    """

    box: np.ndarray
    score: float | None = None
    details: dict[str, Any] = field(default_factory=dict)


@runtime_checkable
class Grounder(Protocol):
    """A method of visual grounding. Batch-first: batching, caching and one-forward crops happen inside ``ground``."""

    name: str

    def ground(self, queries: Sequence[Query], initial_boxes: np.ndarray | None = None) -> list[Prediction]:
        """Ground every query.

        Args:
            queries: what to ground.
            initial_boxes: (N, 4) ``xyxy`` pixel boxes to refine. A method that cannot refine raises
                :class:`VGGymError` when they are given.
        """
        ...


@runtime_checkable
class Fitted(Protocol):
    """A grounder that learns something small from training samples before it is evaluated."""

    def fit(self, samples: Sequence[Sample]) -> None:
        """Learn from training samples; the evaluator calls it once, before the first :meth:`Grounder.ground`."""
        ...


@runtime_checkable
class Fingerprinted(Protocol):
    """A grounder whose boxes can be cached, because it says what they depend on."""

    @property
    def fingerprint(self) -> str:
        """A hash of weights and settings; two grounders with the same one answer the same."""
        ...


@runtime_checkable
class SaysSeen(Protocol):
    """A grounder that says what its parts have seen of the truth; see :mod:`vg_gym.registry.seen`."""

    @property
    def seen(self) -> dict[str, str]:
        """Name of a part -> what it has seen."""
        ...


@runtime_checkable
class Moving(Protocol):
    """A grounder that moves a box, and says with which moves, so that a ceiling of them can be computed."""

    @property
    def moves(self) -> dict[str, Any]:
        """Options of ``action-oracle``: ``action``, ``max_steps`` and the sizes of steps."""
        ...


@dataclass(frozen=True)
class Proposals:
    """The proposals of one image, best first."""

    boxes: np.ndarray
    """float32 (P, 4), ``xyxy`` pixels inside the image."""
    scores: np.ndarray
    """Confidences float32 (P,)."""
    labels: tuple[str, ...]
    """P category names; ``""`` where the proposer knows none."""
    masks: np.ndarray | None = None
    """bool (P, H, W), where the proposer segments."""

    def __len__(self) -> int:
        """Number of proposals."""
        return len(self.boxes)

    def take(self, rows: np.ndarray) -> Proposals:
        """The proposals with given row numbers, in that order."""
        masks = None if self.masks is None else self.masks[rows]
        return Proposals(self.boxes[rows], self.scores[rows], tuple(self.labels[i] for i in rows), masks)


@runtime_checkable
class Proposer(Protocol):
    """Finds boxes that may be meant, without reading any expression."""

    name: str

    @property
    def fingerprint(self) -> str:
        """A hash of its weights and settings; caches of boxes are keyed by it."""
        ...

    def propose(self, images: Sequence[np.ndarray]) -> list[Proposals]:
        """Proposals of every image (H, W, 3) uint8, batched."""
        ...


def refuse_initial_boxes(name: str, initial_boxes: np.ndarray | None) -> None:
    """Refuse boxes, for methods that cannot start from any.

    Raises:
        VGGymError: there are boxes.
    """
    if initial_boxes is not None:
        raise VGGymError(f"{name!r} does not refine given boxes; call ground(queries) without initial_boxes")


def by_image(samples: Iterable[Sample]) -> list[list[Sample]]:
    """Samples grouped by image, in order of first appearance."""
    groups: dict[int, list[Sample]] = defaultdict(list)
    for sample in samples:
        groups[sample.image_id].append(sample)
    return list(groups.values())
