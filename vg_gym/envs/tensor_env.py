"""The environment as tensors: state, features, observations and rewards stay on one device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from vg_gym.envs.factory import make_engine
from vg_gym.envs.rng import CounterRNG, row_seeds
from vg_gym.errors import VGGymError

Tensors = dict[str, torch.Tensor]


class GroundingTensorEnv:
    """N grounding environments for learners on a GPU; they also run on a CPU.

    The episodes equal those of :class:`~vg_gym.envs.GroundingVectorEnv` with the same seed and same-step autoreset: the
    observation after the last step of an episode is the first of the next one.

    Args:
        num_envs: number of environments, N.
        **arguments: arguments of :class:`~vg_gym.envs.GroundingEnv`; ``device`` is the device of all tensors.
    """

    def __init__(self, num_envs: int, **arguments: Any):
        self.engine = make_engine(num_envs, tensors=True, **arguments)
        self.num_envs, self.device = num_envs, self.engine.clip.device
        self.single_action_space = self.engine.actions.space
        self.single_observation_space = self.engine.observation_space
        self._rng: CounterRNG | None = None

    def reset(self, seed: int | Sequence[int | None] | None = None) -> Tensors:
        """Start an episode in every environment and return the observations, each part (N, ...).

        Args:
            seed: an integer gives environment i the seed ``seed + i``; a list has one seed for each. Without a seed an
                environment continues its random numbers, which start at random in the first reset.

        Raises:
            WrongValue: the seed is not an integer, or a list lacks a seed for an environment.
        """
        seeds = row_seeds(seed, self.num_envs)
        if self._rng is None:
            self._rng = CounterRNG.from_seeds(seeds, self.engine.device)
        else:
            self._rng.reseed_rows(seeds)
        self.engine.reset_rows(range(self.num_envs), self._rng)
        return self.engine.observe()

    def step(self, actions: torch.Tensor) -> tuple[Tensors, torch.Tensor, torch.Tensor, torch.Tensor, dict[str, Any]]:
        """Act in every environment.

        Args:
            actions: (N, ...) on the device; they are not checked, because reading them waits for the device.

        Returns:
            Observations, rewards (N,), terminated (N,), truncated (N,), and infos. The infos ``iou`` (N,), NaN without
            a label, ``is_success`` and ``clip_score`` (N,) belong to the boxes after the step; so does ``set_f1`` (N,)
            with ``targets="any"``. ``final_rows`` (E,) are the indices of
            episodes that ended, and ``final_obs`` their last observations, each part (E, ...).

        Raises:
            VGGymError: :meth:`reset` was not called before.
        """
        if self._rng is None:
            raise VGGymError("step() before reset(): call reset() first")
        engine = self.engine
        result: Any = engine.step(actions)
        infos: dict[str, Any] = {**engine.outcome(), "clip_score": engine.score.clone()}
        ended = (result.terminated | result.truncated).nonzero()[:, 0]
        infos["final_rows"], infos["final_obs"] = ended, engine.observe(ended)
        if len(ended):
            engine.reset_rows(ended.cpu().numpy(), self._rng)
        return engine.observe(), result.reward, result.terminated, result.truncated, infos
