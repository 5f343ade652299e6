"""Dynamic MDETR over CLIP's ViT and text transformer, the second published variant.

It differs from the ResNet variant. It omits the visual encoder, the mask (the border of the canvas counts like any
pixel) and the projections, so everything has CLIP's width. The tokens of a text do not include its start and end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import open_clip
import torch
from torch import nn

from vg_gym.baselines.one_stage.box_regression import BoxRegressor, Regression
from vg_gym.baselines.one_stage.stages import SamplingStages, StageOptions
from vg_gym.baselines.one_stage.transformer import MLP, Encoder, EncoderOnly, LayerSizes
from vg_gym.clip import load_clip
from vg_gym.clip.towers import dense_tokens, resize_positions, text_tokens
from vg_gym.errors import VGGymError
from vg_gym.learned.batch import Batch, Canvas
from vg_gym.learned.tokenization import Tokens
from vg_gym.learned.weights import load_strictly


@dataclass
class DynamicMDETRClipOptions(StageOptions):
    """Options of Dynamic MDETR over a CLIP; the defaults are those of the published ViT-B/16 variant."""

    clip: dict[str, Any] = field(default_factory=lambda: open_clip.get_model_config("ViT-B-16-quickgelu"))
    """open_clip config of the CLIP. All layers have its width; its image size is replaced by ``image_size``."""
    clip_weights: str | None = "ViT-B-16-quickgelu:openai"
    """CLIP of the same sizes whose weights start the training, or null."""
    image_size: int = 640
    """Side of the square canvas in pixels."""
    heads: int = 8
    """Number of attention heads outside the CLIP."""
    feedforward: int = 2048
    """Width of the hidden layers outside the CLIP."""
    joint_layers: int = 3
    """Number of layers of the encoder over image and text, before the stages."""
    dropout: float = 0.1
    """Dropout probability in all layers outside the CLIP."""
    max_tokens: int = 40
    """Number of tokens of an expression between start and end."""

    @property
    def dim(self) -> int:
        """Width of CLIP's embeddings."""
        return self.clip["embed_dim"]

    @property
    def vl_sizes(self) -> LayerSizes:
        """Sizes of the layers over image and text."""
        return LayerSizes(self.dim, self.heads, self.feedforward, self.dropout)


class DynamicMDETRClip(SamplingStages, BoxRegressor):
    """Dynamic MDETR over a CLIP."""

    Options = DynamicMDETRClipOptions
    QUERY = "content"
    pretrained_prefixes = ("clip",)

    def __init__(self, options: DynamicMDETRClipOptions):
        super().__init__(options)
        o = options
        self.canvas = Canvas("letterbox", o.image_size)
        vision = {**o.clip["vision_cfg"], "image_size": o.image_size}
        quick_gelu = o.clip.get("quick_gelu", False)
        self.clip = open_clip.model.CLIP(o.dim, vision, o.clip["text_cfg"], quick_gelu=quick_gelu)  # type: ignore[arg-type]
        self.clip.logit_scale.requires_grad_(False)
        image_tokens = (o.image_size // vision["patch_size"]) ** 2
        self.vl_pos_embed = nn.Embedding(image_tokens + o.max_tokens, o.dim)
        self.vl_encoder = EncoderOnly(Encoder(o.vl_sizes, o.joint_layers))
        self.bbox_embed = MLP([o.dim, o.dim, o.dim, 4])
        self.add_stages(o.vl_sizes)
        self._tokenizer = open_clip.SimpleTokenizer(context_length=o.clip["text_cfg"]["context_length"])

    def init_weights(self) -> None:
        """Start from the published CLIP with its positions enlarged to the canvas.

        Raises:
            VGGymError: the weights need another activation than the config, or other sizes.
        """
        if self.options.clip_weights:
            start = load_clip(self.options.clip_weights)
            needed, built = (bool((config or {}).get("quick_gelu")) for config in (start.config, self.options.clip))
            if needed != built:
                raise VGGymError(
                    f"clip_weights={start.name} were trained with quick_gelu={needed}, and the network has {built}; "
                    f"give options.clip.quick_gelu={str(needed).lower()}"
                )
            state = start.model.state_dict()
            key, side = "visual.positional_embedding", round((len(self.clip.visual.positional_embedding) - 1) ** 0.5)
            positions = resize_positions(state[key], (side, side))
            load_strictly(self.clip, {**state, key: positions}, self.options.clip_weights)

    def tokenize(self, texts: Sequence[str]) -> Tokens:  # type: ignore[override]
        """Convert expressions to CLIP's tokens; tokens after the end token are padding."""
        ids = self._tokenizer(list(texts))
        padding_mask = torch.arange(ids.shape[1]) > ids.argmax(-1, keepdim=True)
        return Tokens(ids, padding_mask, ~padding_mask)

    def encode_text(self, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return token features between start and end (N, L, D), zero after the end, and their padding mask (N, L)."""
        features, _ = text_tokens(self.clip, ids)
        length = self.options.max_tokens
        padding_mask = torch.arange(length, device=ids.device) >= ids.argmax(-1, keepdim=True) - 1
        tokens = features[:, 1 : length + 1]
        tokens = nn.functional.pad(tokens, (0, 0, 0, length - tokens.shape[1]))
        return tokens.masked_fill(padding_mask[..., None], 0.0), padding_mask

    def regress(self, batch: Batch) -> Regression:
        """Return the box of the last stage, the only supervised one; point logits do not exist in this variant."""
        image_tokens = dense_tokens(self.clip.visual, batch.images, "tokens").flatten(1, 2)[batch.image_of]
        tokens, text_mask = self.encode_text(batch.tokens.ids)
        mask = torch.cat([text_mask.new_zeros(image_tokens.shape[:2]), text_mask], dim=1)
        positions = self.vl_pos_embed.weight.expand(len(tokens), -1, -1)
        joint = self.vl_encoder.encoder(torch.cat([image_tokens, tokens], dim=1), mask, positions)
        return Regression(self.run_stages(joint, positions, text_mask)[-1:], [], joint, mask)
