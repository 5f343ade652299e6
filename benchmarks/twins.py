"""Comparisons for ``throughput.py``: lower bounds, which do less work than an environment, and the naive twin."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3.common.vec_env import VecEnv

from vg_gym import boxes as box_ops
from vg_gym.clip.crops import crop
from vg_gym.clip.encoder import ClipEncoder
from vg_gym.envs.actions import MultiEdgeActions
from vg_gym.envs.engine import GroundingEngine
from vg_gym.storage.lru_cache import LRUCache
from vg_gym.types import Query

_OUT = np.array([-1, -1, 1, 1], dtype=np.float32)
_LEVELS = np.array([0.3, 0.08, 0, -0.08, -0.3], dtype=np.float32)


def _corners(boxes: np.ndarray, lines: int) -> tuple[np.ndarray, np.ndarray]:
    """Return table rows and weights, (B, 16) each, whose weighted sum is the sum over each box."""
    edges = boxes * (lines - 1)
    below = np.minimum(edges.astype(np.int64), lines - 2)
    beyond = edges - below.astype(np.float32)
    sign = np.array([-1, -1, 1, 1], dtype=np.float32)
    weights = np.stack([(1 - beyond) * sign, beyond * sign], axis=-1)
    near = np.stack([below, below + 1], axis=-1)
    across, down = weights[:, 0::2].reshape(-1, 1, 4), weights[:, 1::2].reshape(-1, 4, 1)
    columns, rows = near[:, 0::2].reshape(-1, 1, 4), near[:, 1::2].reshape(-1, 4, 1)
    return (rows * lines + columns).reshape(-1, 16), (down * across).reshape(-1, 16)


def _moved(boxes: np.ndarray, action: np.ndarray) -> np.ndarray:
    """Move every edge of boxes, and clamp them to the image."""
    extent = boxes[:, 2:] - boxes[:, :2]
    moved = boxes + _LEVELS[action[:, :4]] * _OUT * np.concatenate([extent, extent], axis=1)
    low = np.clip(moved[:, :2], 0, 0.95)
    return np.concatenate([low, np.clip(moved[:, 2:], low + 0.04, 1)], axis=1).astype(np.float32)


def _widened(boxes: np.ndarray) -> np.ndarray:
    """Return the boxes followed by the boxes enlarged 1.5 times, whose ring the context score uses."""
    middle, half = (boxes[:, :2] + boxes[:, 2:]) / 2, 0.75 * (boxes[:, 2:] - boxes[:, :2])
    return np.concatenate([boxes, np.clip(np.concatenate([middle - half, middle + half], axis=1), 0, 1)])


def _floor(engine: GroundingEngine, actions: list[np.ndarray], ring: bool, xp: Any, gather: Any) -> Callable[[], None]:
    """Loop of box arithmetic, gathers and dot products, without rewards, episodes or observations."""
    tables = engine.features.images.tables.tensor
    lines = tables.shape[1]
    flat = tables.view(-1, tables.shape[3])
    first = np.tile(engine.slots.astype(np.int64) * lines**2, 1 + ring)[:, None]
    count, text = engine.num_envs, xp.asarray(engine.text)
    state: dict[str, Any] = {"boxes": engine.boxes.copy(), "step": 0}

    def cosine(region: Any) -> Any:
        return (region * text).sum(-1) / (xp.sqrt((region * region).sum(-1)) + 1e-8)

    def step() -> None:
        state["boxes"] = boxes = _moved(state["boxes"], actions[state["step"] % len(actions)])
        rows, weights = _corners(_widened(boxes) if ring else boxes, lines)
        sums = gather(flat, first + rows, weights)
        state["score"] = cosine(sums[:count])
        if ring:
            state["score"] = state["score"] - 0.5 * cosine(sums[count:] - sums[:count])
        state["step"] += 1

    return step


def numpy_floor(engine: GroundingEngine, actions: list[np.ndarray], ring: bool) -> Callable[[], None]:
    """Return a plain numpy loop with the minimal work of an environment with this score.

    Args:
        engine: engine whose features, boxes and texts are used.
        actions: actions (N, 5), which are repeated.
        ring: whether to compute the ``context`` score instead of the plain cosine.
    """

    def gather(flat: torch.Tensor, rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
        return np.einsum("bk,bkd->bd", weights, flat.numpy()[rows])

    return _floor(engine, actions, ring, np, gather)


def torch_floor(engine: GroundingEngine, actions: list[np.ndarray], ring: bool) -> Callable[[], None]:
    """Return the same loop with torch's fused gather and sum, which the engine uses; see :func:`numpy_floor`."""
    bags = torch.arange(0, 16 * engine.num_envs * (1 + ring), 16)

    def gather(flat: torch.Tensor, rows: np.ndarray, weights: np.ndarray) -> torch.Tensor:
        index, shares = torch.from_numpy(rows.reshape(-1)), torch.from_numpy(weights.reshape(-1))
        return torch.embedding_bag(flat, index, bags, False, 0, False, shares)[0]

    return _floor(engine, actions, ring, torch, gather)


