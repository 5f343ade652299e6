"""TransVG (Deng et al., ICCV 2021), which predicts the box from a token that attends to image and text together.

Parameter names are those of the published checkpoints.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from vg_gym.baselines.one_stage import text_branch
from vg_gym.baselines.one_stage.backbone import FROZEN, backbone
from vg_gym.baselines.one_stage.box_regression import BoxRegressor, Regression
from vg_gym.baselines.one_stage.branches import BranchedModel, BranchOptions
from vg_gym.baselines.one_stage.frozen_features import FrozenText
from vg_gym.baselines.one_stage.transformer import (
    MLP,
    Encoder,
    EncoderOnly,
    LayerSizes,
    map_tokens,
    resize_mask,
    sine_positions,
)
from vg_gym.learned.batch import Batch, Canvas


@dataclass
class TransVGOptions(BranchOptions):
    """Options of TransVG; the defaults are those of the published ResNet-101 model for RefCOCOg."""

    stride: int = 32
    """Stride of the backbone; the table of positions has ``(image_size / stride) ** 2`` rows for the image."""
    visual_layers: int = 6
    """Number of layers of the encoder over the image alone."""
    joint_layers: int = 6
    """Number of layers of the encoder over image and text."""
    vl_dim: int | None = None
    """Width of the joint tokens of image and text; null: ``dim``."""
    vl_heads: int | None = None
    """Number of attention heads in layers of width ``vl_dim``; null: ``heads``."""
    vl_feedforward: int | None = None
    """Width of the hidden layer in layers of width ``vl_dim``; null: ``feedforward``."""
    text: dict[str, Any] = field(default_factory=lambda: dict(text_branch.PUBLISHED_CONFIGS["bert-base-uncased"]))
    """Entries of transformers' BertConfig that differ from BERT-base."""
    text_layer: int = 12
    """Number of the BERT layer whose features are used, from 1."""
    text_weights: str | None = "bert-base-uncased"
    """Initial weights of the text encoder in training: a name on the hub, a folder, or null."""

    @property
    def visual_sizes(self) -> LayerSizes:
        """Sizes of the layers over the image alone."""
        return LayerSizes(self.dim, self.heads, self.feedforward, self.dropout)

    @property
    def vl_sizes(self) -> LayerSizes:
        """Sizes of the layers over image and text."""
        heads, feedforward = self.vl_heads or self.heads, self.vl_feedforward or self.feedforward
        return LayerSizes(self.vl_dim or self.dim, heads, feedforward, self.dropout)


@dataclass
class REDOptions(TransVGOptions):
    """Options of TransVG with RED."""

    red: int = 64
    """Number of entries of RED's dictionary."""


