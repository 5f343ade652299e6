"""Episodes of an agent as an animated picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym.envs.rendering import contact_sheet, film
from vg_gym.types import Grounder, Sample

STILL = 0.95
"""IoU of two boxes that look the same."""


def film_of(agent: Grounder, samples: Sequence[Sample], size: int = 280) -> list[np.ndarray]:
    """The frames of episodes, side by side, with the truth where there is one; steps that the eye does not see are out.

    Args:
        agent: its predictions have a ``trajectory``.
        samples: one an episode.
        size: pixels of the longer side of each picture.
    """
    films = []
    for sample, found in zip(samples, agent.ground([sample.query for sample in samples]), strict=True):
        image, labeled = sample.query.image, bool(np.isfinite(sample.box).all())
        path = seen_steps(box_ops.normalize(found.details["trajectory"], image.size))
        target = box_ops.normalize(sample.box, image.size) if labeled else None
        films.append(film(image.array(), path, target, sample.query.expression, size=size, between=7))
    return side_by_side(films)


def seen_steps(path: np.ndarray) -> np.ndarray:
    """A path (T + 1, 4) of boxes without those that look like the one before, and with its first and its last.

    >>> seen_steps(np.array([[0, 0, 1, 1], [0, 0, 1, 0.5], [0, 0, 1, 0.5], [0, 0, 1, 0.49]])).tolist()
    [[0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 0.49]]
    """
    kept = [path[0]]
    for box in path[1:]:
        if box_ops.iou(kept[-1], box) < STILL:
            kept.append(box)
    return np.stack([*(kept[:-1] or kept), path[-1]])


def side_by_side(films: Sequence[Sequence[np.ndarray]]) -> list[np.ndarray]:
    """Films in one row; where one is over, its last frame stays."""
    last = max(len(frames) for frames in films)
    return [
        contact_sheet([frames[min(at, len(frames) - 1)] for frames in films], len(films), gap=2) for at in range(last)
    ]
