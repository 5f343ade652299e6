"""Behaviour cloning of the greedy oracle, as in DAgger (Ross et al., AISTATS 2011): a warm start that needs box labels.

The student acts, the oracle names the action that it would take, and the student learns this action in the states that
it visits.
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
from vg_gym.agents.oracle import missing_targets, oracle_actions, proposal_overlaps
from vg_gym.agents.proposal_attention import EMPTY_SCORE
from vg_gym.agents.vec_env import GroundingVecEnv
from vg_gym.boxes import to_numpy
from vg_gym.config import NonNegativeFloat, NonNegativeInt, PositiveInt, UnitInterval
from vg_gym.envs.engine import GroundingEngine
from vg_gym.envs.rewards import SUCCESS_IOU

ACTION, REFERENT, RETURN = "oracle:action", "oracle:meant", "return"
"""Names of columns beside the observations: the oracle's action, the index of the target's proposal, the return."""


@dataclass
class CloneConfig:
    """Options of the warm start."""

    minutes: NonNegativeFloat | None = None
    """Wall-clock time of the warm start in minutes, a part of the run's; 0 means no warm start. Default: half of the
    run's if the reward reads labels and the algorithm is PPO, otherwise 0."""
    steps: NonNegativeInt | None = None
    """Number of minibatches of the warm start, which replaces ``minutes``. Default: if ``total_timesteps`` measures the
    run, one for every 150 of them, otherwise none."""
    choice: UnitInterval = 0.6
    """Share of the warm start in which a policy that reads proposals learns, without acting, to choose one of them."""
    learning_rate: NonNegativeFloat = 1e-3
    """Learning rate of AdamW, which falls linearly to a twentieth."""
    batch_size: PositiveInt = 1024
    """Number of states in a minibatch."""
    buffer_size: PositiveInt = 120_000
    """Capacity of the buffer in states; older states are overwritten."""
    teacher: UnitInterval = 0.3
    """Share of the cloning time in which the oracle plays, at first in all environments and then in fewer and fewer."""
    horizon: PositiveInt = 8
    """Number of steps collected between updates."""
    updates: PositiveInt = 8
    """Number of minibatches after each collection."""


class StateBuffer:
    """Ring buffer of states: observations with the oracle's labels.

    Args:
        capacity: largest number of states.
    """

    def __init__(self, capacity: int):
        self.capacity, self.size, self.head = capacity, 0, 0
        self.columns: dict[str, np.ndarray] = {}

    def add(self, states: dict[str, np.ndarray]) -> None:
        """Add a batch of states, arrays (B, ...) by name."""
        if not self.columns:
            self.columns = {k: np.zeros((self.capacity, *v.shape[1:]), v.dtype) for k, v in states.items()}
        count = len(next(iter(states.values())))
        rows = (self.head + np.arange(count)) % self.capacity
        for name, values in states.items():
            self.columns[name][rows] = values
        self.head = (self.head + count) % self.capacity
        self.size = min(self.size + count, self.capacity)

    def sample(self, rng: np.random.Generator, count: int) -> dict[str, np.ndarray]:
        """Return a random batch."""
        rows = rng.integers(self.size, size=count)
        return {name: values[rows] for name, values in self.columns.items()}


