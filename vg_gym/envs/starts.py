"""Where an episode's box starts: fixed, random, near the target, or where a grounder says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym import registry
from vg_gym.envs.episodes import Episodes
from vg_gym.types import Grounder, VGGymError

if TYPE_CHECKING:
    from vg_gym.envs.engine import GroundingEngine

Generators = Sequence[np.random.Generator] | Mapping[int, np.random.Generator]
Start = Callable[[np.ndarray, "GroundingEngine", Generators], np.ndarray]
"""(rows, engine, generators) -> normalised boxes (len(rows), 4)."""

CENTER = np.array([0.25, 0.25, 0.75, 0.75], dtype=np.float32)


def make_start(name: str, episodes: Episodes) -> Start:
    """The start called ``name``: ``full``, ``center``, ``random``, ``jitter`` or a grounder's name.

    Raises:
        VGGymError: ``jitter`` on bare queries, or an unknown grounder.
    """
    if name in ("full", "center"):
        fixed = box_ops.FULL if name == "full" else CENTER
        return lambda rows, engine, rngs: np.tile(fixed, (len(rows), 1))
    if name == "random":
        return _random
    if name == "jitter":
        if not episodes.labelled:
            raise VGGymError("initial_box='jitter' starts near the target, and bare queries have none; use 'full'")
        return _jitter
    return _GrounderStart(registry.grounder(name))


def _random(rows: np.ndarray, engine: GroundingEngine, rngs: Generators) -> np.ndarray:
    """Sides uniform in [0.1, 1], place uniform."""
    draws = np.stack([rngs[row].random(4) for row in rows]).astype(np.float32)
    side = 0.1 + 0.9 * draws[:, :2]
    low = draws[:, 2:] * (1 - side)
    return np.concatenate([low, low + side], axis=1)


def _jitter(rows: np.ndarray, engine: GroundingEngine, rngs: Generators) -> np.ndarray:
    """The target, every edge moved by a normal 0.3 of its side."""
    draws = np.stack([rngs[row].normal(0, 0.3, 4) for row in rows]).astype(np.float32)
    target = engine.targets[rows]
    side = target[:, 2:] - target[:, :2]
    return target + draws * np.concatenate([side, side], axis=1)


class _GrounderStart:
    """A grounder's boxes, asked for once per query and kept."""

    def __init__(self, grounder: Grounder):
        self.grounder, self._known = grounder, {}  # type: tuple[Grounder, dict[str, np.ndarray]]

    def __call__(self, rows: np.ndarray, engine: GroundingEngine, rngs: Generators) -> np.ndarray:
        queries = [engine.queries[row] for row in rows]
        missing = {q.key: q for q in queries if q is not None and q.key not in self._known}
        if missing:
            predictions = self.grounder.ground(list(missing.values()))
            for query, prediction in zip(missing.values(), predictions, strict=True):
                self._known[query.key] = box_ops.normalize(prediction.box, query.image.size)
        return np.stack([self._known[q.key] for q in queries if q is not None])
