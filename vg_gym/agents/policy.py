"""The agent's network: one small encoder per part of the observation, then SB3's usual heads."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.policies import MultiInputActorCriticPolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import nn

from vg_gym.agents.proposal_attention import ProposalAttention
from vg_gym.envs.actions import ActionSet
from vg_gym.envs.observations import GLIMPSE
from vg_gym.envs.proposals import WIDTH

TRIGGER_BIAS = 3.0
"""Taken off the trigger's logit before training."""
TRIGGER_SHIFT = 0.5
"""Taken off the mean of a continuous trigger, which is pulled where positive."""


class GlimpseNet(nn.Module):
    """Two convolutions over glimpses (B, C * G * G), whose windows move with the box."""

    def __init__(self, channels: int, grid: int, width: int):
        super().__init__()
        self.net = nn.Sequential(
            nn.Unflatten(1, (channels, grid, grid)),
            nn.Conv2d(channels, 32, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 48, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(48 * ((grid + 1) // 2) ** 2, width),
            nn.LayerNorm(width),
            nn.ReLU(),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C * G * G) to (B, width)."""
        return self.net(x)


class TextAttention(nn.Module):
    """The text reads the glimpsed features: each text token attends over all cells of all windows.

    Scaled dot-product attention with learned keys and values (Vaswani et al., 2017); cells carry learned positions, so
    that what is found *where* relative to the box reaches the policy.

    Args:
        cells: of all windows together.
        dim: D, width of the features of cells and tokens.
        width: of the output.
        heads: of the attention.
    """

    def __init__(self, cells: int, dim: int, width: int, heads: int = 4):
        super().__init__()
        self.dim = dim
        self.cell = nn.Linear(dim, width)
        self.position = nn.Parameter(torch.zeros(cells, width))
        self.token = nn.Linear(dim, width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.out = nn.Sequential(nn.LayerNorm(width), nn.ReLU())

    def forward(self, features: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """Cells (B, cells * D) and tokens (B, L * D), zero beyond the text's end, to (B, width)."""
        cells = self.cell(features.unflatten(1, (-1, self.dim))) + self.position
        tokens = tokens.unflatten(1, (-1, self.dim))
        present = tokens.abs().sum(-1, keepdim=True) > 0
        read, _ = self.attention(self.token(tokens), cells, cells, need_weights=False)
        return self.out((read * present).sum(1) / present.sum(1).clamp(min=1))


class GroundingExtractor(BaseFeaturesExtractor):
    """Features of an observation of :class:`vg_gym.envs.GroundingEnv`, for SB3's ``MultiInputPolicy``.

    Args:
        observation_space: the env's Dict space; which parts it has decides which encoders are built.
        width: units of the encoder of glimpses; embeddings get half of it.
    """

    STATE = ("box", "history", "score", "step")
    """Short vectors, encoded together."""

    def __init__(self, observation_space: spaces.Dict, width: int = 192):
        super().__init__(observation_space, features_dim=1)
        shapes = {name: space.shape or () for name, space in observation_space.spaces.items()}
        half = width // 2
        self.glimpses = GlimpseNet(shapes["glimpses"][0] // GLIMPSE**2, GLIMPSE, width)
        self.state = nn.Sequential(nn.Linear(sum(shapes[name][0] for name in self.STATE), half), nn.ReLU())
        self.embeddings = nn.ModuleDict(
            {name: nn.Sequential(nn.Linear(shapes[name][0], half), nn.ReLU()) for name in ("image", "region", "text")}
        )
        sizes = [width, half, 3 * half]
        self.attention: TextAttention | None = None
        if "glimpse_features" in shapes:
            dim = shapes["text"][0]
            self.attention = TextAttention(shapes["glimpse_features"][0] // dim, dim, width)
            sizes.append(width)
        self.proposals: ProposalAttention | None = None
        if "proposals" in shapes:
            self.proposals = ProposalAttention(shapes["proposals"][0] // WIDTH, shapes["text"][0])
            sizes.append(self.proposals.size)
        self.edges: nn.Module | None = None
        if "edge_profiles" in shapes:
            self.edges = _two_layers(shapes["edge_profiles"][0] + shapes["box"][0], width)
            sizes.append(width)
        images = [name for name, shape in shapes.items() if len(shape) == 3]
        # An attribute's name is part of saved agents, so this one keeps its first.
        self.pictures = nn.ModuleDict({name: _pixels(shapes[name], width) for name in images})
        self.num_scores = self.proposals.count if self.proposals else 0
        """Scores of proposals, the last of the features."""
        self._features_dim = sum(sizes) + width * len(images) + self.num_scores

    def forward(self, observations: dict[str, torch.Tensor]) -> torch.Tensor:
        """A Dict of (B, ...) tensors to (B, features_dim)."""
        parts = [
            self.glimpses(observations["glimpses"]),
            self.state(torch.cat([observations[name] for name in self.STATE], dim=1)),
            *(encoder(observations[name]) for name, encoder in self.embeddings.items()),
        ]
        if self.attention is not None:
            parts.append(self.attention(observations["glimpse_features"], observations["tokens"]))
        if self.edges is not None:
            parts.append(self.edges(torch.cat([observations["edge_profiles"], observations["box"]], dim=1)))
        parts += [encoder(observations[name]) for name, encoder in self.pictures.items()]
        if self.proposals is not None:
            parts += self.proposals(observations["proposals"], observations["text"])
        return torch.cat(parts, dim=1)


def _two_layers(size: int, width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(size, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())


class ScorePassing(nn.Module):
    """SB3's hidden layers, past which the scores of the proposals, the last features, go straight to the actions.

    Args:
        hidden: SB3's extractor, of the features before the scores.
        num_scores: K.
    """

    def __init__(self, hidden: Any, num_scores: int):
        super().__init__()
        self.hidden, self.num_scores = hidden, num_scores
        self.latent_dim_pi, self.latent_dim_vf = hidden.latent_dim_pi + num_scores, hidden.latent_dim_vf

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Features (B, F) to what actions and values are computed from."""
        return self.forward_actor(features), self.forward_critic(features)

    def forward_actor(self, features: torch.Tensor) -> torch.Tensor:
        """Hidden units, then the scores."""
        count = self.num_scores
        return torch.cat([self.hidden.forward_actor(features[:, :-count]), features[:, -count:]], dim=1)

    def forward_critic(self, features: torch.Tensor) -> torch.Tensor:
        """Hidden units."""
        return self.hidden.forward_critic(features[:, : -self.num_scores])


class JumpHead(nn.Module):
    """Logits of the actions where some jump to proposals: a proposal's logit is its score, plus one number for all.

    Had each jump weights of its own, the network could learn by heart which row to jump to in which image.

    Args:
        latent: width of the hidden units, the scores behind them not counted.
        logits: of all actions, the jumps the last of them.
        num_scores: K.
    """

    def __init__(self, latent: int, logits: int, num_scores: int):
        super().__init__()
        self.num_scores = num_scores
        self.linear = nn.Linear(latent, logits - num_scores + 1)

    @property
    def bias(self) -> torch.Tensor:
        """Of the logits without the jumps, and of all jumps together."""
        return self.linear.bias

    def forward(self, latent: torch.Tensor) -> torch.Tensor:
        """Hidden units and scores (B, latent + K) to logits (B, logits)."""
        found = self.linear(latent[:, : -self.num_scores])
        return torch.cat([found[:, :-1], found[:, -1:] + latent[:, -self.num_scores :]], dim=1)


class GroundingPolicy(MultiInputActorCriticPolicy):
    """SB3's actor-critic policy; where actions jump to proposals, the scores of the proposals are their logits."""

    features_extractor: GroundingExtractor

    def _build_mlp_extractor(self) -> None:
        scores = self.features_extractor.num_scores
        self.features_dim -= scores
        super()._build_mlp_extractor()
        self.features_dim += scores
        if scores:
            self.mlp_extractor = ScorePassing(self.mlp_extractor, scores)  # type: ignore[assignment]

    def _build(self, lr_schedule: Any) -> None:
        super()._build(lr_schedule)
        scores = self.features_extractor.num_scores
        if scores and isinstance(self.action_space, spaces.MultiDiscrete) and self.action_space.nvec[-1] == scores + 2:
            latent = self.mlp_extractor.latent_dim_pi - scores
            self.action_net = JumpHead(latent, int(self.action_space.nvec.sum()), scores)
            if self.ortho_init:
                self.action_net.apply(partial(self.init_weights, gain=0.01))
            self.optimizer = self.optimizer_class(self.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs)  # type: ignore[call-arg]


@torch.no_grad()
def lower_trigger_bias(policy: Any, actions: ActionSet) -> None:
    """Make an untrained actor-critic policy pull the trigger rarely, so that it first learns to move.

    With even odds the first episodes end after two steps, and "stop at once" is what is learned.

    Args:
        policy: an SB3 actor-critic policy.
        actions: the action set it acts with.
    """
    continuous = isinstance(actions.space, spaces.Box)
    trigger = -2 if actions.jumps else -1  # behind it is what all jumps have in common
    policy.action_net.bias[trigger] -= TRIGGER_SHIFT if continuous else TRIGGER_BIAS


def _pixels(shape: Any, width: int) -> nn.Module:
    """The convolutions of the Nature DQN (Mnih et al., 2015), pooled so that any image size fits."""
    return nn.Sequential(
        nn.Conv2d(shape[0], 32, 8, stride=4),
        nn.ReLU(),
        nn.Conv2d(32, 64, 4, stride=2),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(4),
        nn.Flatten(),
        nn.Linear(64 * 16, width),
        nn.ReLU(),
    )