class VisualBranch(nn.Module):
    """Backbone and DETR encoder over the image alone."""

    def __init__(self, o: TransVGOptions):
        super().__init__()
        self.backbone = backbone(o.backbone, o.clip)
        self.transformer = EncoderOnly(Encoder(o.visual_sizes, o.visual_layers))
        self.input_proj = nn.Conv2d(self.backbone[0].channels, o.dim, 1)  # type: ignore[arg-type]

    def forward(self, features: torch.Tensor, padding_mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return tokens (B, h * w, D) and padding masks (B, h * w) of maps (B, C, h, w) and padding masks (B, H, W)."""
        maps = self.input_proj(features)
        mask = resize_mask(padding_mask, maps.shape[-2:])
        positions = map_tokens(sine_positions(mask, maps.shape[1]))
        return self.transformer.encoder(map_tokens(maps), mask.flatten(1), positions), mask.flatten(1)


class TwoBranches(BranchedModel, BoxRegressor):
    """Shared base of TransVG and Dynamic MDETR: two branches, a square canvas, a table of positions, one box."""

    pretrained_prefixes = ("visumodel", "textmodel")
    shared_parts = {
        "visumodel.backbone.": "backbone",
        "visumodel.input_proj.": "image projection",
        "visumodel.transformer.encoder.": "visual encoder",
        "textmodel.bert.": "text encoder",
        "text_proj.": "text projection",
        "fit.": "similarity",
        "point_embed.": "point head",
    }
    pads_to_max_tokens = True
    BACKBONE, TEXT_ENCODER = "visumodel.backbone", "textmodel.bert"
    PROJECTIONS = ("visumodel.input_proj", "text_proj")
    vl_pos_embed: nn.Embedding

    def __init__(self, options: TransVGOptions):
        super().__init__(options)
        o, dim = options, options.vl_sizes.dim
        self.canvas = Canvas(o.canvas, o.image_size)
        self.visumodel = VisualBranch(o)
        clip = o.tokenizer == "clip"
        bert = FrozenText(o.clip) if clip else text_branch.text_encoder("bert", o.text)
        self.textmodel = text_branch.TextBranch(bert, 0 if clip else o.text_layer)
        self.visu_proj = nn.Linear(o.dim, dim)
        self.text_proj = nn.Linear(self.textmodel.bert.config.hidden_size, dim)
        self.bbox_embed = MLP([dim, dim, dim, 4])
        self.add_frozen_parts(dim)

    @property
    def image_token_count(self) -> int:
        """Number of tokens of an image."""
        return (self.options.image_size // self.options.stride) ** 2

    @property
    def image_rows(self) -> slice:
        """Rows of ``vl_pos_embed`` that belong to image tokens."""
        return slice(1 + self.options.max_tokens, None)

    def init_weights(self) -> None:
        """Start branches pretrained or in CLIP's joint space, and the image's positions as DETR's sine code.

        Published networks start with random positions, but have far more steps to learn which cells are neighbours.
        """
        super().init_weights()
        o = self.options
        if o.backbone == FROZEN and not o.visual_layers and self.visu_proj.in_features == self.visu_proj.out_features:
            nn.init.eye_(self.visu_proj.weight)
            nn.init.zeros_(self.visu_proj.bias)
            self.visu_proj.requires_grad_(False)  # redundant directly after the projection of the branch
        side = o.image_size // o.stride
        code = map_tokens(sine_positions(torch.zeros(1, side, side, dtype=torch.bool), o.vl_sizes.dim))[0]
        with torch.no_grad():
            self.vl_pos_embed.weight.normal_(std=0.02)
            self.vl_pos_embed.weight[self.image_rows] = code

    def branches(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return image tokens (N, V, D), their padding mask (N, V) and text tokens (N, L, D) of every expression."""
        features = self.image_features(batch)
        text_features = self.textmodel(batch.tokens.ids, batch.tokens.padding_mask)
        image_tokens, mask = self.visumodel(features, batch.padding_mask)
        image_tokens, text_tokens = (
            self.visu_proj(image_tokens)[batch.image_of],
            self.text_proj(self.text_input(text_features)),
        )
        image_tokens, text_tokens = self.condition(image_tokens, text_tokens, features, batch, text_features)
        return image_tokens, mask[batch.image_of], text_tokens


class TransVG(TwoBranches):
    """TransVG, with one encoder over the tokens of [REG], text and image; [REG] becomes the box."""

    Options = TransVGOptions
    shared_parts = {**TwoBranches.shared_parts, "vl_transformer.encoder.": "joint encoder"}

    def __init__(self, options: TransVGOptions):
        super().__init__(options)
        o, dim = options, options.vl_sizes.dim
        self.vl_pos_embed = nn.Embedding(1 + o.max_tokens + self.image_token_count, dim)
        self.reg_token = nn.Embedding(1, dim)
        self.vl_transformer = EncoderOnly(Encoder(o.vl_sizes, o.joint_layers))
        if o.point_loss:
            self.point_embed = nn.Linear(dim, 1)

    def regress(self, batch: Batch) -> Regression:
        """Return the box, and the point logits of every layer."""
        image_tokens, image_mask, text_tokens = self.branches(batch)
        text_mask = batch.tokens.padding_mask
        reg = self.reg_token.weight.expand(len(text_tokens), 1, -1)
        mask = torch.cat([torch.zeros_like(text_mask[:, :1]), text_mask, image_mask], dim=1)
        positions = self.vl_pos_embed.weight.expand(len(text_tokens), -1, -1)
        tokens = torch.cat([reg, text_tokens, image_tokens], dim=1)
        layers = self.vl_transformer.encoder.layerwise(tokens, mask, positions)
        box = self.bbox_embed(layers[-1][:, 0]).sigmoid()
        point_logits = self.point_logits([x[:, -image_tokens.shape[1] :] for x in layers])
        return Regression([box], point_logits, layers[-1], mask)


class RED(TransVG):
    """TransVG with RED; the other networks of this room add RED by their option ``red``."""

    Options = REDOptions
