"""Grounders that read neither image nor expression: the baselines of every table."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym.config import Seed, UnitInterval
from vg_gym.errors import VGGymError
from vg_gym.types import Prediction, Query, Sample, refuse_initial_boxes


class Prior:
    """Grounder whose normalised box depends on neither the image nor the words.

    Args:
        name: name of the grounder.
        box: function from a query to a normalised box (4,).
    """

    def __init__(self, name: str, box: Callable[[Query], np.ndarray]):
        self.name, self._box = name, box

    def ground(self, queries: Sequence[Query], initial_boxes: np.ndarray | None = None) -> list[Prediction]:
        """Return one box per query; initial boxes are rejected."""
        refuse_initial_boxes(self.name, initial_boxes)
        return [Prediction(box_ops.denormalize(self._box(q), q.image.size)) for q in queries]


def full() -> Prior:
    """Return the grounder that predicts the whole image."""
    return Prior("full", lambda query: box_ops.FULL)


def center(fraction: UnitInterval = 0.5) -> Prior:
    """Return the grounder that predicts a centred box with ``fraction`` of the image's sides.

    Raises:
        VGGymError: the fraction is not in (0, 1].
    """
    if not 0 < fraction <= 1:
        raise VGGymError(f"center.fraction={fraction} must lie in (0, 1]")
    box = np.array([0.5 - fraction / 2] * 2 + [0.5 + fraction / 2] * 2, dtype=np.float32)
    return Prior("center", lambda query: box)


def random(seed: Seed = 0) -> Prior:
    """Return the grounder that predicts a random box with sides uniform in [0.1, 1].

    The box depends only on the query's key and the seed.
    """

    def draw(query: Query) -> np.ndarray:
        rng = np.random.default_rng([seed, zlib.crc32(query.key.encode())])
        side = rng.uniform(0.1, 1.0, 2)
        low = rng.uniform(0, 1, 2) * (1 - side)
        return np.concatenate([low, low + side]).astype(np.float32)

    return Prior("random", draw)


class NoOp:
    """Grounder that predicts the initial box, or the whole image by default, like an agent that never moves."""

    name = "no-op"

    def ground(self, queries: Sequence[Query], initial_boxes: np.ndarray | None = None) -> list[Prediction]:
        """Return the initial boxes unchanged."""
        if initial_boxes is None:
            return full().ground(queries)
        return [Prediction(np.asarray(box, dtype=np.float32)) for box in initial_boxes]


class Constant:
    """Grounder that predicts the one normalised box with the highest mean IoU over the training targets.

    The evaluator calls :meth:`fit` with the training split before use.
    """

    name = "constant"

    def __init__(self) -> None:
        self.box: np.ndarray | None = None

    def fit(self, samples: Sequence[Sample]) -> None:
        """Find the box for the samples with one target; see :func:`best_constant_box`.

        Raises:
            VGGymError: no sample has one box.
        """
        single = [sample for sample in samples if len(sample.boxes) == 1]
        if not single:
            raise VGGymError("there are no samples with one target to fit on")
        self.box = best_constant_box(
            np.stack([box_ops.normalize(s.box, s.query.image.size) for s in single]).astype(np.float32)
        )

    def ground(self, queries: Sequence[Query], initial_boxes: np.ndarray | None = None) -> list[Prediction]:
        """Return the constant box on every image.

        Raises:
            VGGymError: the box is not fitted.
        """
        refuse_initial_boxes(self.name, initial_boxes)
        if self.box is None:
            raise VGGymError("constant has no box: fit it on training samples, or give constant.box=[x1,y1,x2,y2]")
        return [Prediction(box_ops.denormalize(self.box, q.image.size)) for q in queries]


def constant(box: Sequence[float] | None = None) -> Prior | Constant:
    """Return the grounder that predicts a constant normalised ``box``; without one, the box is fitted.

    Raises:
        VGGymError: the box is empty or not inside the unit square.
    """
    if box is None:
        return Constant()
    fixed = np.asarray(box, dtype=np.float32)
    if fixed.shape != (4,) or not box_ops.is_valid(fixed, (1, 1)):
        raise VGGymError(f"constant.box={box} is not a normalised box [x1, y1, x2, y2]")
    return Prior("constant", lambda query: fixed)


def best_constant_box(targets: np.ndarray, lines: int = 11, rounds: int = 60) -> np.ndarray:
    """Return the normalised box (4,) with (locally) the highest mean IoU with targets (N, 4).

    The search tries all boxes on a lattice of ``lines`` x ``lines`` corners. It then moves the edges of the best one by
    steps that halve when no move helps.
    """
    edges = np.linspace(0, 1, lines)
    low, high = (v.ravel() for v in np.meshgrid(edges, edges, indexing="ij"))
    spans = np.stack([low, high], 1)[high > low]
    x, y = np.repeat(spans, len(spans), 0), np.tile(spans, (len(spans), 1))
    lattice = np.stack([x[:, 0], y[:, 0], x[:, 1], y[:, 1]], 1).astype(np.float32)
    sample = targets[:: max(1, len(targets) // 1000)]
    best = lattice[np.argmax([box_ops.iou(box, sample).mean() for box in lattice])]
    step = 0.05
    for _ in range(rounds):
        moves = best + step * np.concatenate([np.eye(4), -np.eye(4)])
        moves = box_ops.fit_inside(np.concatenate([best[None], moves]).astype(np.float32), min_side=0.01)
        means = [box_ops.iou(box, targets).mean() for box in moves]
        best = moves[int(np.argmax(means))]
        if np.argmax(means) == 0:
            step /= 2
    return best
