"""The engine as an SB3 VecEnv: same-step autoreset with ``terminal_observation``, as SB3's algorithms expect.

Gymnasium's next-step autoreset would give PPO rows that belong to no episode. This class also replaces N processes that
each hold a CLIP. PPO on this VecEnv gives bit-identical weights to PPO on ``DummyVecEnv`` over N single environments.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecEnv

from vg_gym.boxes import to_numpy
from vg_gym.envs.engine import GroundingEngine
from vg_gym.envs.rng import CounterRNG
from vg_gym.errors import VGGymError


class GroundingVecEnv(VecEnv):
    """N grounding episodes for SB3.

    In the last step of an episode its ``info`` holds ``episode`` (r, l), ``terminal_observation``,
    ``TimeLimit.truncated``, ``clip_score``, ``triggered``, and, with labels, the values of
    :meth:`~vg_gym.envs.engine_state.EngineState.outcome`. Other infos are empty: SB3 requires a list of dicts, and
    filling N of them takes longer than the step itself.

    Args:
        engine: engine with the episodes.
        seed: seed of environment 0; environment i has seed + i.
    """

    render_mode = None

    def __init__(self, engine: GroundingEngine, seed: int = 0):
        super().__init__(engine.num_envs, engine.observation_space, engine.actions.space)
        self.engine = engine
        self._rng = CounterRNG.from_seeds(range(seed, seed + engine.num_envs), engine.device)
        self._returns = np.zeros(engine.num_envs, dtype=np.float64)
        self._actions: np.ndarray | None = None
        self._begun = False

    def reset(self) -> dict[str, np.ndarray]:
        """Start all episodes; seeds from :meth:`seed` are used once."""
        self._rng.reseed_rows(self._seeds)
        self._reset_seeds()
        self._begun = True
        self.engine.reset_rows(range(self.num_envs), self._rng)
        self._returns[:] = 0
        return self._observations()

    def _observations(self) -> dict[str, np.ndarray]:
        return {name: to_numpy(values) for name, values in self.engine.observe().items()}

    def step_async(self, actions: np.ndarray) -> None:
        """Store the actions."""
        self._actions = actions

    def step_wait(self):
        """Act, and return observations, rewards, dones and infos.

        Raises:
            VGGymError: no episode was started, or an action is not in the space.
        """
        if not self._begun:
            raise VGGymError("step() before reset(): call reset() first")
        engine = self.engine
        assert self._actions is not None
        result = engine.step(self._actions)
        reward, terminated = to_numpy(result.reward), to_numpy(result.terminated)
        done = terminated | to_numpy(result.truncated)
        self._returns += reward
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        rows = np.flatnonzero(done)
        if len(rows):
            self._fill(infos, rows, terminated)
            engine.reset_rows(rows, self._rng)
            self._returns[rows] = 0
        return self._observations(), reward, done, infos

    def _fill(self, infos: list[dict[str, Any]], rows: np.ndarray, terminated: np.ndarray) -> None:
        engine = self.engine
        last = {name: to_numpy(values) for name, values in engine.observe(rows).items()}
        scores, steps = to_numpy(engine.score), to_numpy(engine.steps)
        outcome = {name: to_numpy(values) for name, values in engine.outcome().items()}
        for i, row in enumerate(rows):
            info = infos[row]
            info["terminal_observation"] = {name: values[i] for name, values in last.items()}
            info["TimeLimit.truncated"] = not terminated[row]
            info["triggered"] = bool(terminated[row])
            info["episode"] = {"r": float(self._returns[row]), "l": int(steps[row])}
            info["clip_score"] = float(scores[row])
            if np.isfinite(outcome["iou"][row]):
                info.update({name: values[row].item() for name, values in outcome.items()})

    def close(self) -> None:
        """Do nothing, because nothing is open."""

    def env_is_wrapped(self, wrapper_class: type, indices: Any = None) -> list[bool]:
        """Return False for each environment."""
        return [False] * self.num_envs

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Return an attribute of this object, once per environment.

        Raises:
            AttributeError: the attribute does not exist.
        """
        return [getattr(self, attr_name)] * len(list(self._get_indices(indices)))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Set an attribute of this object, which all environments share."""
        setattr(self, attr_name, value)

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        """Return ``action_masks`` per environment, for sb3-contrib; call other methods once for all environments.

        Args:
            method_name: name of a method of this object.
            *args: arguments of the method.
            indices: environments whose masks are returned; default: all.
            **kwargs: keyword arguments of the method.
        """
        if method_name == "action_masks":
            return list(self.action_masks()[list(self._get_indices(indices))])
        return [getattr(self, method_name)(*args, **kwargs)]

    def action_masks(self) -> np.ndarray:
        """Return which choices change something, bool (N, n); sb3-contrib looks for a method of this name."""
        return self.engine.masks()

    def get_images(self) -> Sequence[np.ndarray | None]:
        """Return None per environment; :func:`vg_gym.agents.rollout.draw_episode` draws played episodes."""
        return [None] * self.num_envs
