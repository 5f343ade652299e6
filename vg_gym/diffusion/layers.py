"""Layers of the denoisers: attention, FiLM, sinusoidal embeddings.

The transformer layers normalise first. Keys and values of a memory are computed once and reused in every step of a
sampler; torch's own layers do not accept them.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

KeysValues = tuple[torch.Tensor, torch.Tensor]
"""Keys and values, each (N, heads, S, D / heads)."""


class Attention(nn.Module):
    """Multi-head attention.

    Args:
        dim: width D.
        heads: number of heads.
    """

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.heads = heads
        self.query, self.key_value, self.out = nn.Linear(dim, dim), nn.Linear(dim, 2 * dim), nn.Linear(dim, dim)

    def keys_values(self, memory: torch.Tensor) -> KeysValues:
        """Return keys and values of tokens (N, S, D)."""
        key, value = self.key_value(memory).chunk(2, dim=-1)
        return self._split(key), self._split(value)

    def forward(self, x: torch.Tensor, memory: KeysValues, attention_mask: torch.Tensor | None = None) -> torch.Tensor:
        """Let tokens (N, Q, D) attend to a memory; ``attention_mask`` is bool (N, S), True at tokens."""
        mask = None if attention_mask is None else attention_mask[:, None, None, :]
        attended = F.scaled_dot_product_attention(self._split(self.query(x)), *memory, attn_mask=mask)
        return self.out(attended.transpose(1, 2).flatten(2))

    def _split(self, x: torch.Tensor) -> torch.Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class FeedForward(nn.Sequential):
    """Two linear layers with GELU between them: ``dim`` to ``hidden`` to ``dim``."""

    def __init__(self, dim: int, hidden: int):
        super().__init__(nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, dim))


class EncoderLayer(nn.Module):
    """Self-attention and a feed-forward network of ``hidden`` units on tokens of width ``dim``."""

    def __init__(self, dim: int, heads: int, hidden: int):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention, self.feedforward = Attention(dim, heads), FeedForward(dim, hidden)

    def forward(self, x: torch.Tensor, attention_mask: torch.Tensor | None = None) -> torch.Tensor:
        """Transform tokens (N, S, D); they attend to the tokens marked in ``attention_mask`` (N, S)."""
        normed = self.norm1(x)
        x = x + self.attention(normed, self.attention.keys_values(normed), attention_mask)
        return x + self.feedforward(self.norm2(x))


class FiLM(nn.Module):
    """Feature-wise modulation (Perez et al., AAAI 2018): x * (1 + scale) + shift.

    Scale and shift are linear in a condition. At the start of training the layer is the identity.
    """

    def __init__(self, condition: int, dim: int):
        super().__init__()
        self.linear = nn.Linear(condition, 2 * dim)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """Modulate ``x`` (N, P, D) by ``condition`` (N, C)."""
        scale, shift = self.linear(condition)[:, None].chunk(2, dim=-1)
        return x * (1 + scale) + shift


def sinusoidal_embedding(x: torch.Tensor, count: int, top: float) -> torch.Tensor:
    """Return sines and cosines (..., 2 * count) of numbers (...) in [0, 1].

    The frequencies go from pi to ``top`` * pi.

    >>> sinusoidal_embedding(torch.tensor([0.0, 1.0]), 2, 4.0).round().abs().tolist()
    [[0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 1.0]]
    """
    powers = torch.linspace(0, 1, count, device=x.device, dtype=x.dtype)
    angles = x[..., None] * math.pi * top**powers
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


class TimeEmbedding(nn.Module):
    """Embedding of a time in [0, 1) in ``dim`` numbers: sinusoids, then two linear layers."""

    FREQUENCIES = 32

    def __init__(self, dim: int):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(2 * self.FREQUENCIES, dim), nn.SiLU(), nn.Linear(dim, dim), nn.SiLU())

    def forward(self, time: torch.Tensor) -> torch.Tensor:
        """Embed times (N,) to (N, dim)."""
        return self.mlp(sinusoidal_embedding(time, self.FREQUENCIES, 1000.0))


class BoxEmbedding(nn.Module):
    """Embedding of four numbers in ``dim`` numbers: sinusoids of each, then a linear layer."""

    FREQUENCIES = 8

    def __init__(self, dim: int):
        super().__init__()
        self.linear = nn.Linear(4 * 2 * self.FREQUENCIES, dim)

    def forward(self, boxes: torch.Tensor) -> torch.Tensor:
        """Embed numbers (..., 4) in [0, 1] to (..., dim)."""
        return self.linear(sinusoidal_embedding(boxes, self.FREQUENCIES, 64.0).flatten(-2))


def grid_embedding(height: int, width: int, dim: int, like: torch.Tensor) -> torch.Tensor:
    """Return embeddings (height * width, dim) of the cells of a map, row by row.

    Args:
        height: number of rows.
        width: number of columns.
        dim: width of an embedding; zeros pad it to a multiple of 4.
        like: tensor whose device and precision the result gets.
    """
    y, x = (((torch.arange(n, device=like.device) + 0.5) / n).to(like.dtype) for n in (height, width))
    embedding = sinusoidal_embedding(torch.cartesian_prod(y, x), dim // 4, float(max(height, width))).flatten(1)
    return F.pad(embedding, (0, dim - embedding.shape[1]))
