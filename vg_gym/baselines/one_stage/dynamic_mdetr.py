"""Dynamic MDETR (Shi et al., TPAMI 2023): look at a few sampled points, guess a box, look again around it.

Parameter names are those of the published checkpoints.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from vg_gym.baselines.one_stage.transformer import MLP, Encoder, EncoderOnly, plus
from vg_gym.baselines.one_stage.transvg import TransVGOptions, TwoBranches
from vg_gym.learned.batch import Batch


@dataclass
class DynamicMDETROptions(TransVGOptions):
    """Sizes; the defaults are those of the published ResNet-50 model for RefCOCOg."""

    backbone: str = "resnet50"
    joint_layers: int = 3
    """Of the encoder that sees picture and words, before the stages."""
    stages: int = 3
    points: int = 36
    """Sampled points a stage."""
    stage_layers: int = 1
    """Encoder layers, and decoder layers, of a stage."""
    uniform_grid: bool = False
    """First points on a uniform grid, not learned ones."""
    shared_stages: bool = False
    """One decoder for all stages."""
    stage_loss: bool = False
    """Supervise the box of every stage; published: of the last alone."""


class DecoderLayer(nn.Module):
    """DETR's post-norm decoder layer, with its parameter names."""

    def __init__(self, dim: int, heads: int, feedforward: int, dropout: float):
        super().__init__()
        self.self_attn = nn.MultiheadAttention(dim, heads, dropout=dropout, batch_first=True)
        self.multihead_attn = nn.MultiheadAttention(dim, heads, dropout=dropout, batch_first=True)
        self.linear1, self.linear2 = nn.Linear(dim, feedforward), nn.Linear(feedforward, dim)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(dim) for _ in range(3))
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: torch.Tensor, places: torch.Tensor, padding: torch.Tensor, memory: torch.Tensor, at: torch.Tensor
    ) -> torch.Tensor:
        """Words (N, L, D) with positions and padding; memory (N, P, D) with positions ``at``."""
        q = plus(x, places)
        x = self.norm1(x + self.dropout(self.self_attn(q, q, x, key_padding_mask=padding, need_weights=False)[0]))
        seen = self.multihead_attn(plus(x, places), plus(memory, at), memory, need_weights=False)[0]
        x = self.norm2(x + self.dropout(seen))
        return self.norm3(x + self.dropout(self.linear2(self.dropout(F.relu(self.linear1(x))))))


class Stage(nn.Module):
    """Encoder over sampled points, decoder whose queries are the words."""

    def __init__(self, o: Any):
        super().__init__()
        self.encoder = Encoder(o.dim, o.heads, o.feedforward, o.stage_layers, o.dropout)
        self.decoder = nn.Module()
        self.decoder.layers = nn.ModuleList(
            DecoderLayer(o.dim, o.heads, o.feedforward, o.dropout) for _ in range(o.stage_layers)
        )
        self.decoder.norm = nn.LayerNorm(o.dim)

    def forward(
        self, words: torch.Tensor, places: torch.Tensor, padding: torch.Tensor, points: torch.Tensor, at: torch.Tensor
    ) -> torch.Tensor:
        """Words (N, L, D) after looking at points (N, P, D)."""
        memory = self.encoder(points, None, at)
        for layer in self.decoder.layers:  # type: ignore[union-attr]
            words = layer(words, places, padding, memory, at)
        return self.decoder.norm(words)  # type: ignore[operator]


