"""Post-norm transformer layers of DETR (Carion et al., ECCV 2020), with its parameter names and the batch first.

Positions are added to queries and keys, never to values. Masks are True at padding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from vg_gym.errors import VGGymError


@dataclass(frozen=True)
class LayerSizes:
    """Sizes of a transformer layer.

    Raises:
        VGGymError: the width is not divisible by the number of heads.
    """

    dim: int
    """Width of the tokens."""
    heads: int
    """Number of attention heads."""
    feedforward: int
    """Width of the hidden layer."""
    dropout: float = 0.1
    """Dropout probability."""

    def __post_init__(self) -> None:
        if self.dim % self.heads:
            raise VGGymError(f"a width of {self.dim} cannot be split into {self.heads} heads; give another number")

    def attention(self) -> nn.MultiheadAttention:
        """Build an attention of these sizes."""
        return nn.MultiheadAttention(self.dim, self.heads, dropout=self.dropout, batch_first=True)

    def linears(self) -> tuple[nn.Linear, nn.Linear]:
        """Build the linear layers to the hidden layer and back."""
        return nn.Linear(self.dim, self.feedforward), nn.Linear(self.feedforward, self.dim)

    def norms(self, count: int) -> list[nn.LayerNorm]:
        """Build ``count`` norms."""
        return [nn.LayerNorm(self.dim) for _ in range(count)]


def plus(x: torch.Tensor, positions: torch.Tensor | None) -> torch.Tensor:
    """Add positions to tokens; ``positions`` may be None."""
    return x if positions is None else x + positions


class PostNormLayer(nn.Module):
    """Residual steps of attention and feed-forward; a subclass names its attentions and norms as published."""

    linear1: nn.Linear
    linear2: nn.Linear
    dropout: nn.Dropout

    def attend(
        self, attention: nn.MultiheadAttention, norm: nn.LayerNorm, x: torch.Tensor, query: torch.Tensor,
        key: torch.Tensor, value: torch.Tensor, padding_mask: torch.Tensor | None = None,
    ) -> torch.Tensor:  # fmt: skip
        """Add the attended values to tokens ``x`` and normalise, (B, S, D).

        Args:
            attention: attention of the layer.
            norm: norm of the layer.
            x: tokens, (B, S, D).
            query: ``x`` with positions, (B, S, D).
            key: ``value`` with positions, (B, M, D).
            value: tokens of the memory, (B, M, D).
            padding_mask: padding of the memory, bool (B, M).
        """
        attended, _ = attention(query, key, value, key_padding_mask=padding_mask, need_weights=False)
        return norm(x + self.dropout(attended))

    def feed_forward(self, norm: nn.LayerNorm, x: torch.Tensor) -> torch.Tensor:
        """Add the output of the feed-forward network to tokens (B, S, D) and normalise."""
        return norm(x + self.dropout(self.linear2(self.dropout(F.relu(self.linear1(x))))))


class EncoderLayer(PostNormLayer):
    """Layer of self-attention and a feed-forward network."""

    def __init__(self, sizes: LayerSizes):
        super().__init__()
        self.self_attn = sizes.attention()
        self.linear1, self.linear2 = sizes.linears()
        self.norm1, self.norm2 = sizes.norms(2)
        self.dropout = nn.Dropout(sizes.dropout)

    def forward(
        self, x: torch.Tensor, padding_mask: torch.Tensor | None = None, positions: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return updated tokens (B, S, D) from tokens and positions (B, S, D) and a padding mask, bool (B, S)."""
        q = plus(x, positions)
        x = self.attend(self.self_attn, self.norm1, x, q, q, x, padding_mask)
        return self.feed_forward(self.norm2, x)


class DecoderLayer(PostNormLayer):
    """Layer of self-attention, attention to a memory and a feed-forward network."""

    CROSS_ATTENTION: ClassVar[str] = "multihead_attn"
    NORMS: ClassVar[tuple[str, str, str]] = ("norm1", "norm2", "norm3")

    def __init__(self, sizes: LayerSizes):
        super().__init__()
        self.self_attn = sizes.attention()
        self.add_module(self.CROSS_ATTENTION, sizes.attention())
        self.linear1, self.linear2 = sizes.linears()
        for name, norm in zip(self.NORMS, sizes.norms(3), strict=True):
            self.add_module(name, norm)
        self.dropout = nn.Dropout(sizes.dropout)

    def forward(
        self, x: torch.Tensor, positions: torch.Tensor, mask: torch.Tensor | None, memory: torch.Tensor,
        keys: torch.Tensor, memory_mask: torch.Tensor | None = None,
    ) -> torch.Tensor:  # fmt: skip
        """Return updated tokens (N, L, D).

        Args:
            x: tokens, (N, L, D).
            positions: positions of the tokens, (N, L, D).
            mask: padding of the tokens, bool (N, L), or None.
            memory: tokens to attend to, (N, S, D).
            keys: ``memory`` with positions, (N, S, D).
            memory_mask: padding of ``memory``, bool (N, S), or None.
        """
        norms, cross_attention = [getattr(self, name) for name in self.NORMS], getattr(self, self.CROSS_ATTENTION)
        q = plus(x, positions)
        x = self.attend(self.self_attn, norms[0], x, q, q, x, mask)
        x = self.attend(cross_attention, norms[1], x, plus(x, positions), keys, memory, memory_mask)
        return self.feed_forward(norms[2], x)


