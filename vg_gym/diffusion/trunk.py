"""The part of the RoI denoiser that runs once a query: picture and expression read together."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from vg_gym.diffusion.layers import EncoderLayer, plane_code
from vg_gym.diffusion.options import BoxDiffusionOptions
from vg_gym.learned.frozen_clip import Words
from vg_gym.learned.similarity_maps import Matching


@dataclass(frozen=True)
class Scene:
    """Pictures as their expressions make them look.

    ``map`` (N, C, H, W), to take features under boxes from; ``memory`` (N, S, D), tokens to attend to, and ``seen``
    (N, S) bool, those that are there; ``summary`` (N, D).
    """

    map: torch.Tensor
    memory: torch.Tensor
    seen: torch.Tensor
    summary: torch.Tensor


class Stem(nn.Sequential):
    """Pixels (B, 3, S, S) to edges (B, C, S / 2, S / 2): CLIP's patches know what there is, less well where it ends."""

    def __init__(self, channels: int):
        super().__init__(
            nn.Conv2d(3, channels, 3, stride=2, padding=1),
            nn.GELU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.GELU(),
        )


class Trunk(nn.Module):
    """CLIP's grid and the expression's tokens in one encoder, and a finer map for features under boxes.

    Args:
        o: sizes.
        features: width of CLIP's features.
        grid: cells a side of CLIP's dense features.
    """

    def __init__(self, o: BoxDiffusionOptions, features: int, grid: int):
        super().__init__()
        pool = max(1, round(grid / o.grid))
        self.side = (grid // pool, grid // pool)
        self.enter_norm, self.enter = nn.LayerNorm(features), nn.Linear(features, o.dim)
        self.reduce = nn.Conv2d(o.dim, o.dim, pool, stride=pool)
        self.word_norm, self.word = nn.LayerNorm(features), nn.Linear(features, o.dim)
        self.nothing = nn.Parameter(0.02 * torch.randn(o.dim))
        self.summary = nn.Parameter(0.02 * torch.randn(o.dim))
        self.layers = nn.ModuleList(EncoderLayer(o.dim, o.heads, o.feedforward) for _ in range(o.layers))
        self.norm = nn.LayerNorm(o.dim)
        self.stem = Stem(o.stem) if o.stem else None
        self.fine = nn.Conv2d(o.dim + o.stem, o.channels, 1)
        self.fused = nn.Linear(o.dim, o.channels)
        self.matching = nn.ModuleList(Matching(features, o.maps) for _ in range(3))
        self.matched = nn.Conv2d(3 * o.maps, o.dim, pool, stride=pool)
        self.shown = nn.Conv2d(3 * o.maps, o.channels, 1)
        self.mix = nn.Conv2d(o.channels, o.channels, 3, padding=1, groups=o.channels)

    def see(self, pixels: torch.Tensor, dense: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Tokens (B, h * w, D), a fine map (B, C, H, W) and ``dense``.

        Args:
            pixels: (B, 3, S, S), normalised.
            dense: CLIP's features (B, F, g, g).
        """
        cells = F.gelu(self.enter(self.enter_norm(dense.permute(0, 2, 3, 1)))).permute(0, 3, 1, 2)
        parts = [cells]
        if self.stem is not None:
            edges = self.stem(pixels)
            parts = [_resize(cells, edges.shape[-2:]), edges]
        tokens = self.reduce(cells).flatten(2).transpose(1, 2)
        code = plane_code(*self.side, tokens.shape[-1], tokens)
        return tokens + code, self.fine(torch.cat(parts, dim=1)), dense

    def forward(
        self, pictures: tuple[torch.Tensor, ...], image_of: torch.Tensor, words: Words, dropped: torch.Tensor
    ) -> Scene:
        """Read N expressions with their pictures (of :meth:`see`); those ``dropped`` (N,) are withheld."""
        cells, fine, dense = (part[image_of] for part in pictures[:3])
        texts, there = self._texts(words, dropped)
        match = self._match(dense, words, dropped)
        cells = cells + self.matched(match).flatten(2).transpose(1, 2)
        head = self.summary.expand(len(texts), 1, -1)
        tokens = torch.cat([head, cells, texts], dim=1)
        count = 1 + cells.shape[1]
        seen = torch.cat([torch.ones_like(there[:, :1]).expand(-1, count), there], dim=1)
        for layer in self.layers:
            tokens = layer(tokens, seen)
        tokens = self.norm(tokens)
        read = self.fused(tokens[:, 1:count]).transpose(1, 2).unflatten(2, self.side)
        fine = fine + _resize(self.shown(match), fine.shape[-2:]) + _resize(read, fine.shape[-2:])
        return Scene(F.gelu(self.mix(fine)), tokens, seen, tokens[:, 0])

    def _match(self, dense: torch.Tensor, words: Words, dropped: torch.Tensor) -> torch.Tensor:
        """Maps (N, M, g, g) of how CLIP's features fit the expression, its head and its anchor.

        CLIP knows what "the blue heart" looks like, but not where "left of the blue heart" is.
        """
        texts = (part.masked_fill(dropped[:, None], 0.0) for part in (words.whole, words.head, words.anchor))
        return torch.cat([match(dense, text) for match, text in zip(self.matching, texts, strict=True)], dim=1)

    def _texts(self, words: Words, dropped: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Tokens (N, L, D) of the expressions, one token for nothing where they are withheld, and which are there."""
        texts = torch.where(dropped[:, None, None], self.nothing, self.word(self.word_norm(words.tokens)))
        first = torch.arange(texts.shape[1], device=texts.device) == 0
        return texts, torch.where(dropped[:, None], first, words.seen)


def _resize(x: torch.Tensor, size: torch.Size) -> torch.Tensor:
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)
