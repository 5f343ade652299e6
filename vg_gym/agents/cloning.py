"""Behaviour cloning of the greedy oracle, DAgger style (Ross et al., AISTATS 2011): a warm start that needs box labels.

The student acts, the oracle says what it would have done, and the student learns that on the states it visits itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.distributions import MultiCategoricalDistribution
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.utils import obs_as_tensor
from torch.nn import functional as F  # noqa: N812

from vg_gym.agents.budget import Budget
from vg_gym.agents.oracle import oracle_actions, proposal_overlaps
from vg_gym.agents.vec_env import GroundingVecEnv
from vg_gym.boxes import to_numpy
from vg_gym.config import NonNegativeFloat, NonNegativeInt, PositiveInt, UnitInterval
from vg_gym.envs.engine import GroundingEngine

ACTION, MEANT, RETURN = "oracle:action", "oracle:meant", "return"
"""Columns beside the observations: what the oracle would do, which proposal is meant, and what the walk earned."""


@dataclass
class CloneConfig:
    """Options of the warm start."""

    minutes: NonNegativeFloat | None = None
    """Wall-clock time of the warm start, a part of the run's; 0: none. Default: half of the run's where the reward
    reads labels and the algorithm is PPO, else none."""
    steps: NonNegativeInt | None = None
    """Minibatches of the warm start; given, they measure it in place of ``minutes``. Default: none, or where
    ``total_timesteps`` measures the run, one for every :data:`~vg_gym.agents.config.STEPS_PER_MINIBATCH` of them."""
    choice: UnitInterval = 0.6
    """Share of that in which a policy that reads proposals first learns, without a move, which one is meant."""
    learning_rate: NonNegativeFloat = 1e-3
    """Of AdamW; falls linearly to a twentieth."""
    batch_size: PositiveInt = 1024
    """States of a minibatch."""
    buffer_size: PositiveInt = 120_000
    """States kept; older ones are overwritten."""
    teacher: UnitInterval = 0.3
    """How long the oracle also chooses actions, as a fraction of the time: its share of the rows falls from 1 to 0."""
    horizon: PositiveInt = 8
    """Steps gathered between updates."""
    updates: PositiveInt = 8
    """Minibatches after each gathering."""


class StateBuffer:
    """A ring of states: observations, and what the oracle says of them.

    Args:
        capacity: states kept.
    """

    def __init__(self, capacity: int):
        self.capacity, self.size, self.head = capacity, 0, 0
        self.columns: dict[str, np.ndarray] = {}

    def add(self, states: dict[str, np.ndarray]) -> None:
        """Keep a batch of states, arrays (B, ...) by name."""
        if not self.columns:
            self.columns = {k: np.zeros((self.capacity, *v.shape[1:]), v.dtype) for k, v in states.items()}
        count = len(next(iter(states.values())))
        rows = (self.head + np.arange(count)) % self.capacity
        for name, values in states.items():
            self.columns[name][rows] = values
        self.head = (self.head + count) % self.capacity
        self.size = min(self.size + count, self.capacity)

    def sample(self, rng: np.random.Generator, count: int) -> dict[str, np.ndarray]:
        """A random batch."""
        rows = rng.integers(self.size, size=count)
        return {name: values[rows] for name, values in self.columns.items()}


def clone_oracle(
    model: OnPolicyAlgorithm, env: GroundingVecEnv, config: CloneConfig, budget: Budget,
    report: Callable[[dict[str, Any]], None],
) -> None:  # fmt: skip
    """Train ``model.policy`` to imitate the greedy oracle, and its critic to foresee what the walks earn.

    With an untrained critic the first updates of PPO call every late step of an episode, the trigger above all, worse
    than the average, and undo it.

    Args:
        model: an SB3 on-policy algorithm over ``env``.
        env: an environment whose source has box labels.
        config: how.
        budget: how long; its steps are minibatches.
        report: called after every gathering with ``progress`` in [0, 1] and the running ``loss`` and ``agreement``.
    """
    rng = np.random.default_rng(model.seed)
    buffer = StateBuffer(config.buffer_size)
    optimizer = _optimizer(model.policy, config)
    observations: Any = env.reset()
    budget.start()
    while (progress := budget.progress()) < 1:
        share = max(0.0, 1 - progress / max(config.teacher, 1e-6))
        walk = []
        for _ in range(config.horizon):
            labels = oracle_actions(env.engine)
            states = {**observations, ACTION: labels, MEANT: _meant(env.engine)}
            acted, _ = _act(model, observations)
            drives = rng.random(env.num_envs) < share
            actions = np.where(drives.reshape(-1, *[1] * (labels.ndim - 1)), labels, acted)
            observations, rewards, dones, _ = env.step(actions)
            walk.append((states, rewards, dones))
        _remember(buffer, walk, _act(model, observations)[1], model.gamma)
        _anneal(optimizer, config, progress)
        losses = [_learn(model, optimizer, buffer.sample(rng, config.batch_size)) for _ in range(config.updates)]
        budget.taken += config.updates
        loss, agreement = np.mean(losses, axis=0)
        report({"progress": progress, "loss": float(loss), "agreement": float(agreement)})


def learn_choice(
    model: OnPolicyAlgorithm, env: GroundingVecEnv, config: CloneConfig, budget: Budget,
    report: Callable[[dict[str, Any]], None],
) -> None:  # fmt: skip
    """Train the policy's attention over proposals to score the one that is meant highest.

    Which it is, is asked once for each query, and not again at every step of a walk: many times more queries are seen.

    Args:
        model: an SB3 on-policy algorithm whose policy reads proposals.
        env: its environment, whose source has box labels.
        config: how.
        budget: how long; its steps are minibatches.
        report: as for :func:`clone_oracle`; ``agreement`` is the share of right choices.
    """
    policy: Any = model.policy
    rng, buffer = np.random.default_rng(model.seed), StateBuffer(config.buffer_size)
    attention = policy.features_extractor.proposals
    optimizer = _optimizer(attention, config)
    budget.start()
    while (progress := budget.progress()) < 1:
        observations: Any = env.reset()
        buffer.add({**{name: observations[name] for name in ("proposals", "text")}, MEANT: _meant(env.engine)})
        _anneal(optimizer, config, progress)
        batch: Any = obs_as_tensor(buffer.sample(rng, config.batch_size), model.device)
        _, scores = attention(batch["proposals"], batch["text"].float())
        loss = _choice_loss(scores, batch[MEANT])
        _descend(optimizer, loss, attention)
        budget.taken += 1
        right = (scores.argmax(1) == batch[MEANT]).sum() / (batch[MEANT] >= 0).sum().clamp(min=1)
        report({"progress": progress, "loss": float(loss.detach()), "agreement": float(right)})


def _optimizer(module: torch.nn.Module, config: CloneConfig) -> torch.optim.Optimizer:
    return torch.optim.AdamW(module.parameters(), lr=config.learning_rate, weight_decay=1e-4)


def _anneal(optimizer: torch.optim.Optimizer, config: CloneConfig, progress: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = config.learning_rate * (1 - 0.95 * progress)


def _descend(optimizer: torch.optim.Optimizer, loss: torch.Tensor, module: torch.nn.Module) -> None:
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
    optimizer.step()


def _choice_loss(scores: torch.Tensor, meant: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy; rows in which no proposal is meant count as nought."""
    return F.cross_entropy(scores, meant, ignore_index=-1, reduction="sum") / len(meant)


