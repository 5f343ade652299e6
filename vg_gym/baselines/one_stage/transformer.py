"""The post-norm transformer layers of DETR (Carion et al., ECCV 2020), with its parameter names; batch first.

Positions are added to queries and keys, never to values.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812


def plus(x: torch.Tensor, positions: torch.Tensor | None) -> torch.Tensor:
    """Tokens with their positions, where there are any."""
    return x if positions is None else x + positions


class EncoderLayer(nn.Module):
    """Self-attention and a feed-forward network.

    Args:
        dim: width.
        heads: of the attention.
        feedforward: width of the hidden layer.
        dropout: probability.
    """

    def __init__(self, dim: int, heads: int, feedforward: int, dropout: float = 0.1):
        super().__init__()
        self.self_attn = nn.MultiheadAttention(dim, heads, dropout=dropout, batch_first=True)
        self.linear1, self.linear2 = nn.Linear(dim, feedforward), nn.Linear(feedforward, dim)
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: torch.Tensor, padding: torch.Tensor | None = None, positions: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Tokens (B, S, D), padding (B, S) bool, positions (B, S, D) to tokens (B, S, D)."""
        q = plus(x, positions)
        x = self.norm1(x + self.dropout(self.self_attn(q, q, x, key_padding_mask=padding, need_weights=False)[0]))
        return self.norm2(x + self.dropout(self.linear2(self.dropout(F.relu(self.linear1(x))))))


class Encoder(nn.Module):
    """A stack of :class:`EncoderLayer`."""

    def __init__(self, dim: int, heads: int, feedforward: int, layers: int, dropout: float = 0.1):
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(dim, heads, feedforward, dropout) for _ in range(layers))

    def forward(
        self, x: torch.Tensor, padding: torch.Tensor | None = None, positions: torch.Tensor | None = None
    ) -> torch.Tensor:
        """As :meth:`EncoderLayer.forward`, layer by layer."""
        return (self.layerwise(x, padding, positions) or [x])[-1]

    def layerwise(
        self, x: torch.Tensor, padding: torch.Tensor | None = None, positions: torch.Tensor | None = None
    ) -> list[torch.Tensor]:
        """What comes out of every layer."""
        found = []
        for layer in self.layers:
            x = layer(x, padding, positions)
            found.append(x)
        return found


class EncoderOnly(nn.Module):
    """A transformer that is nothing but an :class:`Encoder`, which published checkpoints call ``encoder``."""

    def __init__(self, encoder: Encoder):
        super().__init__()
        self.encoder = encoder


class MLP(nn.Module):
    """Linear layers with ReLU between them."""

    def __init__(self, widths: list[int]):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(widths, widths[1:], strict=False))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., widths[0]) to (..., widths[-1])."""
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return self.layers[-1](x)


def sine_positions(padding: torch.Tensor, dim: int, temperature: float = 10_000.0) -> torch.Tensor:
    """DETR's normalised sine code (B, dim, h, w) of a map whose padding is given (B, h, w): rows, then columns."""
    inside = (~padding).float()
    y, x = inside.cumsum(1), inside.cumsum(2)
    y = y / (y[:, -1:, :] + 1e-6) * 2 * math.pi
    x = x / (x[:, :, -1:] + 1e-6) * 2 * math.pi
    half = dim // 2
    step = torch.arange(half, device=padding.device, dtype=torch.float32)
    wave = temperature ** (2 * torch.div(step, 2, rounding_mode="floor") / half)

    def code(along: torch.Tensor) -> torch.Tensor:
        angle = along[..., None] / wave
        return torch.stack([angle[..., 0::2].sin(), angle[..., 1::2].cos()], dim=-1).flatten(3)

    return torch.cat([code(y), code(x)], dim=-1).permute(0, 3, 1, 2)


def shrink_padding(padding: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Padding (B, H, W) of a picture at the size (h, w) of its feature map, nearest neighbour."""
    return F.interpolate(padding[:, None].float(), size=size, mode="nearest")[:, 0].bool()
