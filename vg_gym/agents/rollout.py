"""Rollouts that play chosen episodes exactly once, many at a time, for evaluation and :class:`AgentGrounder`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym.boxes import to_numpy
from vg_gym.data import drawing
from vg_gym.envs.engine import GroundingEngine
from vg_gym.envs.episodes import Episodes
from vg_gym.envs.rng import CounterRNG

Policy = Callable[[dict[str, np.ndarray]], np.ndarray]
"""Function from observations of B rows to actions (B, ...)."""


@dataclass
class Episode:
    """Record of one episode."""

    index: int
    trajectory: np.ndarray
    """Normalised boxes (T+1, 4)."""
    score: float
    """CLIP score of the last box."""
    triggered: bool
    reward: float
    """Return of the episode."""
    iou: float
    """IoU of the last box; NaN without labels."""
    boxes: np.ndarray
    """Answer, normalised boxes (m, 4); the last box with ``targets="one"``."""
    success: float
    """1 if the answer is right (IoU >= 0.5, or F1 of 1 with ``targets="any"``), otherwise 0; NaN without labels."""

    @property
    def steps(self) -> int:
        """Number of steps, the trigger included."""
        return len(self.trajectory) - 1


def play(
    engine: GroundingEngine, policy: Policy, indices: Sequence[int], initial_boxes: np.ndarray | None = None
) -> list[Episode]:
    """Play the episodes with the given indices, each once, in batches of the engine's size.

    Args:
        engine: the environment; its rows are overwritten.
        policy: policy that acts.
        indices: indices of the episodes.
        initial_boxes: normalised (len(indices), 4); default: the initial boxes of the engine.
    """
    episodes: list[Episode] = []
    for at in range(0, len(indices), engine.num_envs):
        chunk = list(indices[at : at + engine.num_envs])
        boxes = None if initial_boxes is None else initial_boxes[at : at + engine.num_envs]
        episodes += _play_batch(engine, policy, chunk, boxes)
    return episodes


def _play_batch(engine: GroundingEngine, policy: Policy, indices: list[int], boxes: np.ndarray | None) -> list[Episode]:
    """Play a batch to the end of its longest episode; rows beyond the batch repeat its first index."""
    count = len(indices)
    index = np.array([*indices, *[indices[0]] * (engine.num_envs - count)])
    options: dict = {"index": index}
    if boxes is not None:
        options["initial_box"] = np.concatenate([boxes, np.tile(box_ops.FULL, (engine.num_envs - count, 1))])
    # Each episode has its own random stream, so that a random initial box does not depend on the batch.
    engine.reset_rows(range(engine.num_envs), CounterRNG(index, engine.device), options)
    path, alive = [to_numpy(engine.boxes).copy()], np.ones(engine.num_envs, dtype=bool)
    length = np.zeros(engine.num_envs, dtype=int)
    returns, triggered = np.zeros(engine.num_envs), np.zeros(engine.num_envs, dtype=bool)
    last = _last(engine)
    for _ in range(engine.options.max_steps):
        result = engine.step(policy({name: to_numpy(values) for name, values in engine.observe().items()}))
        terminated, truncated = to_numpy(result.terminated), to_numpy(result.truncated)
        path.append(np.where(alive[:, None], to_numpy(engine.boxes), path[-1]))
        now = _last(engine)
        last = {k: np.where(alive.reshape(-1, *[1] * (v.ndim - 1)), now[k], v) for k, v in last.items()}
        returns += alive * to_numpy(result.reward)
        length += alive
        triggered |= alive & terminated
        alive &= ~(terminated | truncated)
        if not alive[:count].any():
            break
    trajectories = np.stack(path, axis=1)
    return [
        Episode(
            index=index,
            trajectory=trajectories[row, : length[row] + 1],
            score=float(last["score"][row]),
            triggered=bool(triggered[row]),
            reward=float(returns[row]),
            iou=float(last["iou"][row]),
            boxes=last["boxes"][row, : int(last["num_boxes"][row])],
            success=float(last["is_success"][row]) if np.isfinite(last["iou"][row]) else np.nan,
        )
        for row, index in enumerate(indices)
    ]


def _last(engine: GroundingEngine) -> dict[str, np.ndarray]:
    """Return the values of the present moment that an episode keeps from its last one, (N, ...) each."""
    values = {"score": engine.score, **engine.outcome(), **engine.recorded()}
    if "boxes" not in values:
        values |= {"boxes": engine.boxes[:, None], "num_boxes": np.ones(engine.num_envs, dtype=int)}
    return {name: to_numpy(value).copy() for name, value in values.items()}


def draw_episode(episodes: Episodes, episode: Episode, size: int = 320) -> np.ndarray:
    """Draw a played episode in one frame: its last box, its trail, and the target if it is known."""
    query, targets = episodes.query(episode.index), episodes.all_targets(episode.index)
    return drawing.draw_frame(
        query.image.array(),
        episode.trajectory[-1],
        targets,
        list(episode.trajectory[:-1]),
        query.expression,
        episode.score,
        None if targets is None else episode.iou,
        f"{episode.steps}{'' if episode.triggered else ' (no trigger)'}",
        size,
        list(episode.boxes) if episodes.targets == "any" else (),
    )
