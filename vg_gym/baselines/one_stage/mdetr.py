"""MDETR (Kamath et al., ICCV 2021), a DETR whose encoder attends to image and text together.

Parameter names are those of the published checkpoints.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from vg_gym.baselines.one_stage import text_branch
from vg_gym.baselines.one_stage.backbone import backbone
from vg_gym.baselines.one_stage.box_regression import point_loss
from vg_gym.baselines.one_stage.branches import BranchedModel, BranchOptions
from vg_gym.baselines.one_stage.frozen_features import FrozenText
from vg_gym.baselines.one_stage.mdetr_losses import Layer, set_losses
from vg_gym.baselines.one_stage.transformer import (
    MLP,
    Decoder,
    DecoderLayer,
    Encoder,
    LayerSizes,
    map_tokens,
    resize_mask,
    sine_positions,
)
from vg_gym.boxes import from_cxcywh, to_cxcywh
from vg_gym.learned.batch import Batch, Canvas

TOKEN_CLASSES = 255
"""Number of token positions that a query can refer to; one more class is "no object"."""


@dataclass
class MDETROptions(BranchOptions):
    """Options of MDETR; the defaults are those of the published ResNet-101 model for RefCOCOg."""

    encoder_layers: int = 6
    """Number of layers of the encoder over image and text."""
    decoder_layers: int = 6
    """Number of layers of the decoder; in training each layer predicts boxes."""
    queries: int = 100
    """Number of objects that the decoder proposes; the most likely one is the answer."""
    contrastive: bool = False
    """Add a CLS token and projections for the image-text contrastive loss of pretraining; not in RefCOCOg's models."""
    contrastive_dim: int = 64
    """Width of the projections that the contrastive losses compare."""
    canvas: str = "shortest"
    """Kind of canvas: ``shortest`` as published, or ``square`` for networks trained on square images only."""
    image_size: int = 800
    """Shorter side of the image in pixels; the longer side is at most 1333."""
    tokenizer: str = "roberta-base"
    """Hub name or folder of a tokenizer, or ``clip`` for frozen text features of the option ``clip``."""
    max_tokens: int = 256
    """Largest number of tokens of an expression; longer ones are cut."""
    text: dict[str, Any] = field(default_factory=lambda: dict(text_branch.PUBLISHED_CONFIGS["roberta-base"]))
    """Entries of transformers' RobertaConfig that differ from its defaults."""
    text_weights: str | None = "roberta-base"
    """Initial weights of the text encoder in training: a name on the hub, a folder, or null."""

    @property
    def sizes(self) -> LayerSizes:
        """Sizes of all layers."""
        return LayerSizes(self.dim, self.heads, self.feedforward, self.dropout)


class MDETRDecoderLayer(DecoderLayer):
    """Decoder layer under the names of MDETR's checkpoints."""

    CROSS_ATTENTION = "cross_attn_image"
    NORMS = ("norm1", "norm3", "norm4")


