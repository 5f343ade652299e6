"""Policy that acts greedily and notes, at the start of each episode, the probability that something is meant."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.utils import obs_as_tensor

from vg_gym.envs.action_set import ActionSet
from vg_gym.errors import VGGymError


class Presence:
    """Policy for :func:`vg_gym.agents.rollout.play`, of an agent with ``targets="any"``.

    Args:
        policy: SB3 actor-critic policy.
        actions: its action set, with answers.

    Raises:
        VGGymError: the policy does not give probabilities of actions.
    """

    def __init__(self, policy: Any, actions: ActionSet):
        if not hasattr(policy, "get_distribution"):
            raise VGGymError("an agent with targets=any needs algo=ppo: DQN has no probability of nothing")
        self._policy, self._actions = policy, actions
        self._scores: list[np.ndarray] = []

    def __call__(self, observations: dict[str, np.ndarray]) -> np.ndarray:
        """Return the most probable actions (B, ...)."""
        if (observations["step"] == 0).all():
            self._scores.append(1 - self.nothing(observations))
        return self._policy.predict(observations, deterministic=True)[0]

    @torch.no_grad()
    def nothing(self, observations: dict[str, np.ndarray]) -> np.ndarray:
        """Return the probability of "nothing more" (B,)."""
        tensors: Any = obs_as_tensor(observations, self._policy.device)
        distribution = self._policy.get_distribution(tensors).distribution
        discrete = isinstance(self._actions.space, spaces.Discrete)
        last = distribution if discrete else distribution[-1]
        return last.probs[:, -1].cpu().numpy()

    def at_start(self) -> list[float]:
        """Return the probability that something is meant, for each episode in the order of play."""
        return np.concatenate(self._scores).tolist()
