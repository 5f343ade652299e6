"""Stages of Dynamic MDETR: each samples a few points around the last box and predicts a new box.

The two published variants (:mod:`.dynamic_mdetr`, :mod:`.dynamic_mdetr_clip`) share all of this module except the names
of two parameters.
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
    """Number of stages; each predicts a box."""
    points: int = 36
    """Number of points that a stage samples."""
    stage_layers: int = 1
    """Number of encoder layers and of decoder layers of a stage."""
    stage_encoder_layers: int | None = None
    """Number of encoder layers of a stage; null: ``stage_layers``."""
    stage_decoder_layers: int | None = None
    """Number of decoder layers of a stage; null: ``stage_layers``."""
    uniform_grid: bool = False
    """Place the points of the first stage on a uniform grid instead of learning them."""
    shared_stages: bool = False
    """Use one transformer for all stages."""


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
        """Return updated text tokens (N, L, D).

        Args:
            x: text tokens, (N, L, D).
            positions: positions of the text tokens, (N, L, D).
            mask: padding of the text tokens, bool (N, L).
            memory: features of the sampled points, (N, P, D).
            keys: ``memory`` with positions, (N, P, D).
        """
        q = plus(x, positions)
        x = self.attend(self.self_attn, self.norm1, x, q, q, x, mask)
        x = self.attend(self.multihead_attn, self.norm2, x, plus(x, positions), keys, memory)
        return self.feed_forward(self.norm3, x)


class StageDecoder(nn.Module):
    """Stack of :class:`DecoderLayer` with a final norm."""

    def __init__(self, sizes: LayerSizes, layers: int):
        super().__init__()
        self.layers = nn.ModuleList(DecoderLayer(sizes) for _ in range(layers))
        self.norm = nn.LayerNorm(sizes.dim)

    def forward(
        self, x: torch.Tensor, positions: torch.Tensor, mask: torch.Tensor, memory: torch.Tensor, keys: torch.Tensor
    ) -> torch.Tensor:
        """Return updated text tokens (N, L, D).

        Args:
            x: text tokens, (N, L, D).
            positions: positions of the text tokens, (N, L, D).
            mask: padding of the text tokens, bool (N, L).
            memory: features of the sampled points, (N, P, D).
            keys: ``memory`` with positions, (N, P, D).
        """
        for layer in self.layers:
            x = layer(x, positions, mask, memory, keys)
        return self.norm(x)


class Stage(nn.Module):
    """Encoder over sampled points, and decoder whose queries are the text tokens."""

    def __init__(self, sizes: LayerSizes, encoder_layers: int, decoder_layers: int):
        super().__init__()
        self.encoder = Encoder(sizes, encoder_layers)
        self.decoder = StageDecoder(sizes, decoder_layers)

    def forward(
        self, text_tokens: torch.Tensor, text_positions: torch.Tensor, text_mask: torch.Tensor, points: torch.Tensor,
        point_positions: torch.Tensor,
    ) -> torch.Tensor:  # fmt: skip
        """Return text tokens (N, L, D) after attention to points.

        Args:
            text_tokens: text tokens, (N, L, D).
            text_positions: positions of the text tokens, (N, L, D).
            text_mask: padding of the text tokens, bool (N, L).
            points: features of the sampled points, (N, P, D).
            point_positions: positions of the sampled points, (N, P, D).
        """
        memory = self.encoder(points, None, point_positions)
        return self.decoder(text_tokens, text_positions, text_mask, memory, plus(memory, point_positions))


class SamplingStages:
    """Mixin for networks with stages; a subclass has the parts below and maps the names of two of them."""

    options: Any
    bbox_embed: MLP
    offset_generators: nn.ModuleList
    init_reference_point: nn.Embedding
    initial_sampled_points: torch.Tensor
    vl_transformer: nn.Module

    @property
    @abstractmethod
    def initial_query(self) -> nn.Embedding:
        """Query of the first stage, from which its points are computed."""

    @property
    @abstractmethod
    def query_updates(self) -> nn.ModuleList:
        """Networks that compute the query of the next stage."""

    def run_stages(self, joint: torch.Tensor, positions: torch.Tensor, text_mask: torch.Tensor) -> list[torch.Tensor]:
        """Return the boxes (N, 4) after every stage.

        Args:
            joint: tokens of image and text, (N, V + L, D).
            positions: positions of the tokens, (N, V + L, D).
            text_mask: padding of the text tokens, bool (N, L).
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
        """Return the points that a stage samples, (N, P, 2) in units of the map."""
        if self.options.uniform_grid and stage == 0:
            return self.initial_sampled_points.expand(len(query), -1, -1)
        return self.offset_generators[stage](query).unflatten(1, (-1, 2)) + reference[:, None]

    def _stage(self, number: int) -> Stage:
        stages: Any = self.vl_transformer
        return stages if self.options.shared_stages else stages[number]


def offset_generators(dim: int, o: StageOptions) -> nn.ModuleList:
    """Build the layers that compute offsets of points from a query, one for each stage."""
    return nn.ModuleList(nn.Linear(dim, 2 * o.points) for _ in range(o.stages))


def query_updates(dim: int, o: StageOptions) -> nn.ModuleList:
    """Build the networks from pooled text and the last query to the next query, one for each stage."""
    return nn.ModuleList(MLP([2 * dim, dim, dim]) for _ in range(o.stages))


def center_point() -> nn.Embedding:
    """Return the centre of the map as an untrained embedding."""
    point = nn.Embedding(1, 2)
    nn.init.constant_(point.weight, 0.5)
    return point.requires_grad_(False)


def uniform_points(count: int) -> torch.Tensor:
    """Return a square grid of points (1, count, 2) in [0, 1]."""
    side = round(count**0.5)
    middle = (torch.arange(side) + 0.5) / side
    return torch.cartesian_prod(middle, middle)[None]


def stage_transformers(sizes: LayerSizes, o: StageOptions) -> nn.Module:
    """Build one :class:`Stage` for all stages, or one for each."""
    depths = (o.stage_encoder_layers or o.stage_layers, o.stage_decoder_layers or o.stage_layers)
    if o.shared_stages:
        return Stage(sizes, *depths)
    return nn.ModuleList(Stage(sizes, *depths) for _ in range(o.stages))


def sample_points(maps: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Sample features (N, P, D) of square maps, in row-major tokens (N, V, D), at points (x, y) in [0, 1], (N, P, 2).

    Sampling is bilinear; points outside have the feature of the border.

    >>> maps = torch.arange(16.0).view(1, 16, 1)  # the cell in row r and column c holds 4 r + c
    >>> sample_points(maps, torch.tensor([[[0.125, 0.125], [0.875, 0.125]]])).flatten().tolist()
    [0.0, 3.0]
    """
    side = round(maps.shape[1] ** 0.5)
    grid = maps.transpose(1, 2).unflatten(2, (side, side))
    features = F.grid_sample(grid, (2 * points - 1)[:, None], padding_mode="border", align_corners=False)
    return features[:, :, 0].transpose(1, 2)
