"""TransVG (Deng et al., ICCV 2021): a token that reads picture and words together becomes the box.

Parameter names are those of the published checkpoints.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torchvision.ops import generalized_box_iou

from vg_gym.baselines.one_stage import text as text_branch
from vg_gym.baselines.one_stage.auxiliary_loss import point_loss
from vg_gym.baselines.one_stage.backbone import FROZEN, backbone
from vg_gym.baselines.one_stage.frozen_features import Fit, FrozenText, start_in_one_space
from vg_gym.baselines.one_stage.pretrained import start_branches
from vg_gym.baselines.one_stage.red import Deconfounder
from vg_gym.baselines.one_stage.transformer import MLP, Encoder, EncoderOnly, shrink_padding, sine_positions
from vg_gym.boxes import from_cxcywh, to_cxcywh
from vg_gym.clip import load_clip
from vg_gym.learned.batch import Batch, Canvas
from vg_gym.learned.model import GroundingModel


@dataclass
class TransVGOptions:
    """Sizes; the defaults are those of the published ResNet-101 model for RefCOCOg."""

    backbone: str = "resnet101"
    """``resnet50``, ``resnet101``, or ``frozen`` (stride 16)."""
    image_size: int = 640
    """Side of the square canvas in pixels."""
    stride: int = 32
    """Of the backbone; the table of positions has ``(image_size / stride) ** 2`` rows for the picture."""
    dim: int = 256
    heads: int = 8
    feedforward: int = 2048
    visual_layers: int = 6
    """Of the encoder that sees the picture alone."""
    joint_layers: int = 6
    """Of the encoder that sees both."""
    dropout: float = 0.1
    tokenizer: str = "bert-base-uncased"
    """Hub name or folder, or ``clip``, which takes frozen features of ``clip``."""
    max_tokens: int = 40
    """Tokens of an expression; the table of positions has a row for each."""
    text: dict[str, Any] = field(default_factory=lambda: dict(text_branch.PUBLISHED["bert-base-uncased"]))
    """Of transformers' BertConfig, where it is not BERT-base's."""
    text_layer: int = 12
    """The layer of BERT whose features are used."""
    backbone_weights: str | None = "imagenet"
    """What training starts the backbone from: ``imagenet`` (fetched), a file, or null; frozen ones need nothing."""
    text_weights: str | None = "bert-base-uncased"
    """What training starts the text encoder from: a name on the hub, a folder, or null."""
    red: int = 0
    """Entries of RED's dictionary; 0: no RED. See :mod:`vg_gym.baselines.one_stage.red`."""
    clip: str = "refshapes"
    """Name of the CLIP of frozen features and of RED's dictionary."""
    phrases: bool = False
    """With a frozen backbone: also show where the head and the anchor of the expression are."""
    offsets: bool = False
    """With a frozen backbone: also tell each token how far it is from the anchor."""
    point_loss: float = 0.0
    """Weight of :mod:`vg_gym.baselines.one_stage.auxiliary_loss`, which is not published."""


