"""The stages of Dynamic MDETR: sample a few points, guess a box, sample again around it.

The two published variants (:mod:`.dynamic_mdetr`, :mod:`.dynamic_mdetr_clip`) share everything here but the names of
two parameters.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from vg_gym.baselines.one_stage.transformer import MLP, Encoder, LayerSizes, PostNormLayer, plus


@dataclass
class StageOptions:
    """Sizes of the stages."""

    stages: int = 3
    """Guesses of the box, one after the other."""
    points: int = 36
    """Sampled points a stage."""
    stage_layers: int = 1
    """Encoder layers, and decoder layers, of a stage."""
    stage_encoder_layers: int | None = None
    """Encoder layers of a stage; null: ``stage_layers``."""
    stage_decoder_layers: int | None = None
    """Decoder layers of a stage; null: ``stage_layers``."""
    uniform_grid: bool = False
    """First points on a uniform grid, not learned ones."""
    shared_stages: bool = False
    """One transformer for all stages."""


class DecoderLayer(PostNormLayer):
    """DETR's post-norm decoder layer, with its parameter names."""

    def __init__(self, sizes: LayerSizes):
        super().__init__()
        self.self_attn, self.multihead_attn = sizes.attention(), sizes.attention()
        self.linear1, self.linear2 = sizes.linears()
        self.norm1, self.norm2, self.norm3 = sizes.norms(3)
        self.dropout = nn.Dropout(sizes.dropout)

    def forward(
        self, x: torch.Tensor, positions: torch.Tensor, mask: torch.Tensor, memory: torch.Tensor, keys: torch.Tensor
    ) -> torch.Tensor:
        """Text tokens to text tokens (N, L, D).

        Args:
            x: (N, L, D).
            positions: (N, L, D), theirs.
            mask: (N, L) bool, their padding.
            memory: (N, P, D), of the sampled points.
            keys: (N, P, D), the same with positions.
        """
        q = plus(x, positions)
        x = self.attend(self.self_attn, self.norm1, x, q, q, x, mask)
        x = self.attend(self.multihead_attn, self.norm2, x, plus(x, positions), keys, memory)
        return self.feed_forward(self.norm3, x)


class StageDecoder(nn.Module):
    """A stack of :class:`DecoderLayer` with a final norm."""

    def __init__(self, sizes: LayerSizes, layers: int):
        super().__init__()
        self.layers = nn.ModuleList(DecoderLayer(sizes) for _ in range(layers))
        self.norm = nn.LayerNorm(sizes.dim)

    def forward(
        self, x: torch.Tensor, positions: torch.Tensor, mask: torch.Tensor, memory: torch.Tensor, keys: torch.Tensor
    ) -> torch.Tensor:
        """Text tokens to text tokens (N, L, D).

        Args:
            x: (N, L, D).
            positions: (N, L, D), theirs.
            mask: (N, L) bool, their padding.
            memory: (N, P, D), of the sampled points.
            keys: (N, P, D), the same with positions.
        """
        for layer in self.layers:
            x = layer(x, positions, mask, memory, keys)
        return self.norm(x)


class Stage(nn.Module):
    """An encoder over sampled points, and a decoder whose queries are the text tokens."""

    def __init__(self, sizes: LayerSizes, encoder_layers: int, decoder_layers: int):
        super().__init__()
        self.encoder = Encoder(sizes, encoder_layers)
        self.decoder = StageDecoder(sizes, decoder_layers)

    def forward(
        self, text_tokens: torch.Tensor, text_positions: torch.Tensor, text_mask: torch.Tensor, points: torch.Tensor,
        point_positions: torch.Tensor,
    ) -> torch.Tensor:  # fmt: skip
        """Text tokens (N, L, D) that have attended to points.

        Args:
            text_tokens: (N, L, D).
            text_positions: (N, L, D).
            text_mask: (N, L) bool, padding.
            points: (N, P, D), features of the sampled points.
            point_positions: (N, P, D).
        """
        memory = self.encoder(points, None, point_positions)
        return self.decoder(text_tokens, text_positions, text_mask, memory, plus(memory, point_positions))


