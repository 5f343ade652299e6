"""What the one-stage networks with an image branch and a text branch share: options, pretrained parts, RED.

A branch is either a published one (ResNet or EfficientNet; BERT or RoBERTa), or features of frozen networks
(:mod:`vg_gym.baselines.one_stage.frozen_features`).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import nn

from vg_gym.baselines.one_stage.backbone import FROZEN, load_pretrained_backbone
from vg_gym.baselines.one_stage.frozen_features import TextImageSimilarity, init_in_joint_space
from vg_gym.baselines.one_stage.red import Deconfounder
from vg_gym.baselines.one_stage.text import load_pretrained_text, load_tokenizer
from vg_gym.clip import load_clip
from vg_gym.learned.batch import Batch
from vg_gym.learned.model import GroundingModel
from vg_gym.learned.tokenization import Tokens


@dataclass
class BranchOptions:
    """Options of both branches, and of what may be added to them."""

    backbone: str = "resnet101"
    """``resnet18``, ``resnet34``, ``resnet50``, ``resnet101``, ``efficientnet_b3`` (all of stride 32), or ``frozen``:
    features of the built-in CLIP and detector, stride 16."""
    backbone_weights: str | None = "imagenet"
    """What training starts the backbone from: ``imagenet`` (fetched), a file, or null; frozen ones need nothing."""
    canvas: str = "letterbox"
    """How images of any shape are brought to one size (:class:`vg_gym.learned.batch.Canvas`): ``letterbox`` as
    published; ``square`` for networks that saw square images alone, whose answers then hold for the others too."""
    image_size: int = 640
    """Side of the canvas in pixels."""
    dim: int = 256
    """Width of the image's tokens, and of all layers that have no width of their own."""
    heads: int = 8
    """Of every attention over tokens of that width."""
    feedforward: int = 2048
    """Width of the hidden layer behind every such attention."""
    dropout: float = 0.1
    """Probability, in all transformer layers."""
    tokenizer: str = "bert-base-uncased"
    """Hub name or folder, or ``clip``, which takes frozen features of ``clip``."""
    max_tokens: int = 40
    """Longest expression in tokens; the rest is cut off."""
    text: dict[str, Any] = field(default_factory=dict)
    """Of the text encoder's config in transformers, where it differs from BERT-base's."""
    text_weights: str | None = None
    """What training starts the text encoder from: a name on the hub, a folder, or null."""
    clip: str = "refshapes"
    """Name of the CLIP of frozen features and of RED's dictionary."""
    phrases: bool = False
    """With a frozen backbone: also show where the head and the anchor of the expression are."""
    offsets: bool = False
    """With a frozen backbone: also tell each token how far it is from the anchor."""
    red: int = 0
    """Entries of RED's dictionary; 0: no RED. See :mod:`vg_gym.baselines.one_stage.red`."""
    point_loss: float = 0.0
    """Weight of :mod:`vg_gym.baselines.one_stage.auxiliary_loss`, which is not published and needs square maps."""


class BranchedModel(GroundingModel):
    """A network over an image branch and a text branch."""

    pads_to_max_tokens: ClassVar[bool]
    """Whether all expressions have ``max_tokens`` tokens, else as many as the longest of their batch."""
    fit: TextImageSimilarity
    deconfounder: Deconfounder
    point_embed: nn.Linear

    def __init__(self, options: BranchOptions):
        super().__init__(options)
        self._tokenizer: Callable[[Sequence[str]], Tokens] | None = None

    @property
    @abstractmethod
    def image_backbone(self) -> nn.Sequential:
        """Of :func:`vg_gym.baselines.one_stage.backbone.backbone`."""

    @property
    @abstractmethod
    def text_encoder(self) -> Any:
        """BERT, RoBERTa, or features of a CLIP."""

    @property
    @abstractmethod
    def projections(self) -> tuple[nn.Conv2d, nn.Linear]:
        """From the backbone's maps to image tokens, and from text features to text tokens."""

    @property
    def frozen_parts(self) -> dict[str, str]:
        """See :attr:`vg_gym.learned.model.GroundingModel.frozen_parts`."""
        o = self.options
        detector = {"detector": "detr"} if o.backbone == FROZEN else {}
        return {"CLIP": o.clip, **detector} if detector or o.red else {}

    def add_frozen_parts(self, dim: int) -> None:
        """Add the parts that the options ask for to tokens of width ``dim``."""
        o = self.options
        if o.backbone == FROZEN:
            self.fit = TextImageSimilarity(o.clip, dim, o.phrases, o.offsets)
        if o.red:
            self.deconfounder = Deconfounder(dim, o.red, load_clip(o.clip).dim)

    def tokenize(self, texts: Sequence[str]) -> Tokens:  # type: ignore[override]
        """Expressions as the text encoder's tokens; the tokenizer is loaded when first asked for."""
        if self._tokenizer is None:
            o = self.options
            self._tokenizer = load_tokenizer(o.tokenizer, o.clip, o.max_tokens, self.pads_to_max_tokens)
        return self._tokenizer(texts)

    def init_weights(self) -> None:
        """Both branches start in CLIP's joint space where their features are frozen, else pretrained."""
        if self.options.backbone == FROZEN:
            init_in_joint_space(*self.projections)
            return
        if self.options.backbone_weights:
            body: Any = self.image_backbone[0].body
            load_pretrained_backbone(body, self.options.backbone, self.options.backbone_weights)
        if self.options.text_weights:
            load_pretrained_text(self.text_encoder, self.options.text_weights)

    def learn_from_expressions(self, expressions: Sequence[str]) -> None:
        """RED finds its dictionary in the training expressions."""
        if self.options.red:
            self.deconfounder.learn(expressions, self.options.clip)

    def frozen_image_features(self, images: torch.Tensor) -> torch.Tensor | None:
        """The maps of a frozen backbone."""
        return self.image_backbone(images) if self.options.backbone == FROZEN else None

    def image_features(self, batch: Batch) -> torch.Tensor:
        """The backbone's maps (B, C, h, w), computed where the batch does not have them."""
        return self.image_backbone(batch.images) if batch.features is None else batch.features

    def condition(
        self, image_tokens: torch.Tensor, text_tokens: torch.Tensor, features: torch.Tensor, batch: Batch,
        text_features: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
        """Tokens of image and text with what the optional parts add to them.

        Args:
            image_tokens: (N, V, D), of each expression's image.
            text_tokens: (N, L, D).
            features: (B, C, h, w), of :meth:`image_features`.
            batch: B images and N expressions.
            text_features: (N, L, C), the text encoder's.
        """
        if self.options.backbone == FROZEN:
            image_tokens = image_tokens + self.fit(features[batch.image_of], batch.tokens, text_features)
        return image_tokens, self.deconfounder(text_tokens) if self.options.red else text_tokens

    def point_logits(self, layers: list[torch.Tensor]) -> list[torch.Tensor]:
        """Logits (N, V) of the image tokens (N, V, D) after every layer; none where there is no head for them."""
        return [self.point_embed(x)[..., 0] for x in layers] if self.options.point_loss else []