class NaiveEnv(gym.Env):
    """Straightforward implementation: a single environment that encodes a crop with CLIP in every step."""

    def __init__(self, queries: list[Query], clip: ClipEncoder):
        self.queries, self.clip = queries, clip
        self.actions = MultiEdgeActions("multi-edges", (0.3, 0.08))
        self.action_space = self.actions.space
        box = gym.spaces.Box(-1, 1, (clip.dim,), np.float32)
        self.observation_space = gym.spaces.Dict(
            {"region": box, "text": box, "box": gym.spaces.Box(0, 1, (4,), np.float32)}
        )

    def reset(self, *, seed: int | None = None, options: Any = None):
        """Start with a random query and the full image."""
        super().reset(seed=seed)
        query = self.queries[self.np_random.integers(len(self.queries))]
        self.image = query.image.array()
        self.text = self.clip.encode_text([query.expression])[0]
        self.box, self.steps = box_ops.FULL.copy(), 0
        self.score = self._encode()
        return self._observation(), {}

    def step(self, action: np.ndarray):
        """Move the box, crop and encode."""
        before = self.score
        moved, stop = self.actions.apply(self.box[None], np.asarray(action)[None])
        self.box, self.steps = moved[0], self.steps + 1
        self.score = self._encode()
        return self._observation(), float(self.score - before), bool(stop[0]), self.steps >= 10, {}

    def _encode(self) -> float:
        height, width = self.image.shape[:2]
        pixels = self.box * [width, height, width, height]
        self.region = self.clip.encode_crops([crop(self.image, pixels)])[0]
        return float(self.region @ self.text)

    def _observation(self) -> dict[str, np.ndarray]:
        return {"region": self.region.clip(-1, 1), "text": self.text.clip(-1, 1), "box": self.box}


class NullVecEnv(VecEnv):
    """Null environment with precomputed random observations and episodes of ten steps, to time the learner alone."""

    render_mode = None

    def __init__(self, observation_space: gym.spaces.Dict, action_space: gym.Space, num_envs: int):
        super().__init__(num_envs, observation_space, action_space)
        rng = np.random.default_rng(0)
        self.seen = [
            {name: rng.uniform(-1, 1, (num_envs, *part.shape)).astype(part.dtype)
             for name, part in observation_space.items()} for _ in range(4)
        ]  # fmt: skip
        self.steps, self.calls = rng.integers(10, size=num_envs), 0

    def reset(self):
        """Return the first observation."""
        return self.seen[0]

    def step_async(self, actions: np.ndarray) -> None:
        """Ignore the actions."""

    def step_wait(self):
        """Return the next observation."""
        self.calls += 1
        self.steps += 1
        done = self.steps >= 10
        self.steps[done] = 0
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for row in np.flatnonzero(done):  # SB3 requires this of every vector environment
            last = {name: values[row] for name, values in self.seen[0].items()}
            infos[row] = {"terminal_observation": last, "TimeLimit.truncated": True}
        return self.seen[self.calls % 4], np.zeros(self.num_envs, np.float32), done, infos

    def close(self) -> None:
        """Do nothing."""

    def env_is_wrapped(self, wrapper_class, indices=None):
        """Return that no environment is wrapped."""
        return [False] * self.num_envs

    def get_attr(self, attr_name, indices=None):
        """Return the attribute of this object for every environment."""
        return [getattr(self, attr_name)] * self.num_envs

    def set_attr(self, attr_name, value, indices=None):
        """Set the attribute of this object."""
        setattr(self, attr_name, value)

    def env_method(self, method_name, *args, indices=None, **kwargs):
        """Raise an error, since environments have no methods."""
        raise AttributeError(method_name)


class StudentEnv(gym.Env):
    """Published student environment, rebuilt from its description.

    It has four moves and four changes of scale of a box. In every step both towers of CLIP encode the crop under the
    box and the expression, and the reward is the difference of their cosine. The observation consists of both features.
    """

    STEP = np.float32(0.1)
    """Size of a move and of a change of scale, as a fraction of the box's side."""

    def __init__(self, queries: list[Query], clip: ClipEncoder):
        self.queries, self.clip = queries, clip
        self.action_space = gym.spaces.Discrete(8)
        self.observation_space = gym.spaces.Box(-1, 1, (2 * clip.dim,), np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None):
        """Start with a random query and a box in the centre."""
        super().reset(seed=seed)
        self.query = self.queries[self.np_random.integers(len(self.queries))]
        self.image = self.query.image.array()
        self.box, self.steps = np.array([0.25, 0.25, 0.75, 0.75], dtype=np.float32), 0
        self.cosine, observation = self._look()
        return observation, {}

    def step(self, action: int):
        """Move the box left, right, up or down, or make it wider, narrower, taller or flatter."""
        before, self.steps = self.cosine, self.steps + 1
        axis, way = action % 4 // 2, self.STEP * (1 - 2 * (action % 2))
        side = self.box[axis + 2] - self.box[axis]
        self.box[axis] -= way * side
        self.box[axis + 2] += way * side if action >= 4 else -way * side
        self.box = box_ops.fit_inside(self.box, min_side=0.04)
        self.cosine, observation = self._look()
        return observation, float(self.cosine - before), False, self.steps >= 10, {}

    def _look(self) -> tuple[float, np.ndarray]:
        self.clip._text_cache = LRUCache(1)  # the text tower runs in every step, as in the published code
        text = self.clip.encode_text([self.query.expression])[0]
        pixels = box_ops.denormalize(self.box, self.query.image.size)
        region = self.clip.encode_crops([crop(self.image, pixels)])[0]
        return float(region @ text), np.concatenate([region, text]).clip(-1, 1)
