"""Network of the agent: a small encoder for each part of the observation, then SB3's usual heads."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.policies import MultiInputActorCriticPolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, MlpExtractor
from torch import nn

from vg_gym.agents.proposal_attention import EMPTY_SCORE, ProposalAttention
from vg_gym.envs.action_set import ActionSet
from vg_gym.envs.answers import WORDS
from vg_gym.envs.rewards import SUCCESS_IOU
from vg_gym.features.glimpses import GLIMPSE
from vg_gym.features.query_proposals import WIDTH

TRIGGER_BIAS = 3.0
"""Amount subtracted before training from the logits of the trigger and of the answers, if there are any."""
BEST_SCORES = 4
"""Number of the highest scores of proposals that the hidden layers see with ``targets="any"``."""
SCORE_SCALE = 4.0
"""Scale of these scores, which are logits."""
TRIGGER_SHIFT = 0.5
"""Amount subtracted from the mean of a continuous trigger, which is pulled if positive."""


class GlimpseNet(nn.Module):
    """Encoder of glimpses (B, C * G * G), whose windows move with the box, with two convolutions."""

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
        """Map glimpses (B, C * G * G) to (B, width)."""
        return self.net(x)


class TextAttention(nn.Module):
    """Attention in which each text token attends to all cells of all windows of features.

    It is scaled dot-product attention with learned keys and values (Vaswani et al., 2017). Cells have learned position
    embeddings, so that the policy knows where a feature lies relative to the box.

    Args:
        cells: number of cells in all windows together.
        dim: width of the features of cells and tokens, D.
        width: width of the output.
        heads: number of attention heads.
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
        """Map cells (B, cells * D) and tokens (B, L * D), zero beyond the end of the text, to (B, width)."""
        cells = self.cell(features.unflatten(1, (-1, self.dim))) + self.position
        tokens = tokens.unflatten(1, (-1, self.dim))
        present = tokens.abs().sum(-1, keepdim=True) > 0
        read, _ = self.attention(self.token(tokens), cells, cells, need_weights=False)
        return self.out((read * present).sum(1) / present.sum(1).clamp(min=1))


