"""Encoder of the RoI denoiser over image and expression, which runs once for a query."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from vg_gym.diffusion.layers import EncoderLayer, grid_embedding
from vg_gym.diffusion.options import BoxDiffusionOptions
from vg_gym.learned.frozen_clip import SimilarityMaps, TextFeatures


@dataclass(frozen=True)
class FusedFeatures:
    """Features of images, conditioned on their expressions."""

    map: torch.Tensor
    """Map of which the features under boxes are taken, (N, C, H, W)."""
    memory: torch.Tensor
    """Tokens that boxes attend to, (N, S, D)."""
    attention_mask: torch.Tensor
    """True at tokens, bool (N, S)."""
    summary: torch.Tensor
    """Summary of the whole query, (N, D)."""


class Stem(nn.Sequential):
    """Convolutions from pixels (B, 3, S, S) to edges (B, C, S / 2, S / 2), which CLIP's patches lose."""

    def __init__(self, channels: int):
        super().__init__(
            nn.Conv2d(3, channels, 3, stride=2, padding=1),
            nn.GELU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.GELU(),
        )


class Trunk(nn.Module):
    """Encoder over CLIP's grid and the expression's tokens, with a finer map for features under boxes.

    Args:
        o: sizes of the network.
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
        self.matching = nn.ModuleList(SimilarityMaps(features, o.maps) for _ in range(3))
        self.matched = nn.Conv2d(3 * o.maps, o.dim, pool, stride=pool)
        self.shown = nn.Conv2d(3 * o.maps, o.channels, 1)
        self.mix = nn.Conv2d(o.channels, o.channels, 3, padding=1, groups=o.channels)

    def encode_image(
        self, pixels: torch.Tensor, dense: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return tokens (B, h * w, D), a fine map (B, C, H, W) and ``dense``.

        Args:
            pixels: normalised pixels, (B, 3, S, S).
            dense: CLIP's features (B, F, g, g).
        """
        cells = F.gelu(self.enter(self.enter_norm(dense.permute(0, 2, 3, 1)))).permute(0, 3, 1, 2)
        parts = [cells]
        if self.stem is not None:
            edges = self.stem(pixels)
            parts = [_resize(cells, edges.shape[-2:]), edges]
        tokens = self.reduce(cells).flatten(2).transpose(1, 2)
        places = grid_embedding(*self.side, tokens.shape[-1], tokens)
        return tokens + places, self.fine(torch.cat(parts, dim=1)), dense

    def forward(
        self, images: tuple[torch.Tensor, ...], image_of: torch.Tensor, texts: TextFeatures, dropped: torch.Tensor
    ) -> FusedFeatures:
        """Encode N expressions with their images.

        Args:
            images: output of :meth:`encode_image`.
            image_of: row of the image of each expression, (N,).
            texts: features of N expressions.
            dropped: expressions that are withheld, bool (N,).
        """
        image_tokens, fine, dense = (part[image_of] for part in images[:3])
        text_tokens, text_mask = self._text_tokens(texts, dropped)
        similarity = self._similarity(dense, texts, dropped)
        image_tokens = image_tokens + self.matched(similarity).flatten(2).transpose(1, 2)
        summary = self.summary.expand(len(text_tokens), 1, -1)
        tokens = torch.cat([summary, image_tokens, text_tokens], dim=1)
        count = 1 + image_tokens.shape[1]
        mask = torch.cat([torch.ones_like(text_mask[:, :1]).expand(-1, count), text_mask], dim=1)
        for layer in self.layers:
            tokens = layer(tokens, mask)
        tokens = self.norm(tokens)
        fused = self.fused(tokens[:, 1:count]).transpose(1, 2).unflatten(2, self.side)
        fine = fine + _resize(self.shown(similarity), fine.shape[-2:]) + _resize(fused, fine.shape[-2:])
        return FusedFeatures(F.gelu(self.mix(fine)), tokens, mask, tokens[:, 0])

    def _similarity(self, dense: torch.Tensor, texts: TextFeatures, dropped: torch.Tensor) -> torch.Tensor:
        """Return similarity maps (N, M, g, g) of the expression, its head and its anchor.

        CLIP recognises "the blue heart" but does not know which place "left of the blue heart" is.
        """
        parts = (part.masked_fill(dropped[:, None], 0.0) for part in (texts.expression, texts.head, texts.anchor))
        return torch.cat([similar(dense, part) for similar, part in zip(self.matching, parts, strict=True)], dim=1)

    def _text_tokens(self, texts: TextFeatures, dropped: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return tokens (N, L, D) of the expressions and their attention mask; a withheld expression has one token."""
        tokens = torch.where(dropped[:, None, None], self.nothing, self.word(self.word_norm(texts.tokens)))
        first = torch.arange(tokens.shape[1], device=tokens.device) == 0
        return tokens, torch.where(dropped[:, None], first, texts.attention_mask)


def _resize(x: torch.Tensor, size: torch.Size) -> torch.Tensor:
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)