def sample_points(maps: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Features (N, P, D) of square maps, given as row-major tokens (N, V, D), at points (N, P, 2) in [0, 1], (x, y).

    Bilinear; points outside take the border's feature.
    """
    side = round(maps.shape[1] ** 0.5)
    grid = maps.transpose(1, 2).unflatten(2, (side, side))
    found = F.grid_sample(grid, (2 * points - 1)[:, None], padding_mode="border", align_corners=False)
    return found[:, :, 0].transpose(1, 2)


class DynamicMDETR(TwoBranches):
    """Dynamic MDETR over a ResNet and BERT."""

    Options = DynamicMDETROptions
    common = {**TwoBranches.common, "vl_encoder.encoder.": "joint"}

    def __init__(self, options: DynamicMDETROptions):
        super().__init__(options)
        o = options
        self.vl_pos_embed = nn.Embedding(self.visual_tokens + o.max_tokens, o.dim)
        self.vl_encoder = EncoderOnly(Encoder(o.dim, o.heads, o.feedforward, o.joint_layers, o.dropout))
        add_stages(self, o)
        if o.point_loss:
            self.point_embed = nn.Linear(o.dim, 1)

    def picture_rows(self) -> slice:
        """The rows of ``vl_pos_embed`` that belong to the picture's tokens."""
        return slice(0, self.visual_tokens)

    def forward(self, batch: Batch) -> torch.Tensor:
        """Boxes (N, 4) of the last stage, centre and size normalised by the canvas."""
        return self.boxes(batch)[0][-1]

    def boxes(self, batch: Batch) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """The boxes that are supervised and the point logits of the joint encoder's layers."""
        seen, unseen, words = self.branches(batch)
        unread = batch.tokens.padding
        places = self.vl_pos_embed.weight.expand(len(words), -1, -1)
        joint = self.vl_encoder.encoder.layerwise(torch.cat([seen, words], 1), torch.cat([unseen, unread], 1), places)
        pointed = [self.point_embed(x[:, : seen.shape[1]])[..., 0] for x in joint] if self.options.point_loss else []
        boxes = run_stages(self, joint[-1], places, unread)
        return boxes if self.options.stage_loss else boxes[-1:], pointed


def add_stages(model: Any, o: Any, update: str = "update_sampling_queries", first: str = "init_sampling_feature"):
    """Give a network the parameters of the stages; the published variants name two of them differently."""
    model.offset_generators = nn.ModuleList(nn.Linear(o.dim, 2 * o.points) for _ in range(o.stages))
    setattr(model, update, nn.ModuleList(MLP([2 * o.dim, o.dim, o.dim]) for _ in range(o.stages)))
    model.init_reference_point = nn.Embedding(1, 2)
    nn.init.constant_(model.init_reference_point.weight, 0.5)
    model.init_reference_point.weight.requires_grad_(False)
    setattr(model, first, nn.Embedding(1, o.dim))
    if o.uniform_grid:
        side = round(o.points**0.5)
        middle = (torch.arange(side) + 0.5) / side
        model.register_buffer("initial_sampled_points", torch.cartesian_prod(middle, middle)[None])
    model.vl_transformer = Stage(o) if o.shared_stages else nn.ModuleList(Stage(o) for _ in range(o.stages))
    model.stage_names = (update, first)


def run_stages(model: Any, joint: torch.Tensor, places: torch.Tensor, padding: torch.Tensor) -> list[torch.Tensor]:
    """Boxes (N, 4) after every stage.

    Args:
        model: a network with the parameters of :func:`add_stages`.
        joint: (N, V + L, D) tokens of picture and words.
        places: (N, V + L, D) their positions.
        padding: (N, L) bool, of the words.
    """
    update, first = (getattr(model, name) for name in model.stage_names)
    count = joint.shape[1] - padding.shape[1]
    maps, words = joint[:, :count], joint[:, count:]
    query, reference = (e.weight.expand(len(joint), -1) for e in (first, model.init_reference_point))
    boxes = []
    for i in range(model.options.stages):
        if model.options.uniform_grid and i == 0:
            points = model.initial_sampled_points.expand(len(joint), -1, -1)
        else:
            points = model.offset_generators[i](query).unflatten(1, (-1, 2)) + reference[:, None]
        looked, at = sample_points(maps, points), sample_points(places[:, :count], points)
        stage = model.vl_transformer if model.options.shared_stages else model.vl_transformer[i]
        words = stage(words, places[:, count:], padding, looked, at)
        read = (~padding).to(words.dtype)[..., None]
        pooled = (words * read).sum(1) / read.sum(1)
        boxes.append(model.bbox_embed(pooled).sigmoid())
        query, reference = update[i](torch.cat([pooled, query], dim=1)), boxes[-1][:, :2]
    return boxes
