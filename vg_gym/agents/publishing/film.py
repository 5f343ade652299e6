"""Animations of an agent's episodes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym.data.drawing import contact_sheet, film
from vg_gym.types import Grounder, Sample

SAME_BOX_IOU = 0.95
"""IoU from which two boxes look the same."""


def film_of(agent: Grounder, samples: Sequence[Sample], size: int = 280) -> list[np.ndarray]:
    """Draw the frames of episodes side by side, with the true box if it is known.

    Steps without a visible change are dropped.

    Args:
        agent: agent whose predictions have a ``trajectory``.
        samples: samples, one per episode.
        size: length of the longer side of each image in pixels.
    """
    films = []
    for sample, prediction in zip(samples, agent.ground([sample.query for sample in samples]), strict=True):
        image, labeled = sample.query.image, bool(np.isfinite(sample.box).all())
        path = seen_steps(box_ops.normalize(prediction.details["trajectory"], image.size))
        target = box_ops.normalize(sample.box, image.size) if labeled else None
        films.append(film(image.array(), path, target, sample.query.expression, size=size, between=7))
    return side_by_side(films)


def seen_steps(path: np.ndarray) -> np.ndarray:
    """Drop boxes that look like the box before from a path (T + 1, 4), except the first and the last.

    >>> seen_steps(np.array([[0, 0, 1, 1], [0, 0, 1, 0.5], [0, 0, 1, 0.5], [0, 0, 1, 0.49]])).tolist()
    [[0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 0.49]]
    """
    steps = [path[0]]
    for box in path[1:]:
        if box_ops.iou(steps[-1], box) < SAME_BOX_IOU:
            steps.append(box)
    return np.stack([*(steps[:-1] or steps), path[-1]])


def side_by_side(films: Sequence[Sequence[np.ndarray]]) -> list[np.ndarray]:
    """Arrange films in one row; the last frame of a film stays until all are over."""
    last = max(len(frames) for frames in films)
    return [
        contact_sheet([frames[min(at, len(frames) - 1)] for frames in films], len(films), gap=2) for at in range(last)
    ]