class VisualBranch(nn.Module):
    """Backbone and DETR encoder; knows nothing of the words."""

    def __init__(self, o: Any):
        super().__init__()
        self.backbone = backbone(o.backbone, o.clip)
        self.transformer = EncoderOnly(Encoder(o.dim, o.heads, o.feedforward, o.visual_layers, o.dropout))
        self.input_proj = nn.Conv2d(self.backbone[0].channels, o.dim, 1)  # type: ignore[arg-type]

    def forward(self, features: torch.Tensor, padding: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The backbone's features (B, C, h, w), padding (B, H, W) to tokens (B, h * w, D), their padding (B, h * w)."""
        maps = self.input_proj(features)
        padding = shrink_padding(padding, maps.shape[-2:])
        positions = sine_positions(padding, maps.shape[1]).flatten(2).transpose(1, 2)
        tokens = self.transformer.encoder(maps.flatten(2).transpose(1, 2), padding.flatten(1), positions)
        return tokens, padding.flatten(1)


class BoxRegressor(GroundingModel):
    """A network whose ``forward`` gives one box an expression, centre and size normalised by the canvas."""

    def boxes(self, batch: Batch) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Boxes (N, 4) to supervise, the answer last, and point logits (N, V) of the layers, where there is a head."""
        return [self(batch)], []

    def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """L1 and GIoU of the box on the canvas, each the mean over expressions, weighted 1:1."""
        assert batch.boxes is not None
        boxes, points = self.boxes(batch)
        truth = batch.on_canvas(batch.boxes)
        each = [box_losses(found.float(), truth) for found in boxes]
        losses = {name: torch.stack([found[name] for found in each]).sum() for name in each[0]}
        if points:
            losses["points"] = self.options.point_loss * point_loss(points, truth)
        return losses

    def predict(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
        """The box of every expression; these networks have no confidence, all scores are 1."""
        boxes = self(batch).float()
        return batch.off_canvas(from_cxcywh(boxes).clamp(0, 1)), torch.ones(len(boxes)), {}


class TwoBranches(BoxRegressor):
    """What TransVG and Dynamic MDETR share: branches for picture and words, a square canvas, one box an expression."""

    slow = ("visumodel", "textmodel")
    common = {
        "visumodel.backbone.": "backbone",
        "visumodel.input_proj.": "projection",
        "visumodel.transformer.encoder.": "visual",
        "textmodel.bert.": "text",
        "text_proj.": "words",
        "fit.": "fit",
        "point_embed.": "points",
    }
    vl_pos_embed: nn.Embedding

    def __init__(self, options: Any):
        super().__init__(options)
        o = options
        self.canvas = Canvas("letterbox", o.image_size)
        self._codec: Any = None
        self.visumodel = VisualBranch(o)
        clip = o.tokenizer == "clip"
        bert = FrozenText(o.clip) if clip else text_branch.text_encoder("bert", o.text)
        self.textmodel = text_branch.TextBranch(bert, 0 if clip else o.text_layer)
        self.visu_proj = nn.Linear(o.dim, o.dim)
        self.text_proj = nn.Linear(self.textmodel.bert.config.hidden_size, o.dim)
        self.bbox_embed = MLP([o.dim, o.dim, o.dim, 4])
        if o.backbone == FROZEN:
            self.fit = Fit(o.clip, o.dim, o.phrases, o.offsets)
        if o.red:
            self.deconfounder = Deconfounder(o.dim, o.red, load_clip(o.clip).dim)

    @property
    def visual_tokens(self) -> int:
        """Tokens of a picture."""
        return (self.options.image_size // self.options.stride) ** 2

    def tokenize(self, texts):
        """Expressions as BERT's tokens; the tokenizer is loaded when first asked for."""
        if self._codec is None:
            self._codec = text_branch.codec(
                self.options.tokenizer, self.options.clip, self.options.max_tokens, fixed=True
            )
        return self._codec(texts)

    def start(self) -> None:
        """Branches start pretrained, or in CLIP's space; the picture's positions start as DETR's sine code.

        Published networks start with random positions, and have far more steps to learn which cells are neighbours.
        """
        if self.options.backbone == FROZEN:
            start_in_one_space(self.visumodel.input_proj, self.text_proj)
            if not self.options.visual_layers:
                nn.init.eye_(self.visu_proj.weight)
                nn.init.zeros_(self.visu_proj.bias)
                self.visu_proj.requires_grad_(False)  # a second projection, right behind the first
        else:
            start_branches(self.visumodel.backbone[0].body, self.textmodel.bert, self.options)  # type: ignore[arg-type]
        side = self.options.image_size // self.options.stride
        code = sine_positions(torch.zeros(1, side, side, dtype=torch.bool), self.options.dim)[0].flatten(1).T
        with torch.no_grad():
            self.vl_pos_embed.weight.normal_(std=0.02)
            self.vl_pos_embed.weight[self.picture_rows()] = code

    def picture_rows(self) -> slice:
        """The rows of ``vl_pos_embed`` that belong to the picture's tokens."""
        return slice(1 + self.options.max_tokens, None)

    def observe(self, images: torch.Tensor) -> torch.Tensor | None:
        """The maps of a frozen backbone."""
        return self.visumodel.backbone(images) if self.options.backbone == FROZEN else None

    def prepare(self, expressions: Sequence[str]) -> None:
        """RED's dictionary is found in the training expressions."""
        if self.options.red:
            self.deconfounder.learn(expressions, self.options.clip)

    def branches(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Of every expression: tokens (N, V, D) of its picture, their padding (N, V), tokens (N, L, D) of its words."""
        features = self.visumodel.backbone(batch.images) if batch.features is None else batch.features
        read = self.textmodel(batch.tokens.ids, batch.tokens.padding)
        seen, unseen = self.visumodel(features, batch.padding)
        seen, words = self.visu_proj(seen)[batch.image_of], self.text_proj(read)
        if self.options.backbone == FROZEN:
            seen = seen + self.fit(features[batch.image_of], batch.tokens, read)
        return seen, unseen[batch.image_of], self.deconfounder(words) if self.options.red else words


def box_losses(found: torch.Tensor, truth: torch.Tensor) -> dict[str, torch.Tensor]:
    """L1 and 1 - GIoU, means over N boxes: ``found`` (N, 4) centre and size, ``truth`` (N, 4) ``xyxy``."""
    giou = torch.diagonal(generalized_box_iou(from_cxcywh(found), truth))
    return {"bbox": (found - to_cxcywh(truth)).abs().sum() / len(found), "giou": (1 - giou).mean()}


class TransVG(TwoBranches):
    """TransVG: [REG], words and picture in one encoder; [REG] becomes the box."""

    Options = TransVGOptions
    common = {**TwoBranches.common, "vl_transformer.encoder.": "joint"}

    def __init__(self, options: TransVGOptions):
        super().__init__(options)
        o = options
        self.vl_pos_embed = nn.Embedding(1 + o.max_tokens + self.visual_tokens, o.dim)
        self.reg_token = nn.Embedding(1, o.dim)
        self.vl_transformer = EncoderOnly(Encoder(o.dim, o.heads, o.feedforward, o.joint_layers, o.dropout))
        if o.point_loss:
            self.point_embed = nn.Linear(o.dim, 1)

    def forward(self, batch: Batch) -> torch.Tensor:
        """Boxes (N, 4), centre and size normalised by the canvas."""
        return self.boxes(batch)[0][-1]

    def boxes(self, batch: Batch) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """The box, and point logits of every layer."""
        seen, unseen, words = self.branches(batch)
        unread = batch.tokens.padding
        reg = self.reg_token.weight.expand(len(words), 1, -1)
        padding = torch.cat([torch.zeros_like(unread[:, :1]), unread, unseen], dim=1)
        positions = self.vl_pos_embed.weight.expand(len(words), -1, -1)
        joint = self.vl_transformer.encoder.layerwise(torch.cat([reg, words, seen], dim=1), padding, positions)
        pointed = [self.point_embed(x[:, -seen.shape[1] :])[..., 0] for x in joint] if self.options.point_loss else []
        return [self.bbox_embed(joint[-1][:, 0]).sigmoid()], pointed


@dataclass
class REDOptions(TransVGOptions):
    """TransVG's, with RED."""

    red: int = 64


class RED(TransVG):
    """TransVG + RED. Any other network here takes RED by its option ``red``."""

    Options = REDOptions
