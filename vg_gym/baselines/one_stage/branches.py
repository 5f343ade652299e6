"""Shared parts of one-stage networks with an image branch and a text branch: options, pretrained parts, RED.

A branch is either a published one (ResNet or EfficientNet; BERT or RoBERTa), or consists of features of frozen networks
(:mod:`vg_gym.baselines.one_stage.frozen_features`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import nn

from vg_gym.baselines.one_stage.backbone import FROZEN, load_pretrained_backbone
from vg_gym.baselines.one_stage.frozen_features import TextImageSimilarity, init_in_joint_space, sentence_features
from vg_gym.baselines.one_stage.red import READINGS, ConditionedDeconfounder, Deconfounder
from vg_gym.baselines.one_stage.text_branch import load_pretrained_text, load_tokenizer
from vg_gym.clip import load_clip
from vg_gym.errors import VGGymError, unknown
from vg_gym.learned.batch import Batch
from vg_gym.learned.model import GroundingModel
from vg_gym.learned.tokenization import Tokens

CLIP_TOKENIZER = "clip"
"""Value of ``tokenizer`` for frozen text features of a CLIP."""


@dataclass
class BranchOptions:
    """Options of both branches and of their optional parts."""

    backbone: str = "resnet101"
    """``resnet18``, ``resnet34``, ``resnet50``, ``resnet101``, ``efficientnet_b3`` (all of stride 32), or ``frozen``:
    features of the built-in CLIP and detector, stride 16."""
    backbone_weights: str | None = "imagenet"
    """Initial weights of the backbone in training: ``imagenet`` (downloaded), a file, or null; unused if frozen."""
    canvas: str = "letterbox"
    """Kind of canvas that scales images of any shape to one size (:class:`vg_gym.learned.batch.Canvas`): ``letterbox``
    as published, or ``square`` for networks trained on square images only, which then handle other shapes too."""
    image_size: int = 640
    """Side of the canvas in pixels."""
    dim: int = 256
    """Width of image tokens, and of all layers without a separate width."""
    heads: int = 8
    """Number of attention heads in layers of width ``dim``."""
    feedforward: int = 2048
    """Width of the hidden layer in layers of width ``dim``."""
    dropout: float = 0.1
    """Dropout probability in all transformer layers."""
    tokenizer: str = "bert-base-uncased"
    """Hub name or folder of a tokenizer, or ``clip`` for frozen text features of the option ``clip``."""
    max_tokens: int = 40
    """Largest number of tokens of an expression; longer ones are cut."""
    text: dict[str, Any] = field(default_factory=dict)
    """Entries of the text encoder's config in transformers that differ from BERT-base."""
    text_weights: str | None = None
    """Initial weights of the text encoder in training: a name on the hub, a folder, or null."""
    clip: str = "refshapes"
    """Name of the CLIP of frozen features and of RED's dictionary."""
    phrases: bool = False
    """Add similarity maps of the expression's head and anchor; needs a frozen backbone."""
    offsets: bool = False
    """Add to each image token its offset from the anchor; needs a frozen backbone."""
    red: int = 0
    """Number of entries of RED's dictionary; 0: no RED. See :mod:`vg_gym.baselines.one_stage.red`."""
    red_reading: str = "attention"
    """RED's reading of the backdoor adjustment: ``attention`` over the dictionary, or ``conditioned``, which needs
    ``tokenizer=clip``. See :mod:`vg_gym.baselines.one_stage.red`."""
    point_loss: float = 0.0
    """Weight of :func:`vg_gym.baselines.one_stage.box_regression.point_loss`, which is not published and needs square
    maps."""