class GroundingExtractor(BaseFeaturesExtractor):
    """Features of an observation of :class:`vg_gym.envs.GroundingEnv`, for SB3's ``MultiInputPolicy``.

    Args:
        observation_space: Dict space of the environment; its parts determine the encoders.
        width: number of units of the encoder of glimpses; embeddings have half as many.
    """

    STATE = ("box", "history", "score", "step")
    """Names of the short vectors, which one encoder takes together."""

    def __init__(self, observation_space: spaces.Dict, width: int = 192):
        super().__init__(observation_space, features_dim=1)
        shapes = {name: space.shape or () for name, space in observation_space.spaces.items()}
        half = width // 2
        self.glimpses = GlimpseNet(shapes["glimpses"][0] // GLIMPSE**2, GLIMPSE, width)
        self.state_parts = (*self.STATE, "view") if "view" in shapes else self.STATE
        """Names of the short vectors of this observation; ``view`` is one with ``zoom``."""
        self.state = nn.Sequential(nn.Linear(sum(shapes[name][0] for name in self.state_parts), half), nn.ReLU())
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
            several = "answer" in shapes
            count, dim = shapes["proposals"][0] // (WIDTH + several), shapes["text"][0]
            words = shapes["words"][0] // dim if "words" in shapes else 0
            self.proposals = ProposalAttention(count, dim, may_be_none=several, words=words)
            sizes.append(self.proposals.size)
        if "answer" in shapes:
            sizes.append(WORDS + (BEST_SCORES if self.proposals else 0))
        self.edges: nn.Module | None = None
        if "edge_profiles" in shapes:
            self.edges = _two_layers(shapes["edge_profiles"][0] + shapes["box"][0], width)
            sizes.append(width)
        images = [name for name, shape in shapes.items() if len(shape) == 3]
        # The name of this attribute is part of saved agents, and therefore stays "pictures".
        self.pictures = nn.ModuleDict({name: _pixels(shapes[name], width) for name in images})
        self.num_scores = self.proposals.count if self.proposals else 0
        """Number of scores of proposals, which are the last features."""
        self._features_dim = sum(sizes) + width * len(images) + self.num_scores

    def forward(self, observations: dict[str, torch.Tensor]) -> torch.Tensor:
        """Map a Dict of (B, ...) tensors to features (B, features_dim)."""
        parts = [
            self.glimpses(observations["glimpses"]),
            self.state(torch.cat([observations[name] for name in self.state_parts], dim=1)),
            *(encoder(observations[name]) for name, encoder in self.embeddings.items()),
        ]
        if self.attention is not None:
            parts.append(self.attention(observations["glimpse_features"], observations["tokens"]))
        if self.edges is not None:
            parts.append(self.edges(torch.cat([observations["edge_profiles"], observations["box"]], dim=1)))
        parts += [encoder(observations[name]) for name, encoder in self.pictures.items()]
        if "answer" in observations:
            parts.append(observations["answer"][:, :WORDS])
        if self.proposals is not None:
            read, scores = self.proposals(observations)
            if "answer" in observations:
                recorded = observations["answer"][:, WORDS:] >= SUCCESS_IOU
                scores = scores.masked_fill(recorded, EMPTY_SCORE)
                parts.append((scores.topk(BEST_SCORES).values / SCORE_SCALE).tanh())
            parts += [read, scores]
        return torch.cat(parts, dim=1)


def _two_layers(size: int, width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(size, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())


class ScorePassing(nn.Module):
    """SB3's hidden layers, with a direct path to the actions for the scores of the proposals, the last features.

    Args:
        hidden: SB3's extractor for the features before the scores.
        num_scores: number of scores, K.
    """

    def __init__(self, hidden: Any, num_scores: int):
        super().__init__()
        self.hidden, self.num_scores = hidden, num_scores
        self.latent_dim_pi, self.latent_dim_vf = hidden.latent_dim_pi + num_scores, hidden.latent_dim_vf

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Map features (B, F) to the inputs of the action and value heads."""
        return self.forward_actor(features), self.forward_critic(features)

    def forward_actor(self, features: torch.Tensor) -> torch.Tensor:
        """Return the hidden units of the actor, then the scores."""
        count = self.num_scores
        return torch.cat([self.hidden.forward_actor(features[:, :-count]), features[:, -count:]], dim=1)

    def forward_critic(self, features: torch.Tensor) -> torch.Tensor:
        """Return the hidden units of the critic."""
        return self.hidden.forward_critic(features[:, : -self.num_scores])


class JumpHead(nn.Module):
    """Logits of the actions if some of them jump to proposals: the logit of a jump is the proposal's score plus a bias.

    The choices after the jumps are "look closer", with ``zoom``, and "this one, and on" and "nothing more", if there
    are answers.

    All jumps share the bias, because with separate weights the network could memorise which row to jump to in an image.

    Args:
        latent: number of hidden units, without the scores that follow them.
        logits: number of logits of all actions.
        num_scores: number of scores, K.
        after: number of logits after those of the jumps.
    """

    def __init__(self, latent: int, logits: int, num_scores: int, after: int = 0):
        super().__init__()
        self.num_scores, self.after = num_scores, after
        self.linear = nn.Linear(latent, logits - num_scores + 1)

    @property
    def bias(self) -> torch.Tensor:
        """Biases of the logits before the jumps, the bias that all jumps share, and those after the jumps."""
        return self.linear.bias

    def forward(self, latent: torch.Tensor) -> torch.Tensor:
        """Map hidden units and scores (B, latent + K) to logits (B, logits)."""
        logits = self.linear(latent[:, : -self.num_scores])
        before, shared, after = logits.split([logits.shape[1] - 1 - self.after, 1, self.after], dim=1)
        return torch.cat([before, shared + latent[:, -self.num_scores :], after], dim=1)


class GroundingPolicy(MultiInputActorCriticPolicy):
    """SB3's actor-critic policy; if actions jump to proposals, the scores of the proposals are their logits."""

    features_extractor: GroundingExtractor

    def _build_mlp_extractor(self) -> None:
        scores = self.features_extractor.num_scores
        size = self.features_dim - scores
        hidden = MlpExtractor(size, net_arch=self.net_arch, activation_fn=self.activation_fn, device=self.device)
        self.mlp_extractor = ScorePassing(hidden, scores) if scores else hidden  # type: ignore[assignment]

    def _build(self, lr_schedule: Any) -> None:
        super()._build(lr_schedule)
        scores = self.features_extractor.num_scores
        parts = self.observation_space.spaces  # type: ignore[attr-defined]
        after = ("view" in parts) + (2 if "answer" in parts else 0)
        space = self.action_space
        if scores and isinstance(space, spaces.MultiDiscrete) and space.nvec[-1] == 2 + scores + after:
            latent = self.mlp_extractor.latent_dim_pi - scores
            self.action_net = JumpHead(latent, int(space.nvec.sum()), scores, after)
            if self.ortho_init:
                self.action_net.apply(partial(self.init_weights, gain=0.01))
            self.optimizer = self.optimizer_class(self.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs)  # type: ignore[call-arg]


@torch.no_grad()
def lower_trigger_bias(policy: Any, actions: ActionSet) -> None:
    """Make an untrained actor-critic policy end episodes and record boxes rarely, so that it first learns to move.

    With even odds, episodes end after two steps on average, and the policy learns to stop at once.

    Args:
        policy: an SB3 actor-critic policy.
        actions: action set of the policy.
    """
    continuous = isinstance(actions.space, spaces.Box)
    answers = 0 if actions.record is None else 2
    after = answers + (actions.look is not None)
    trigger = -1 - after - (actions.jumps > 0)  # the bias that all jumps share follows that of the trigger
    policy.action_net.bias[trigger] -= TRIGGER_SHIFT if continuous else TRIGGER_BIAS
    if answers:
        policy.action_net.bias[-answers:] -= TRIGGER_BIAS


def _pixels(shape: Any, width: int) -> nn.Module:
    """Build the convolutions of the Nature DQN (Mnih et al., 2015), pooled so that any image size fits."""
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