class SamplingStages:
    """A mixin for networks with stages: a subclass has the parts below, under these names but for two of them."""

    options: Any
    bbox_embed: MLP
    offset_generators: nn.ModuleList
    init_reference_point: nn.Embedding
    initial_sampled_points: torch.Tensor
    vl_transformer: nn.Module

    @property
    @abstractmethod
    def initial_query(self) -> nn.Embedding:
        """The first stage's query: its points are made of it."""

    @property
    @abstractmethod
    def query_updates(self) -> nn.ModuleList:
        """What makes the next stage's query."""

    def run_stages(self, joint: torch.Tensor, positions: torch.Tensor, text_mask: torch.Tensor) -> list[torch.Tensor]:
        """Boxes (N, 4) after every stage.

        Args:
            joint: (N, V + L, D), tokens of image and text.
            positions: (N, V + L, D).
            text_mask: (N, L) bool, padding.
        """
        count = joint.shape[1] - text_mask.shape[1]
        image_tokens, text_tokens = joint[:, :count], joint[:, count:]
        present = (~text_mask).to(text_tokens.dtype)[..., None]
        query, reference = (e.weight.expand(len(joint), -1) for e in (self.initial_query, self.init_reference_point))
        boxes = []
        for i, update in enumerate(self.query_updates):
            points = self._points(i, query, reference)
            features, at = sample_points(image_tokens, points), sample_points(positions[:, :count], points)
            text_tokens = self._stage(i)(text_tokens, positions[:, count:], text_mask, features, at)
            pooled = (text_tokens * present).sum(1) / present.sum(1)
            boxes.append(self.bbox_embed(pooled).sigmoid())
            query, reference = update(torch.cat([pooled, query], dim=1)), boxes[-1][:, :2]
        return boxes

    def _points(self, stage: int, query: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
        """The points that a stage samples, (N, P, 2) in units of the map."""
        if self.options.uniform_grid and stage == 0:
            return self.initial_sampled_points.expand(len(query), -1, -1)
        return self.offset_generators[stage](query).unflatten(1, (-1, 2)) + reference[:, None]

    def _stage(self, number: int) -> Stage:
        stages: Any = self.vl_transformer
        return stages if self.options.shared_stages else stages[number]


def offset_generators(dim: int, o: StageOptions) -> nn.ModuleList:
    """Per stage, what makes offsets of points from a query."""
    return nn.ModuleList(nn.Linear(dim, 2 * o.points) for _ in range(o.stages))


def query_updates(dim: int, o: StageOptions) -> nn.ModuleList:
    """Per stage, what makes the next query from pooled text and the last query."""
    return nn.ModuleList(MLP([2 * dim, dim, dim]) for _ in range(o.stages))


def center_point() -> nn.Embedding:
    """The middle of the map, which is not trained."""
    point = nn.Embedding(1, 2)
    nn.init.constant_(point.weight, 0.5)
    return point.requires_grad_(False)


def uniform_points(count: int) -> torch.Tensor:
    """A square grid of points (1, count, 2) in [0, 1]."""
    side = round(count**0.5)
    middle = (torch.arange(side) + 0.5) / side
    return torch.cartesian_prod(middle, middle)[None]


def stage_transformers(sizes: LayerSizes, o: StageOptions) -> nn.Module:
    """One :class:`Stage` for all stages, or one for each."""
    depths = (o.stage_encoder_layers or o.stage_layers, o.stage_decoder_layers or o.stage_layers)
    if o.shared_stages:
        return Stage(sizes, *depths)
    return nn.ModuleList(Stage(sizes, *depths) for _ in range(o.stages))


def sample_points(maps: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Features (N, P, D) of square maps, given as row-major tokens (N, V, D), at points (N, P, 2) in [0, 1], (x, y).

    Bilinear; points outside take the border's feature.

    >>> maps = torch.arange(16.0).view(1, 16, 1)  # the cell in row r and column c holds 4 r + c
    >>> sample_points(maps, torch.tensor([[[0.125, 0.125], [0.875, 0.125]]])).flatten().tolist()
    [0.0, 3.0]
    """
    side = round(maps.shape[1] ** 0.5)
    grid = maps.transpose(1, 2).unflatten(2, (side, side))
    found = F.grid_sample(grid, (2 * points - 1)[:, None], padding_mode="border", align_corners=False)
    return found[:, :, 0].transpose(1, 2)