class BranchedModel(GroundingModel):
    """Network over an image branch and a text branch."""

    BACKBONE: ClassVar[str]
    """Name of the backbone in the network."""
    TEXT_ENCODER: ClassVar[str]
    """Name of the text encoder in the network."""
    PROJECTIONS: ClassVar[tuple[str, str]]
    """Names of the projections of the backbone's maps to image tokens, and of text features to text tokens."""
    pads_to_max_tokens: ClassVar[bool]
    """True if expressions are padded to ``max_tokens`` tokens, False to the longest one of the batch."""
    fit: TextImageSimilarity
    deconfounder: Deconfounder | ConditionedDeconfounder
    point_embed: nn.Linear

    def __init__(self, options: BranchOptions):
        super().__init__(options)
        self._tokenizer: Callable[[Sequence[str]], Tokens] | None = None

    @property
    def image_backbone(self) -> Any:
        """Backbone from :func:`vg_gym.baselines.one_stage.backbone.backbone`."""
        return self.get_submodule(self.BACKBONE)

    @property
    def text_encoder(self) -> Any:
        """Text encoder: BERT, RoBERTa, or features of a CLIP."""
        return self.get_submodule(self.TEXT_ENCODER)

    @property
    def frozen_parts(self) -> dict[str, str]:
        """See :attr:`vg_gym.learned.model.GroundingModel.frozen_parts`."""
        o = self.options
        detector = {"detector": "detr"} if o.backbone == FROZEN else {}
        return {"CLIP": o.clip, **detector} if detector or o.red else {}

    def add_frozen_parts(self, dim: int) -> None:
        """Add the optional parts for tokens of width ``dim``.

        Raises:
            VGGymError: the reading of RED is unknown, or does not suit the tokenizer.
        """
        o = self.options
        if o.backbone == FROZEN:
            self.fit = TextImageSimilarity(o.clip, dim, o.phrases, o.offsets)
        if o.red:
            if o.red_reading not in READINGS:
                raise unknown("reading of RED", o.red_reading, READINGS)
            if self.is_conditioned and o.tokenizer != CLIP_TOKENIZER:
                raise VGGymError(f"red_reading=conditioned needs tokenizer=clip, not tokenizer={o.tokenizer}")
            reading = ConditionedDeconfounder if self.is_conditioned else Deconfounder
            self.deconfounder = reading(dim, o.red, load_clip(o.clip).dim)

    @property
    def is_conditioned(self) -> bool:
        """True if RED's text tokens are conditioned on the confounder."""
        return bool(self.options.red) and self.options.red_reading == "conditioned"

    def text_input(self, text_features: torch.Tensor) -> torch.Tensor:
        """Return what of the text features (N, L, C) becomes text tokens: all, or what RED's causes do not explain."""
        return self.deconfounder.unexplained(text_features) if self.is_conditioned else text_features  # type: ignore[operator]

    def tokenize(self, texts: Sequence[str]) -> Tokens:  # type: ignore[override]
        """Convert expressions to tokens of the text encoder; the tokenizer is loaded on first use."""
        if self._tokenizer is None:
            o = self.options
            self._tokenizer = load_tokenizer(o.tokenizer, o.clip, o.max_tokens, self.pads_to_max_tokens)
        return self._tokenizer(texts)

    def init_weights(self) -> None:
        """Start both branches in CLIP's joint space if their features are frozen, else pretrained."""
        if self.options.backbone == FROZEN:
            init_in_joint_space(*map(self.get_submodule, self.PROJECTIONS))  # type: ignore[arg-type]
            return
        if self.options.backbone_weights:
            load_pretrained_backbone(self.image_backbone[0].body, self.options.backbone, self.options.backbone_weights)
        if self.options.text_weights:
            load_pretrained_text(self.text_encoder, self.options.text_weights)

    def learn_from_expressions(self, expressions: Sequence[str]) -> None:
        """Learn RED's dictionary from the training expressions."""
        if self.options.red:
            self.deconfounder.learn(expressions, self.options.clip)

    def frozen_image_features(self, images: torch.Tensor) -> torch.Tensor | None:
        """Return the maps of a frozen backbone; None for other backbones."""
        return self.image_backbone(images) if self.options.backbone == FROZEN else None

    def image_features(self, batch: Batch) -> torch.Tensor:
        """Return the backbone's maps (B, C, h, w), from the batch if they are cached."""
        return self.image_backbone(batch.images) if batch.features is None else batch.features

    def condition(
        self, image_tokens: torch.Tensor, text_tokens: torch.Tensor, features: torch.Tensor, batch: Batch,
        text_features: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
        """Return tokens of image and text with the additions of the optional parts.

        Args:
            image_tokens: tokens of each expression's image, (N, V, D).
            text_tokens: text tokens, (N, L, D).
            features: output of :meth:`image_features`, (B, C, h, w).
            batch: B images and N expressions.
            text_features: output of the text encoder, (N, L, C).
        """
        if self.options.backbone == FROZEN:
            image_tokens = image_tokens + self.fit(features[batch.image_of], batch.tokens, text_features)
        if self.is_conditioned:
            return image_tokens, self.deconfounder(text_tokens, sentence_features(batch.tokens, text_features))
        return image_tokens, self.deconfounder(text_tokens) if self.options.red else text_tokens

    def point_logits(self, layers: list[torch.Tensor]) -> list[torch.Tensor]:
        """Return logits (N, V) of the image tokens (N, V, D) after every layer; empty without a point head."""
        return [self.point_embed(x)[..., 0] for x in layers] if self.options.point_loss else []
