"""What the agent's network looks like: one small encoder per part of the observation, then SB3's usual heads."""

from __future__ import annotations

from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import nn

from vg_gym.envs.actions import ActionSet
from vg_gym.envs.observations import GLIMPSE


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
        width: units per encoder.
    """

    def __init__(self, observation_space: spaces.Dict, width: int = 192):
        super().__init__(observation_space, features_dim=1)
        shapes = {name: space.shape for name, space in observation_space.spaces.items()}
        self.encoders = nn.ModuleDict()
        for name, shape in shapes.items():
            self.encoders.update(self._encoder(name, shape, shapes, width))
        self._features_dim = sum(width for _ in self.encoders)

    @staticmethod
    def _encoder(name: str, shape: Any, shapes: dict[str, Any], width: int) -> dict[str, nn.Module]:
        if name == "glimpses":
            return {name: GlimpseNet(shape[0] // GLIMPSE**2, GLIMPSE, width)}
        if name == "glimpse_features":
            dim = shapes["text"][0]
            return {name: TextAttention(shape[0] // dim, dim, width)}
        if name == "tokens":
            return {}  # read by the attention, where there is one
        if len(shape) == 3:  # uint8 images become float in [0, 1], channel first, in SB3's preprocessing
            return {name: _pixels(shape, width)}
        return {name: nn.Sequential(nn.Linear(shape[0], width), nn.ReLU())}

    def forward(self, observations: dict[str, torch.Tensor]) -> torch.Tensor:
        """A Dict of (B, ...) tensors to (B, features_dim)."""
        parts = []
        for name, encoder in self.encoders.items():
            if name == "glimpse_features":
                parts.append(encoder(observations[name], observations["tokens"]))
            else:
                parts.append(encoder(observations[name]))
        return torch.cat(parts, dim=1)


@torch.no_grad()
def discourage_trigger(policy: Any, actions: ActionSet, logit: float = 3.0) -> None:
    """Make an untrained actor-critic policy pull the trigger rarely, so that it first learns to move.

    With even odds the first episodes end after two steps, and "stop at once" is what is learned.
    """
    bias = policy.action_net.bias
    if isinstance(actions.space, spaces.Box):
        bias[-1] -= 0.5
    else:
        bias[-1] -= logit


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
