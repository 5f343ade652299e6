"""Vector environment of Gymnasium with N episodes in one engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from vg_gym.boxes import to_numpy
from vg_gym.data import drawing
from vg_gym.envs.factory import make_engine
from vg_gym.envs.rng import CounterRNG, row_seeds
from vg_gym.envs.spec import HasGroundingSpec
from vg_gym.errors import VGGymError


class GroundingVectorEnv(HasGroundingSpec, VectorEnv):  # type: ignore[misc]
    """N grounding environments in one batched engine: the same episodes as N single ones with the same seeds.

    >>> import gymnasium, vg_gym
    >>> envs = gymnasium.make_vec("RefShapes-Ground-v0", num_envs=3, max_steps=5)
    >>> observations, infos = envs.reset(seed=0)
    >>> observations["box"].shape, infos["dataset"].tolist()
    ((3, 8), ['refshapes', 'refshapes', 'refshapes'])

    Args:
        num_envs: number of environments, N.
        autoreset_mode: next-step (Gymnasium's default), same-step, or disabled. If it is disabled, the caller resets
            rows that have ended with ``options["reset_mask"]``, and a step before that is an error.
        render_mode: ``rgb_array``: :meth:`render` returns one frame per environment.
        max_episode_steps: number of steps after which episodes are truncated too, like Gymnasium's ``TimeLimit`` around
            a single environment. The observation's ``step`` remains the share of ``max_steps``. The trigger counts in
            the last of these steps at the latest.
        **arguments: arguments of :class:`~vg_gym.envs.GroundingEnv`.

    Raises:
        VGGymError: see :class:`~vg_gym.envs.GroundingEnv`; or ``max_episode_steps`` is below 1.
    """

    metadata = {
        "render_modes": ["rgb_array"],
        "render_fps": 4,
        "autoreset_mode": AutoresetMode.NEXT_STEP,
    }

    def __init__(
        self,
        num_envs: int = 1,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
        max_episode_steps: int | None = None,
        **arguments: Any,
    ):
        if max_episode_steps is not None and max_episode_steps < 1:
            raise VGGymError(f"max_episode_steps={max_episode_steps} must be at least 1")
        self.engine, self.max_episode_steps = make_engine(num_envs, **arguments), max_episode_steps
        self.engine.limit_steps(max_episode_steps)
        self.num_envs, self.render_mode = num_envs, render_mode
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        self.metadata = {**self.metadata, "autoreset_mode": self.autoreset_mode}
        self.single_action_space = self.engine.actions.space
        self.single_observation_space = self.engine.observation_space
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self._everywhere = np.ones(num_envs, dtype=bool)
        self._dataset = np.full(num_envs, self.engine.episodes.dataset, dtype=object)
        self._rng: CounterRNG | None = None
        self._begun, self._done = False, np.zeros(num_envs, dtype=bool)

    def reset(self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None):
        """Start episodes in all rows, or where ``options["reset_mask"]`` is true; an integer seeds env i with seed + i.

        The infos leave out rows that continue, like those of Gymnasium's own vector environments.

        Raises:
            VGGymError: the mask does not have one boolean for each row, is false everywhere, or is false somewhere in
                the first reset; or an option is wrong.
            WrongValue: a seed is not an integer of at least 0, or a list lacks a seed for an environment.
        """
        options, seeds = dict(options or {}), row_seeds(seed, self.num_envs)
        mask = self._reset_mask(options.pop("reset_mask", self._everywhere))
        if self._rng is None:
            self._rng = CounterRNG.from_seeds(seeds, self.engine.device)
        else:
            self._rng.reseed_rows(seed if chosen else None for seed, chosen in zip(seeds, mask, strict=True))
        self.engine.reset_rows(np.flatnonzero(mask), self._rng, options)
        self._begun, self._done = True, self._done & ~mask
        return self._observations(), _only(self._infos(), mask)

    def _reset_mask(self, value: Any) -> np.ndarray:
        """Validate a mask of the rows that start a new episode, bool (N,)."""
        mask = np.asarray(value)
        if mask.shape != (self.num_envs,) or mask.dtype != bool or not mask.any():
            raise VGGymError(f"options['reset_mask'] must be {self.num_envs} booleans, at least one of them true")
        if not (self._begun or mask.all()):
            raise VGGymError(
                "options['reset_mask'] leaves rows without an episode: the first reset() starts all of them"
            )
        return mask

    def step(self, actions: np.ndarray):
        """Act in every row; episodes that ended are reset according to ``autoreset_mode``.

        Raises:
            VGGymError: no episode was started, an episode has ended and was not reset (without autoreset), or an action
                is not in the space.
        """
        self._check_begun("step()")
        if self.autoreset_mode == AutoresetMode.DISABLED and self._done.any():
            raise VGGymError(
                f"the episodes of rows {np.flatnonzero(self._done).tolist()} have ended, and nothing resets them: "
                "call reset(options={'reset_mask': terminated | truncated}) first"
            )
        actions = self.engine.checked_shape(actions)
        if self.autoreset_mode == AutoresetMode.NEXT_STEP and self._done.any():
            return self._step_and_reset(actions)
        reward, terminated, truncated = self._act(actions)
        done = terminated | truncated
        if self.autoreset_mode != AutoresetMode.SAME_STEP or not done.any():
            self._done = done
            return self._observations(), reward, terminated, truncated, self._infos()
        return self._reset_now(reward, terminated, truncated)

    def _check_begun(self, what: str) -> None:
        if not self._begun:
            raise VGGymError(f"{what} before reset(): call reset() first")

    def _reset_now(self, reward: np.ndarray, terminated: np.ndarray, truncated: np.ndarray):
        """Reset the rows that ended; they show the first observation of the next episode (same-step autoreset)."""
        done = terminated | truncated
        rows, final_obs, final_info = np.flatnonzero(done), self._observations(), _only(self._infos(), done)
        assert self._rng is not None
        self.engine.reset_rows(rows, self._rng)
        first = self.engine.observe(rows)
        observations = {name: values.copy() for name, values in final_obs.items()}
        for name, values in observations.items():
            values[rows] = to_numpy(first[name])
        last = np.full(self.num_envs, None, dtype=object)
        for row in rows:
            last[row] = {name: values[row] for name, values in final_obs.items()}
        infos = {**self._infos(), "final_obs": last, "_final_obs": done, "final_info": final_info,
                 "_final_info": done.copy()}  # fmt: skip
        self._done = np.zeros_like(done)
        return observations, reward, terminated, truncated, infos

    def _act(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Take a step and return rewards, terminations and truncations as arrays."""
        result = self.engine.step(actions)
        reward, terminated, truncated = map(to_numpy, (result.reward, result.terminated, result.truncated))
        reward = reward.astype(np.float64)
        if self.max_episode_steps is not None:
            truncated = truncated | (to_numpy(self.engine.steps) >= self.max_episode_steps)
        return reward, terminated, truncated

    def _step_and_reset(self, actions: np.ndarray):
        """Reset the rows that ended, ignoring their actions, and act in the others (next-step autoreset)."""
        engine, ended = self.engine, self._done
        actions = np.array(actions)
        actions[ended] = engine.actions.trigger  # any valid action: the row is overwritten by its reset
        reward, terminated, truncated = (values.copy() for values in self._act(actions))
        assert self._rng is not None
        engine.reset_rows(np.flatnonzero(ended), self._rng)
        for values in (reward, terminated, truncated):
            values[ended] = 0
        self._done = terminated | truncated
        return self._observations(), reward, terminated, truncated, self._infos()

    def _observations(self) -> dict[str, np.ndarray]:
        return {name: to_numpy(values) for name, values in self.engine.observe().items()}

    def action_masks(self) -> np.ndarray:
        """Return action masks, bool (N, n), see :meth:`vg_gym.envs.GroundingEnv.action_masks`."""
        self._check_begun("action_masks()")
        return self.engine.masks()

    def render(self) -> tuple[np.ndarray, ...] | None:
        """Return one frame per environment in mode ``rgb_array``."""
        if self.render_mode is None:
            return None
        self._check_begun("render()")
        engine = self.engine
        return tuple(
            drawing.draw_frame(
                query.image.array(), box, expression=query.expression, recorded=engine.recorded_boxes(row)
            )
            for row, (query, box) in enumerate(zip(engine.queries, to_numpy(engine.boxes), strict=True))
        )

    def close_extras(self, **kwargs: Any) -> None:
        """Close the file of the cache."""
        self.engine.close()

    def _infos(self) -> dict[str, Any]:
        """Return infos as arrays with masks, in the style of Gymnasium's vector environments."""
        engine, everywhere = self.engine, self._everywhere
        infos: dict[str, Any] = engine.identity()
        infos["dataset"] = self._dataset
        infos["box"], infos["clip_score"] = to_numpy(engine.boxes).copy(), to_numpy(engine.score).astype(np.float64)
        infos |= engine.recorded()
        infos |= {f"_{name}": everywhere for name in tuple(infos)}
        outcome = {name: to_numpy(values) for name, values in engine.outcome().items()}
        labeled = ~np.isnan(outcome["iou"])
        if labeled.any():
            infos |= {name: np.where(labeled, values, values.dtype.type(0)) for name, values in outcome.items()}
            infos |= {f"_{name}": labeled for name in outcome}
        return infos


def _only(infos: dict[str, Any], mask: np.ndarray) -> dict[str, Any]:
    """Return the infos of rows in a mask, bool (N,), and zeros elsewhere, like Gymnasium's own vector environments."""
    if mask.all():
        return infos
    selected = {}
    for name, values in infos.items():
        empty = np.full_like(values, None) if values.dtype == object else np.zeros_like(values)
        empty[mask] = values[mask]
        selected[name] = empty
    return selected