class Resizer(nn.Module):
    """Projection of text features to the transformer's width."""

    def __init__(self, width: int, dim: int, dropout: float):
        super().__init__()
        self.fc = nn.Linear(width, dim)
        self.layer_norm = nn.LayerNorm(dim, eps=1e-12)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Project features (N, L, width) to (N, L, dim)."""
        return self.dropout(self.layer_norm(self.fc(x)))


class Transformer(nn.Module):
    """Text encoder, joint encoder and decoder, under the published names."""

    def __init__(self, o: MDETROptions):
        super().__init__()
        self.encoder = Encoder(o.sizes, o.encoder_layers)
        self.decoder = Decoder(o.sizes, o.decoder_layers, MDETRDecoderLayer)
        if o.contrastive:
            self.CLS = nn.Embedding(1, o.dim)
        clip = o.tokenizer == "clip"
        self.text_encoder: Any = FrozenText(o.clip) if clip else text_branch.text_encoder("roberta", o.text)
        self.resizer = Resizer(self.text_encoder.config.hidden_size, o.dim, 0.1)


@dataclass(frozen=True)
class MDETROutputs:
    """Outputs of the network for N expressions."""

    layers: list[Layer]
    """Class logits, boxes and projections after every decoder layer."""
    point_logits: list[torch.Tensor]
    """Logits of the image tokens after every encoder layer, (N, V) each; empty without a point head."""
    joint: torch.Tensor
    """Tokens of image and text after the encoder, (N, S, D)."""
    mask: torch.Tensor
    """Their padding mask, bool (N, S)."""


class MDETR(BranchedModel):
    """MDETR for referring expressions, whose answer is the query with the lowest probability of "no object"."""

    Options = MDETROptions
    pretrained_prefixes = ("backbone", "transformer.text_encoder")
    shared_parts = {
        "backbone.": "backbone",
        "input_proj.": "image projection",
        "transformer.text_encoder.": "text encoder",
        "transformer.resizer.fc.": "text projection",
        "transformer.encoder.": "joint encoder",
        "fit.": "similarity",
        "point_embed.": "point head",
    }
    pads_to_max_tokens = False
    BACKBONE, TEXT_ENCODER = "backbone", "transformer.text_encoder"
    PROJECTIONS = ("input_proj", "transformer.resizer.fc")

    def __init__(self, options: MDETROptions):
        super().__init__(options)
        o = options
        self.canvas = Canvas(o.canvas, o.image_size)
        self.transformer = Transformer(o)
        self.class_embed = nn.Linear(o.dim, TOKEN_CLASSES + 1)
        self.bbox_embed = MLP([o.dim, o.dim, o.dim, 4])
        self.query_embed = nn.Embedding(o.queries, o.dim)
        self.backbone = backbone(o.backbone, o.clip)
        self.input_proj = nn.Conv2d(self.backbone[0].channels, o.dim, 1)  # type: ignore[arg-type]
        self.contrastive_align_projection_image = nn.Linear(o.dim, o.contrastive_dim)
        self.contrastive_align_projection_text = nn.Linear(o.dim, o.contrastive_dim)
        if o.point_loss:
            self.point_embed = nn.Linear(o.dim, 1)
        self.add_frozen_parts(o.dim)
        if o.contrastive:
            width = self.transformer.text_encoder.config.hidden_size
            self.contrastive_projection_image = nn.Linear(o.dim, o.contrastive_dim, bias=False)
            self.contrastive_projection_text = nn.Linear(width, o.contrastive_dim, bias=False)

    def forward(self, batch: Batch) -> MDETROutputs:
        """Return the outputs of all decoder layers for N expressions."""
        features, tokens = self.image_features(batch), batch.tokens
        text = self.text_encoder(tokens.ids, attention_mask=(~tokens.padding_mask).long())
        joint, mask, positions, image = self._joint_tokens(batch, features, text.last_hidden_state)
        encoded = self.transformer.encoder.layerwise(joint, mask, positions)
        memory = encoded[-1]
        queries = self.query_embed.weight.expand(len(batch), -1, -1)
        decoded = self.transformer.decoder(torch.zeros_like(queries), queries, None, memory, memory + positions, mask)
        text_memory = memory[:, image.stop :]
        aligned_text = F.normalize(self.contrastive_align_projection_text(text_memory), dim=-1)
        layers = [self._heads(x, aligned_text) for x in decoded]
        return MDETROutputs(layers, self.point_logits([x[:, image] for x in encoded]), memory, mask)

    def _joint_tokens(
        self, batch: Batch, features: torch.Tensor, text_features: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, slice]:
        """Return CLS, image and text tokens (N, S, D), their padding mask (N, S), positions, and the image's slice."""
        maps = self.input_proj(features)
        image_mask = resize_mask(batch.padding_mask, maps.shape[-2:])
        image_positions = map_tokens(sine_positions(image_mask, maps.shape[1]))[batch.image_of]
        image_tokens, image_mask = map_tokens(maps)[batch.image_of], image_mask.flatten(1)[batch.image_of]
        text_tokens = self.transformer.resizer(self.text_input(text_features))
        image_tokens, text_tokens = self.condition(image_tokens, text_tokens, features, batch, text_features)
        tokens, masks = [image_tokens, text_tokens], [image_mask, batch.tokens.padding_mask]
        positions, first = [image_positions, torch.zeros_like(text_tokens)], 0
        if self.options.contrastive:
            cls, first = self.transformer.CLS.weight.expand(len(text_tokens), 1, -1), 1
            tokens, positions = [cls, *tokens], [torch.zeros_like(cls), *positions]
            masks = [torch.zeros_like(image_mask[:, :1]), *masks]
        image = slice(first, first + image_tokens.shape[1])
        return torch.cat(tokens, 1), torch.cat(masks, 1), torch.cat(positions, 1), image

    def _heads(self, x: torch.Tensor, aligned_text: torch.Tensor) -> Layer:
        """Return the outputs of the heads for object tokens (N, Q, D), together with ``aligned_text`` (N, L, C)."""
        aligned = F.normalize(self.contrastive_align_projection_image(x), dim=-1)
        return Layer(self.class_embed(x), self.bbox_embed(x).sigmoid(), aligned, aligned_text)

    def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Return the published losses for one target per expression, to which all words refer."""
        assert batch.boxes is not None
        words = batch.tokens.is_word[:, :TOKEN_CLASSES]
        positive = F.pad(words, (0, TOKEN_CLASSES + 1 - words.shape[1])).float()
        targets = list(to_cxcywh(batch.boxes)[:, None])
        outputs = self(batch)
        losses = set_losses([layer.float() for layer in outputs.layers], targets, positive)
        if outputs.point_logits:
            truth = batch.to_canvas(batch.boxes)
            losses["points"] = self.options.point_loss * point_loss(outputs.point_logits, truth)
        return losses

    def joint_tokens(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the tokens of image and text after the encoder, and their padding mask."""
        outputs = self(batch)
        return outputs.joint, outputs.mask

    def predict(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
        """Return the most likely object of every expression.

        Its score is the presence head's probability, or without such a head 1 - P(no object).
        """
        outputs = self(batch)
        last = outputs.layers[-1]
        scores, best = (1 - last.logits.float().softmax(-1)[..., -1]).max(dim=1)
        boxes = last.boxes.float()[torch.arange(len(batch), device=best.device), best]
        if self.presence is not None:
            scores = self.presence(outputs.joint.float(), outputs.mask).sigmoid()
        return from_cxcywh(boxes), scores, {}