def clone_oracle(
    model: OnPolicyAlgorithm, env: GroundingVecEnv, config: CloneConfig, budget: Budget,
    report: Callable[[dict[str, Any]], None],
) -> None:  # fmt: skip
    """Train ``model.policy`` to imitate the greedy oracle, and its critic to predict the returns of the walks.

    With an untrained critic, the first updates of PPO rate every late step of an episode, above all the trigger, below
    average, and unlearn it.

    Args:
        model: an SB3 on-policy algorithm over ``env``.
        env: an environment whose source has box labels.
        config: options of the warm start.
        budget: budget, whose steps are minibatches.
        report: called after every collection with ``progress`` in [0, 1] and the mean ``loss`` and ``agreement``.
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
            states = {**observations, ACTION: labels, REFERENT: _referents(env.engine)}
            policy_actions, _ = _act(model, observations)
            oracle_acts = rng.random(env.num_envs) < share
            actions = np.where(oracle_acts.reshape(-1, *[1] * (labels.ndim - 1)), labels, policy_actions)
            observations, rewards, dones, _ = env.step(actions)
            walk.append((states, rewards, dones))
        _add_walk(buffer, walk, _act(model, observations)[1], model.gamma)
        _anneal(optimizer, config, progress)
        losses = [_learn(model, optimizer, buffer.sample(rng, config.batch_size)) for _ in range(config.updates)]
        budget.taken += config.updates
        loss, agreement = np.mean(losses, axis=0)
        report({"progress": progress, "loss": float(loss), "agreement": float(agreement)})


def learn_choice(
    model: OnPolicyAlgorithm, env: GroundingVecEnv, config: CloneConfig, budget: Budget,
    report: Callable[[dict[str, Any]], None],
) -> None:  # fmt: skip
    """Train the policy's attention over proposals to give the target's proposal the highest score.

    The target's proposal is computed once per query, not in every step of a walk, so that the policy sees many times
    more queries.

    Args:
        model: an SB3 on-policy algorithm whose policy reads proposals.
        env: environment of the model, whose source has box labels.
        config: options of the warm start.
        budget: budget, whose steps are minibatches.
        report: see :func:`clone_oracle`; ``agreement`` is the share of right choices.
    """
    policy: Any = model.policy
    rng, buffer = np.random.default_rng(model.seed), StateBuffer(config.buffer_size)
    attention = policy.features_extractor.proposals
    if attention.looks is not None:
        attention.looks.settled.fill_(False)
    optimizer = _optimizer(attention, config)
    budget.start()
    while (progress := budget.progress()) < 1:
        observations: Any = env.reset()
        buffer.add({**{name: observations[name] for name in attention.inputs}, REFERENT: _referents(env.engine)})
        _anneal(optimizer, config, progress)
        batch: Any = obs_as_tensor(buffer.sample(rng, config.batch_size), model.device)
        if attention.looks is not None and batch[REFERENT].ndim == 1:
            batch = attention.looks.thinned(batch, batch[REFERENT], attention.count)
        _, scores = attention(batch)
        loss = _choice_loss(scores, batch[REFERENT])
        _descend(optimizer, loss, attention)
        budget.taken += 1
        report({"progress": progress, "loss": float(loss.detach()), "agreement": _agreement(scores, batch[REFERENT])})
    if attention.looks is not None:
        attention.looks.settled.fill_(True)


def _agreement(scores: torch.Tensor, referents: torch.Tensor) -> float:
    """Return the share of right choices; with several referents (B, K), the share of rows that are right everywhere."""
    if referents.ndim == 2:
        return float(((scores > 0) == (referents > 0)).all(1).float().mean())
    return float((scores.argmax(1) == referents).sum() / (referents >= 0).sum().clamp(min=1))


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


def _choice_loss(scores: torch.Tensor, referents: torch.Tensor) -> torch.Tensor:
    """Return the mean cross-entropy of the choice; rows without a target's proposal count as 0.

    With ``targets="any"``, referents (B, K) mark all proposals that are meant, and the loss decides each independently.
    """
    if referents.ndim == 2:
        present = scores > EMPTY_SCORE / 2
        each = F.binary_cross_entropy_with_logits(scores, referents, reduction="none")
        return (each * present).sum() / len(scores)
    return F.cross_entropy(scores, referents, ignore_index=-1, reduction="sum") / len(referents)


def _referents(engine: GroundingEngine) -> np.ndarray:
    """Return the index of the proposal with the highest IoU with the target, (N,); -1 if all IoUs are below 0.5.

    With ``targets="any"``, return which proposals have an IoU of at least 0.5 with a target that is not recorded,
    float32 (N, K).
    """
    if engine.answers:
        return _all_referents(engine)
    targets, proposals = to_numpy(engine.targets), to_numpy(engine.proposals)
    if not proposals.shape[1]:
        return np.full(len(targets), -1)
    overlaps = proposal_overlaps(proposals, targets, to_numpy(engine.scales))
    return np.where(overlaps.max(axis=1) >= 0.5, overlaps.argmax(axis=1), -1)


def _all_referents(engine: GroundingEngine) -> np.ndarray:
    assert engine.answers is not None
    proposals, scales = to_numpy(engine.proposals), to_numpy(engine.scales)
    targets, missing = to_numpy(engine.answers.targets), missing_targets(engine)
    overlaps = [
        proposal_overlaps(proposals, targets[:, i], scales) * missing[:, i, None] for i in range(targets.shape[1])
    ]
    return (np.max(overlaps, axis=0) >= SUCCESS_IOU).astype(np.float32)


def _log_prob(distribution: Any, labels: torch.Tensor, referents: torch.Tensor) -> torch.Tensor:
    """Return the log-probability (B,) of labels; edges count only if the last part neither stops nor jumps.

    With several referents (B, K), a jump to any of them is as good as the one that the oracle names.
    """
    if not isinstance(distribution, MultiCategoricalDistribution):
        return distribution.log_prob(labels)
    parts = [part.log_prob(label) for part, label in zip(distribution.distribution, labels.unbind(1), strict=True)]
    last, choice = parts[-1], labels[:, -1]
    if referents.ndim == 2 and referents.shape[1]:
        jump = (choice > 1) & (choice < 2 + referents.shape[1])
        places = torch.zeros_like(distribution.distribution[-1].logits).scatter(1, choice[:, None], 1)
        places[:, 2 : 2 + referents.shape[1]] += referents
        every = distribution.distribution[-1].logits.masked_fill(places == 0, -torch.inf).logsumexp(1)
        last = torch.where(jump, every, last)
    return last + (choice == 0) * torch.stack(parts[:-1]).sum(0)


def _act(model: OnPolicyAlgorithm, observations: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return sampled actions, and the critic's values of the states (N,)."""
    model.policy.set_training_mode(False)
    with torch.no_grad():
        actions, values, _ = model.policy(obs_as_tensor(observations, model.device))
    return actions.cpu().numpy(), values.flatten().cpu().numpy()


