"""MDETR (Kamath et al., ICCV 2021): a DETR whose encoder sees picture and words together.

Parameter names are those of the published checkpoints.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from vg_gym.baselines.one_stage import text as text_branch
from vg_gym.baselines.one_stage.auxiliary_loss import point_loss
from vg_gym.baselines.one_stage.backbone import FROZEN, backbone
from vg_gym.baselines.one_stage.frozen_features import Fit, FrozenText, start_in_one_space
from vg_gym.baselines.one_stage.mdetr_losses import Layer, set_losses
from vg_gym.baselines.one_stage.pretrained import start_branches
from vg_gym.baselines.one_stage.red import Deconfounder
from vg_gym.baselines.one_stage.transformer import MLP, Encoder, plus, shrink_padding, sine_positions
from vg_gym.boxes import from_cxcywh, to_cxcywh
from vg_gym.clip import load_clip
from vg_gym.learned.batch import Batch, Canvas
from vg_gym.learned.model import GroundingModel

CLASSES = 255
"""Token positions that a query can name; one more stands for "no object"."""


@dataclass
class MDETROptions:
    """Sizes; the defaults are those of the published ResNet-101 model for RefCOCOg."""

    backbone: str = "resnet101"
    """``resnet18`` ... ``resnet101``, ``efficientnet_b3``, or ``frozen``."""
    dim: int = 256
    heads: int = 8
    feedforward: int = 2048
    encoder_layers: int = 6
    decoder_layers: int = 6
    queries: int = 100
    dropout: float = 0.1
    contrastive: bool = False
    """A CLS token and projections for the image-text contrastive loss of pretraining; RefCOCOg's models have none."""
    canvas: str = "shortest"
    """Kind of :class:`vg_gym.learned.batch.Canvas`."""
    image_size: int = 800
    """Shorter side of the picture in pixels; the longer is at most 1333."""
    tokenizer: str = "roberta-base"
    """Hub name or folder, or ``clip``, which takes frozen features of ``clip``."""
    max_tokens: int = 256
    """Longest expression in tokens."""
    text: dict[str, Any] = field(default_factory=lambda: dict(text_branch.PUBLISHED["roberta-base"]))
    """Of transformers' RobertaConfig, where it is not RoBERTa's."""
    point_loss: float = 0.0
    """Weight of :mod:`vg_gym.baselines.one_stage.auxiliary_loss`, which is not published and needs square maps."""
    backbone_weights: str | None = "imagenet"
    """What training starts the backbone from: ``imagenet`` (fetched), a file, or null; frozen ones need nothing."""
    text_weights: str | None = "roberta-base"
    """What training starts the text encoder from: a name on the hub, a folder, or null."""
    red: int = 0
    """Entries of RED's dictionary; 0: no RED. See :mod:`vg_gym.baselines.one_stage.red`."""
    clip: str = "refshapes"
    """Name of the CLIP of frozen features and of RED's dictionary."""
    phrases: bool = False
    """With a frozen backbone: also show where the head and the anchor of the expression are."""
    offsets: bool = False
    """With a frozen backbone: also tell each token how far it is from the anchor."""


class DecoderLayer(nn.Module):
    """Self-attention, attention to the joint memory, feed-forward; norms named 1, 3 and 4 as published."""

    def __init__(self, dim: int, heads: int, feedforward: int, dropout: float):
        super().__init__()
        self.self_attn = nn.MultiheadAttention(dim, heads, dropout=dropout, batch_first=True)
        self.cross_attn_image = nn.MultiheadAttention(dim, heads, dropout=dropout, batch_first=True)
        self.linear1, self.linear2 = nn.Linear(dim, feedforward), nn.Linear(feedforward, dim)
        self.norm1, self.norm3, self.norm4 = (nn.LayerNorm(dim) for _ in range(3))
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: torch.Tensor, queries: torch.Tensor, memory: torch.Tensor, keys: torch.Tensor, padding: torch.Tensor
    ) -> torch.Tensor:
        """Object tokens (N, Q, D) with positions ``queries``; memory (N, S, D), the same with positions ``keys``."""
        q = plus(x, queries)
        x = self.norm1(x + self.dropout(self.self_attn(q, q, x, need_weights=False)[0]))
        q = plus(x, queries)
        seen = self.cross_attn_image(q, keys, memory, key_padding_mask=padding, need_weights=False)[0]
        x = self.norm3(x + self.dropout(seen))
        return self.norm4(x + self.dropout(self.linear2(self.dropout(F.relu(self.linear1(x))))))