class Decoder(nn.Module):
    """Stack of decoder layers with one norm, which is applied to the output of every layer."""

    def __init__(self, sizes: LayerSizes, layers: int, layer: type[DecoderLayer] = DecoderLayer):
        super().__init__()
        self.layers = nn.ModuleList(layer(sizes) for _ in range(layers))
        self.norm = nn.LayerNorm(sizes.dim)

    def forward(
        self, x: torch.Tensor, positions: torch.Tensor, mask: torch.Tensor | None, memory: torch.Tensor,
        keys: torch.Tensor, memory_mask: torch.Tensor | None = None,
    ) -> list[torch.Tensor]:  # fmt: skip
        """Return the tokens (N, L, D) after every layer.

        Args:
            x: tokens, (N, L, D).
            positions: positions of the tokens, (N, L, D).
            mask: padding of the tokens, bool (N, L), or None.
            memory: tokens to attend to, (N, S, D).
            keys: ``memory`` with positions, (N, S, D).
            memory_mask: padding of ``memory``, bool (N, S), or None.
        """
        outputs = []
        for layer in self.layers:
            x = layer(x, positions, mask, memory, keys, memory_mask)
            outputs.append(self.norm(x))
        return outputs


class Encoder(nn.Module):
    """Stack of :class:`EncoderLayer`."""

    def __init__(self, sizes: LayerSizes, layers: int):
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(sizes) for _ in range(layers))

    def forward(
        self, x: torch.Tensor, padding_mask: torch.Tensor | None = None, positions: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return the output of the last layer; arguments as in :meth:`EncoderLayer.forward`."""
        return (self.layerwise(x, padding_mask, positions) or [x])[-1]

    def layerwise(
        self, x: torch.Tensor, padding_mask: torch.Tensor | None = None, positions: torch.Tensor | None = None
    ) -> list[torch.Tensor]:
        """Return the output of every layer."""
        outputs = []
        for layer in self.layers:
            x = layer(x, padding_mask, positions)
            outputs.append(x)
        return outputs


class EncoderOnly(nn.Module):
    """Transformer that consists of an :class:`Encoder` under the published parameter prefix ``encoder``."""

    def __init__(self, encoder: Encoder):
        super().__init__()
        self.encoder = encoder


class MLP(nn.Module):
    """Sequence of linear layers with ReLU between them."""

    def __init__(self, widths: list[int]):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(widths, widths[1:], strict=False))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map features (..., widths[0]) to (..., widths[-1])."""
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return self.layers[-1](x)


def sine_positions(padding_mask: torch.Tensor, dim: int, temperature: float = 10_000.0) -> torch.Tensor:
    """Return DETR's normalised sine code (B, dim, h, w) of a map with a padding mask (B, h, w), rows before columns."""
    inside = (~padding_mask).float()
    y, x = inside.cumsum(1), inside.cumsum(2)
    y = y / (y[:, -1:, :] + 1e-6) * 2 * math.pi
    x = x / (x[:, :, -1:] + 1e-6) * 2 * math.pi
    half = dim // 2
    step = torch.arange(half, device=padding_mask.device, dtype=torch.float32)
    wave = temperature ** (2 * torch.div(step, 2, rounding_mode="floor") / half)

    def code(along: torch.Tensor) -> torch.Tensor:
        angle = along[..., None] / wave
        return torch.stack([angle[..., 0::2].sin(), angle[..., 1::2].cos()], dim=-1).flatten(3)

    return torch.cat([code(y), code(x)], dim=-1).permute(0, 3, 1, 2)


def map_tokens(maps: torch.Tensor) -> torch.Tensor:
    """Convert a map (B, D, h, w) to tokens (B, h * w, D) in row order."""
    return maps.flatten(2).transpose(1, 2)


def resize_mask(mask: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Resize a mask (B, H, W) of an image to the size (h, w) of its feature map, by nearest neighbours."""
    return F.interpolate(mask[:, None].float(), size=size, mode="nearest")[:, 0].bool()
