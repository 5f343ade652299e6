"""Dynamic MDETR over CLIP's ViT and text transformer, the second published variant.

Differences to the ResNet variant: no visual encoder, no mask (the border of the canvas is seen like any pixel), no
projections, so that everything has CLIP's width; start and end of a text are not among its tokens.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import open_clip
import torch
from torch import nn

from vg_gym.baselines.one_stage.dynamic_mdetr import add_stages, run_stages
from vg_gym.baselines.one_stage.transformer import MLP, Encoder, EncoderOnly
from vg_gym.baselines.one_stage.transvg import BoxRegressor
from vg_gym.clip import load_clip
from vg_gym.clip.towers import dense_tokens, resize_positions, text_tokens
from vg_gym.learned.batch import Batch, Canvas
from vg_gym.learned.model import load_strictly
from vg_gym.learned.tokenization import Tokens


@dataclass
class DynamicMDETRClipOptions:
    """Sizes; the defaults are those of the published ViT-B/16 variant."""

    clip: dict[str, Any] = field(default_factory=lambda: open_clip.get_model_config("ViT-B-16-quickgelu"))
    """open_clip's config of the CLIP; its width is that of all layers. Its image size is replaced."""
    image_size: int = 640
    heads: int = 8
    feedforward: int = 2048
    joint_layers: int = 3
    stages: int = 3
    points: int = 36
    stage_layers: int = 1
    uniform_grid: bool = False
    shared_stages: bool = False
    dropout: float = 0.1
    clip_weights: str | None = "ViT-B-16-quickgelu:openai"
    """The CLIP of the same sizes that training starts from, or null."""
    max_tokens: int = 40
    """Tokens of an expression between start and end."""

    @property
    def dim(self) -> int:
        """CLIP's embedding size."""
        return self.clip["embed_dim"]


class DynamicMDETRClip(BoxRegressor):
    """Dynamic MDETR over a CLIP."""

    Options = DynamicMDETRClipOptions
    slow = ("clip",)

    def __init__(self, options: DynamicMDETRClipOptions):
        super().__init__(options)
        o = options
        self.canvas = Canvas("letterbox", o.image_size)
        vision = {**o.clip["vision_cfg"], "image_size": o.image_size}
        self.clip = open_clip.model.CLIP(
            o.dim,
            vision,
            o.clip["text_cfg"],
            quick_gelu=o.clip.get("quick_gelu", False),  # type: ignore[arg-type]
        )
        self.clip.logit_scale.requires_grad_(False)
        visual = (o.image_size // vision["patch_size"]) ** 2
        self.vl_pos_embed = nn.Embedding(visual + o.max_tokens, o.dim)
        self.vl_encoder = EncoderOnly(Encoder(o.dim, o.heads, o.feedforward, o.joint_layers, o.dropout))
        self.bbox_embed = MLP([o.dim, o.dim, o.dim, 4])
        add_stages(self, o, "update_content_queries", "init_content_feature")
        self._tokenizer = open_clip.SimpleTokenizer(context_length=o.clip["text_cfg"]["context_length"])

    def start(self) -> None:
        """CLIP starts as published, its positions enlarged to the canvas."""
        if self.options.clip_weights:
            state = load_clip(self.options.clip_weights).model.state_dict()
            key, side = "visual.positional_embedding", round((len(self.clip.visual.positional_embedding) - 1) ** 0.5)
            positions = resize_positions(state[key], (side, side))
            load_strictly(self.clip, {**state, key: positions}, self.options.clip_weights)

    def tokenize(self, texts) -> Tokens:
        """Expressions as CLIP's tokens; padding is what is beyond the end token."""
        ids = self._tokenizer(list(texts))
        padding = torch.arange(ids.shape[1]) > ids.argmax(-1, keepdim=True)
        return Tokens(ids, padding, ~padding)

    def read(self, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Token features (N, L, D) between start and end, zero beyond, and their padding (N, L)."""
        features, _ = text_tokens(self.clip, ids)
        length = self.options.max_tokens
        padding = torch.arange(length, device=ids.device) >= ids.argmax(-1, keepdim=True) - 1
        words = features[:, 1 : length + 1]
        words = nn.functional.pad(words, (0, 0, 0, length - words.shape[1]))
        return words.masked_fill(padding[..., None], 0.0), padding

    def forward(self, batch: Batch) -> torch.Tensor:
        """Boxes (N, 4) of the last stage, centre and size normalised by the canvas."""
        seen = dense_tokens(self.clip.visual, batch.images, "tokens").flatten(1, 2)[batch.image_of]
        words, unread = self.read(batch.tokens.ids)
        padding = torch.cat([unread.new_zeros(seen.shape[:2]), unread], dim=1)
        places = self.vl_pos_embed.weight.expand(len(words), -1, -1)
        joint = self.vl_encoder.encoder(torch.cat([seen, words], dim=1), padding, places)
        return run_stages(self, joint, places, unread)[-1]