class Decoder(nn.Module):
    """A stack of :class:`DecoderLayer` with one final norm, applied to the output of every layer."""

    def __init__(self, dim: int, heads: int, feedforward: int, layers: int, dropout: float):
        super().__init__()
        self.layers = nn.ModuleList(DecoderLayer(dim, heads, feedforward, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(dim)

    def forward(
        self, queries: torch.Tensor, memory: torch.Tensor, keys: torch.Tensor, padding: torch.Tensor
    ) -> list[torch.Tensor]:
        """Object tokens (N, Q, D) after every layer."""
        x, found = torch.zeros_like(queries), []
        for layer in self.layers:
            x = layer(x, queries, memory, keys, padding)
            found.append(self.norm(x))
        return found


class Resizer(nn.Module):
    """Text features to the transformer's width."""

    def __init__(self, width: int, dim: int, dropout: float):
        super().__init__()
        self.fc, self.layer_norm, self.dropout = (
            nn.Linear(width, dim),
            nn.LayerNorm(dim, eps=1e-12),
            nn.Dropout(dropout),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, L, width) to (N, L, dim)."""
        return self.dropout(self.layer_norm(self.fc(x)))


class Transformer(nn.Module):
    """Text encoder, joint encoder and decoder, under the published names."""

    def __init__(self, o: MDETROptions):
        super().__init__()
        self.encoder = Encoder(o.dim, o.heads, o.feedforward, o.encoder_layers, o.dropout)
        self.decoder = Decoder(o.dim, o.heads, o.feedforward, o.decoder_layers, o.dropout)
        if o.contrastive:
            self.CLS = nn.Embedding(1, o.dim)
        clip = o.tokenizer == "clip"
        self.text_encoder: Any = FrozenText(o.clip) if clip else text_branch.text_encoder("roberta", o.text)
        self.resizer = Resizer(self.text_encoder.config.hidden_size, o.dim, 0.1)


@dataclass(frozen=True)
class MDETROutputs:
    """What the network computes: per decoder layer, class logits, boxes and projections; and the memory's pools."""

    layers: list[Layer]
    points: list[torch.Tensor]
    """Logits (N, V) of the picture's tokens after every layer of the encoder, where there is a head for them."""
    pooled_text: torch.Tensor | None
    pooled_image: torch.Tensor | None


class MDETR(GroundingModel):
    """MDETR for referring expressions: of its queries, the one least likely to be "no object" is the answer."""

    Options = MDETROptions
    slow = ("backbone", "transformer.text_encoder")
    common = {
        "backbone.": "backbone",
        "input_proj.": "projection",
        "transformer.text_encoder.": "text",
        "transformer.resizer.fc.": "words",
        "transformer.encoder.": "joint",
        "fit.": "fit",
        "point_embed.": "points",
    }

    def __init__(self, options: MDETROptions):
        super().__init__(options)
        o = options
        self.canvas = Canvas(o.canvas, o.image_size)
        self._codec: Any = None
        self.transformer = Transformer(o)
        self.class_embed = nn.Linear(o.dim, CLASSES + 1)
        self.bbox_embed = MLP([o.dim, o.dim, o.dim, 4])
        self.query_embed = nn.Embedding(o.queries, o.dim)
        self.backbone = backbone(o.backbone, o.clip)
        self.input_proj = nn.Conv2d(self.backbone[0].channels, o.dim, 1)  # type: ignore[arg-type]
        self.contrastive_align_projection_image = nn.Linear(o.dim, 64)
        self.contrastive_align_projection_text = nn.Linear(o.dim, 64)
        if o.point_loss:
            self.point_embed = nn.Linear(o.dim, 1)
        if o.backbone == FROZEN:
            self.fit = Fit(o.clip, o.dim, o.phrases, o.offsets)
        if o.red:
            self.deconfounder = Deconfounder(o.dim, o.red, load_clip(o.clip).dim)
        if o.contrastive:
            width = self.transformer.text_encoder.config.hidden_size
            self.contrastive_projection_image = nn.Linear(o.dim, 64, bias=False)
            self.contrastive_projection_text = nn.Linear(width, 64, bias=False)

    def tokenize(self, texts):
        """Expressions as RoBERTa's tokens; the tokenizer is loaded when first asked for."""
        if self._codec is None:
            self._codec = text_branch.codec(
                self.options.tokenizer, self.options.clip, self.options.max_tokens, fixed=False
            )
        return self._codec(texts)

    def observe(self, images: torch.Tensor) -> torch.Tensor | None:
        """The maps of a frozen backbone."""
        return self.backbone(images) if self.options.backbone == FROZEN else None

    def prepare(self, expressions: Sequence[str]) -> None:
        """RED's dictionary is found in the training expressions."""
        if self.options.red:
            self.deconfounder.learn(expressions, self.options.clip)

    def start(self) -> None:
        """With frozen features, picture and words start in CLIP's space; else both branches start pretrained."""
        if self.options.backbone == FROZEN:
            start_in_one_space(self.input_proj, self.transformer.resizer.fc)
            return
        start_branches(self.backbone[0].body, self.transformer.text_encoder, self.options)  # type: ignore[arg-type]

    def forward(self, batch: Batch) -> MDETROutputs:
        """All decoder layers' outputs for N expressions."""
        features = self.backbone(batch.images) if batch.features is None else batch.features
        maps = self.input_proj(features)
        padding = shrink_padding(batch.padding, maps.shape[-2:])
        places = sine_positions(padding, maps.shape[1]).flatten(2).transpose(1, 2)[batch.image_of]
        seen, unseen = maps.flatten(2).transpose(1, 2)[batch.image_of], padding.flatten(1)[batch.image_of]
        tokens = batch.tokens
        read = self.transformer.text_encoder(tokens.ids, attention_mask=(~tokens.padding).long())
        words = self.transformer.resizer(read.last_hidden_state)
        if self.options.backbone == FROZEN:
            seen = seen + self.fit(features[batch.image_of], tokens, read.last_hidden_state)
        if self.options.red:
            words = self.deconfounder(words)
        parts, masks, at = [seen, words], [unseen, tokens.padding], [places, torch.zeros_like(words)]
        if self.options.contrastive:
            cls = self.transformer.CLS.weight.expand(len(words), 1, -1)
            parts, at = [cls, *parts], [torch.zeros_like(cls), *at]
            masks = [torch.zeros_like(unseen[:, :1]), *masks]
        mask, positions = torch.cat(masks, 1), torch.cat(at, 1)
        encoded = self.transformer.encoder.layerwise(torch.cat(parts, 1), mask, positions)
        memory = encoded[-1]
        queries = self.query_embed.weight.expand(len(words), -1, -1)
        decoded = self.transformer.decoder(queries, memory, memory + positions, mask)
        spoken = F.normalize(self.contrastive_align_projection_text(memory[:, -words.shape[1] :]), dim=-1)
        pools: list[torch.Tensor | None] = [None, None]
        if self.options.contrastive:
            pools = [
                self.contrastive_projection_text(read.pooler_output),
                self.contrastive_projection_image(memory[:, 0]),
            ]
        first = memory.shape[1] - words.shape[1] - seen.shape[1]
        looked = [x[:, first : first + seen.shape[1]] for x in encoded]
        points = [self.point_embed(x)[..., 0] for x in looked] if self.options.point_loss else []
        return MDETROutputs([self._layer(x, spoken) for x in decoded], points, *pools)

    def _layer(self, x: torch.Tensor, spoken: torch.Tensor) -> Layer:
        aligned = F.normalize(self.contrastive_align_projection_image(x), dim=-1)
        return Layer(self.class_embed(x), self.bbox_embed(x).sigmoid(), aligned, spoken)

    def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """The published losses for one target an expression, named by all words of it."""
        assert batch.boxes is not None
        words = batch.tokens.is_word[:, :CLASSES]
        positive = F.pad(words, (0, CLASSES + 1 - words.shape[1])).float()
        targets = list(to_cxcywh(batch.boxes)[:, None])
        found = self(batch)
        losses = set_losses([layer.float() for layer in found.layers], targets, positive)
        if found.points:
            losses["points"] = self.options.point_loss * point_loss(found.points, batch.on_canvas(batch.boxes))
        return losses

    def predict(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
        """The likeliest object of every expression; its score is 1 - P(no object)."""
        last = self(batch).layers[-1]
        scores, best = (1 - last.logits.float().softmax(-1)[..., -1]).max(dim=1)
        boxes = last.boxes.float()[torch.arange(len(batch), device=best.device), best]
        return from_cxcywh(boxes), scores, {}
