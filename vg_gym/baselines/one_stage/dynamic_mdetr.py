"""Dynamic MDETR (Shi et al., TPAMI 2023) over a ResNet and BERT.

Parameter names are those of the published checkpoints.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from vg_gym.baselines.one_stage.box_regression import Regression
from vg_gym.baselines.one_stage.stages import SamplingStages, StageOptions
from vg_gym.baselines.one_stage.transformer import Encoder, EncoderOnly
from vg_gym.baselines.one_stage.transvg import TransVGOptions, TwoBranches
from vg_gym.learned.batch import Batch


@dataclass
class DynamicMDETROptions(StageOptions, TransVGOptions):
    """Options of Dynamic MDETR; the defaults are those of the published ResNet-50 model for RefCOCOg."""

    backbone: str = "resnet50"
    """``resnet50``, ``resnet101``, or ``frozen`` (stride 16)."""
    joint_layers: int = 3
    """Number of layers of the encoder over image and text, before the stages."""
    stage_loss: bool = False
    """Supervise the box of every stage; the published models supervise only the last one."""


class DynamicMDETR(SamplingStages, TwoBranches):
    """Dynamic MDETR over a ResNet and BERT."""

    Options = DynamicMDETROptions
    QUERY = "sampling"
    shared_parts = {**TwoBranches.shared_parts, "vl_encoder.encoder.": "joint encoder"}

    def __init__(self, options: DynamicMDETROptions):
        super().__init__(options)
        o, dim = options, options.vl_sizes.dim
        self.vl_pos_embed = nn.Embedding(self.image_token_count + o.max_tokens, dim)
        self.vl_encoder = EncoderOnly(Encoder(o.vl_sizes, o.joint_layers))
        self.add_stages(o.vl_sizes)
        if o.point_loss:
            self.point_embed = nn.Linear(dim, 1)

    @property
    def image_rows(self) -> slice:
        """Rows of ``vl_pos_embed`` that belong to image tokens."""
        return slice(0, self.image_token_count)

    def regress(self, batch: Batch) -> Regression:
        """Return the supervised boxes and the point logits of the joint encoder's layers."""
        image_tokens, image_mask, text_tokens = self.branches(batch)
        text_mask = batch.tokens.padding_mask
        positions = self.vl_pos_embed.weight.expand(len(text_tokens), -1, -1)
        tokens, mask = torch.cat([image_tokens, text_tokens], 1), torch.cat([image_mask, text_mask], 1)
        layers = self.vl_encoder.encoder.layerwise(tokens, mask, positions)
        boxes = self.run_stages(layers[-1], positions, text_mask)
        point_logits = self.point_logits([x[:, : image_tokens.shape[1]] for x in layers])
        return Regression(boxes if self.options.stage_loss else boxes[-1:], point_logits, layers[-1], mask)