def _add_walk(buffer: StateBuffer, walk: list[tuple[dict, Any, Any]], values: np.ndarray, gamma: float) -> None:
    """Add the states of a walk with their discounted returns; ``values`` are the critic's after the walk."""
    for states, rewards, dones in reversed(walk):
        values = (rewards + gamma * values * ~dones).astype(np.float32)
        buffer.add({**states, RETURN: values})


def _learn(
    model: OnPolicyAlgorithm, optimizer: torch.optim.Optimizer, states: dict[str, np.ndarray]
) -> tuple[float, float]:
    """Take a step of maximum likelihood, and return the loss and the mean probability of the oracle's action.

    The critic learns in the same step. A policy that reads proposals learns to choose a proposal in every state, not
    only in those where the oracle jumps. Once its choice is settled, only the actions for rightly chosen proposals are
    imitated: the policy cannot know that another one is wrong, and would learn to jump for ever instead of stopping.
    """
    policy: Any = model.policy
    policy.set_training_mode(True)
    batch: Any = obs_as_tensor(states, model.device)
    labels, referents, returns = (batch.pop(name) for name in (ACTION, REFERENT, RETURN))
    features = policy.extract_features(batch)
    actor, critic = policy.mlp_extractor(features)
    log_prob = _log_prob(policy._get_action_dist_from_latent(actor), labels, referents)
    agreement = log_prob.detach().exp().mean()
    count = getattr(policy.features_extractor, "num_scores", 0)
    scores = features[:, -count:] if count else None
    if scores is not None and _is_settled(policy) and referents.ndim == 1:
        log_prob = log_prob[scores.argmax(1) == referents]
    loss = F.mse_loss(policy.value_net(critic).flatten(), returns) * model.vf_coef
    loss = loss - (log_prob.mean() if len(log_prob) else 0.0)
    if scores is not None and scores.requires_grad:
        loss = loss + _choice_loss(scores, referents)
    _descend(optimizer, loss, policy)
    return float(loss.detach()), float(agreement)


def _is_settled(policy: Any) -> bool:
    """Return whether the choice among proposals no longer learns."""
    looks = policy.features_extractor.proposals.looks
    return looks is not None and bool(looks.settled)
