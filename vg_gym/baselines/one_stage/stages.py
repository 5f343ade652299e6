"""Stages of Dynamic MDETR: each samples a few points around the last box and predicts a new box.

The two published variants (:mod:`.dynamic_mdetr`, :mod:`.dynamic_mdetr_clip`) share all of this module except the names
of two parameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from vg_gym.baselines.one_stage.transformer import MLP, Decoder, Encoder, LayerSizes, plus


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


class Stage(nn.Module):
    """Encoder over sampled points, and decoder whose queries are the text tokens."""

    def __init__(self, sizes: LayerSizes, encoder_layers: int, decoder_layers: int):
        super().__init__()
        self.encoder = Encoder(sizes, encoder_layers)
        self.decoder = Decoder(sizes, decoder_layers)

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
        return self.decoder(text_tokens, text_positions, text_mask, memory, plus(memory, point_positions))[-1]


class SamplingStages(nn.Module):
    """Mixin for networks with stages, whose parts have their published names."""

    QUERY: ClassVar[str]
    """Word for the query in the names of its parameters."""
    options: Any
    bbox_embed: MLP
    initial_sampled_points: torch.Tensor

    def add_stages(self, sizes: LayerSizes) -> None:
        """Add the parts of all stages, whose layers have the given sizes."""
        o, dim = self.options, sizes.dim
        self.offset_generators = nn.ModuleList(nn.Linear(dim, 2 * o.points) for _ in range(o.stages))
        updates = nn.ModuleList(MLP([2 * dim, dim, dim]) for _ in range(o.stages))
        self.add_module(f"update_{self.QUERY}_queries", updates)
        self.init_reference_point = nn.Embedding(1, 2).requires_grad_(False)
        nn.init.constant_(self.init_reference_point.weight, 0.5)
        self.add_module(f"init_{self.QUERY}_feature", nn.Embedding(1, dim))
        if o.uniform_grid:
            self.register_buffer("initial_sampled_points", uniform_points(o.points))
        depths = (o.stage_encoder_layers or o.stage_layers, o.stage_decoder_layers or o.stage_layers)
        shared = Stage(sizes, *depths) if o.shared_stages else None
        self.vl_transformer = shared or nn.ModuleList(Stage(sizes, *depths) for _ in range(o.stages))

    def run_stages(self, joint: torch.Tensor, positions: torch.Tensor, text_mask: torch.Tensor) -> list[torch.Tensor]:
        """Return the boxes (N, 4) after every stage.

        Args:
            joint: tokens of image and text, (N, V + L, D).
            positions: positions of the tokens, (N, V + L, D).
            text_mask: padding of the text tokens, bool (N, L).
        """
        initial_query: Any = getattr(self, f"init_{self.QUERY}_feature")
        updates: Any = getattr(self, f"update_{self.QUERY}_queries")
        stages: Any = self.vl_transformer
        count = joint.shape[1] - text_mask.shape[1]
        image_tokens, text_tokens = joint[:, :count], joint[:, count:]
        present = (~text_mask).to(text_tokens.dtype)[..., None]
        query, reference = (e.weight.expand(len(joint), -1) for e in (initial_query, self.init_reference_point))
        boxes = []
        for i, update in enumerate(updates):
            points = self._points(i, query, reference)
            features, at = sample_points(image_tokens, points), sample_points(positions[:, :count], points)
            stage = stages if self.options.shared_stages else stages[i]
            text_tokens = stage(text_tokens, positions[:, count:], text_mask, features, at)
            pooled = (text_tokens * present).sum(1) / present.sum(1)
            boxes.append(self.bbox_embed(pooled).sigmoid())
            query, reference = update(torch.cat([pooled, query], dim=1)), boxes[-1][:, :2]
        return boxes

    def _points(self, stage: int, query: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
        """Return the points that a stage samples, (N, P, 2) in units of the map."""
        if self.options.uniform_grid and stage == 0:
            return self.initial_sampled_points.expand(len(query), -1, -1)
        return self.offset_generators[stage](query).unflatten(1, (-1, 2)) + reference[:, None]


def uniform_points(count: int) -> torch.Tensor:
    """Return a square grid of points (1, count, 2) in [0, 1]."""
    side = round(count**0.5)
    middle = (torch.arange(side) + 0.5) / side
    return torch.cartesian_prod(middle, middle)[None]


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