def _meant(engine: GroundingEngine) -> np.ndarray:
    """The proposal that is nearest the target, (N,); -1 where none is near, or there are none."""
    targets, proposals = to_numpy(engine.targets), to_numpy(engine.proposals)
    if not proposals.shape[1]:
        return np.full(len(targets), -1)
    overlaps = proposal_overlaps(proposals, targets, to_numpy(engine.scales))
    return np.where(overlaps.max(axis=1) >= 0.5, overlaps.argmax(axis=1), -1)


def _log_prob(distribution: Any, labels: torch.Tensor) -> torch.Tensor:
    """Log-probability (B,) of labels; edges count only where they move, not where the last part stops or jumps."""
    if not isinstance(distribution, MultiCategoricalDistribution):
        return distribution.log_prob(labels)
    parts = [part.log_prob(label) for part, label in zip(distribution.distribution, labels.unbind(1), strict=True)]
    return parts[-1] + (labels[:, -1] == 0) * torch.stack(parts[:-1]).sum(0)


def _act(model: OnPolicyAlgorithm, observations: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Sampled actions, and what the critic expects of the states (N,)."""
    model.policy.set_training_mode(False)
    with torch.no_grad():
        actions, values, _ = model.policy(obs_as_tensor(observations, model.device))
    return actions.cpu().numpy(), values.flatten().cpu().numpy()


def _remember(buffer: StateBuffer, walk: list[tuple[dict, Any, Any]], values: np.ndarray, gamma: float) -> None:
    """Keep the states of a walk with their discounted returns; ``values`` stands for what comes after it."""
    for states, rewards, dones in reversed(walk):
        values = (rewards + gamma * values * ~dones).astype(np.float32)
        buffer.add({**states, RETURN: values})


def _learn(
    model: OnPolicyAlgorithm, optimizer: torch.optim.Optimizer, states: dict[str, np.ndarray]
) -> tuple[float, float]:
    """One step of maximum likelihood; returns the loss and the mean probability of the oracle's action.

    The critic learns beside it. A policy that reads proposals also learns in every state, not in those alone where the
    oracle jumps, which is meant.
    """
    policy: Any = model.policy
    policy.set_training_mode(True)
    batch: Any = obs_as_tensor(states, model.device)
    labels, meant, returns = (batch.pop(name) for name in (ACTION, MEANT, RETURN))
    features = policy.extract_features(batch)
    actor, critic = policy.mlp_extractor(features)
    log_prob = _log_prob(policy._get_action_dist_from_latent(actor), labels)
    loss = F.mse_loss(policy.value_net(critic).flatten(), returns) * model.vf_coef - log_prob.mean()
    if scores := getattr(policy.features_extractor, "num_scores", 0):
        loss = loss + _choice_loss(features[:, -scores:], meant)
    _descend(optimizer, loss, policy)
    return float(loss.detach()), float(log_prob.detach().exp().mean())
