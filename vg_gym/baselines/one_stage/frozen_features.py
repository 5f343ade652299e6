"""Input features of the small networks, from the frozen built-in CLIP and the frozen built-in detector.

CLIP's features describe what is where, in the joint space with texts. The detector's maps describe where objects end.
Both are computed once per image (:meth:`vg_gym.learned.model.GroundingModel.frozen_image_features`), and neither
network is saved with the trained one.
"""

from __future__ import annotations

from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from vg_gym.clip import ClipEncoder, load_clip
from vg_gym.errors import VGGymError
from vg_gym.learned.batch import IMAGENET
from vg_gym.learned.frozen_clip import FrozenClip, SimilarityMaps
from vg_gym.learned.tokenization import Tokens

DETECTOR_CHANNELS = 48 * 4 + 96 + 160
"""Channels of the detector's concatenated maps."""
STRIDE = 16
"""Stride of all maps in pixels."""
NEAREST_SOFTNESS = 0.03
"""Softness of the minimum of distances, in sides of the image."""


@lru_cache(maxsize=1)
def _detector() -> Any:
    """Load the backbone of the built-in detector in eval mode."""
    from vg_gym.baselines.detectors.detr_backbone import load_backbone

    return load_backbone("refshapes").requires_grad_(False)


def patches_per_cell(encoder: ClipEncoder) -> int:
    """Return the number of CLIP's patches along a side of a cell of the maps, 2 for patches of 8 pixels.

    Raises:
        VGGymError: the patches do not divide a cell.
    """
    patch = encoder.image_size // encoder.grid
    if STRIDE % patch:
        raise VGGymError(f"options.backbone=frozen needs patches of 8 or {STRIDE} pixels; CLIP {encoder.name}: {patch}")
    return STRIDE // patch


class FrozenFeatures(nn.Module):
    """Network of maps with stride 16: CLIP's patches in blocks, then the detector's maps of strides 8, 16, 32.

    Args:
        clip: name of a ViT CLIP with patches of 8 or 16 pixels.

    Raises:
        VGGymError: the CLIP has other patches.
    """

    def __init__(self, clip: str):
        super().__init__()
        self.clip = FrozenClip(clip)
        self.block = patches_per_cell(self.clip.encoder)
        self.channels = self.block**2 * self.clip.encoder.dim + DETECTOR_CHANNELS

    @torch.no_grad()
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return maps (B, C, S / 16, S / 16) of images (B, 3, S, S) normalised by ImageNet's statistics."""
        mean, std = (torch.tensor(v, device=images.device).view(1, 3, 1, 1) for v in IMAGENET)
        pixels = images * std + mean
        dense = self.clip.encode_dense(self.clip.on(images.device).normalize(pixels))
        meaning = F.pixel_unshuffle(F.normalize(dense, dim=1), self.block) * dense.shape[1] ** 0.5
        fine, middle, coarse = _detector().to(images.device)(pixels)
        height, width = middle.shape[-2:]
        detail = [F.pixel_unshuffle(fine, 2), middle, F.interpolate(coarse, size=(height, width))]
        return torch.cat([meaning, *detail], dim=1)


class FrozenText(nn.Module):
    """Text encoder of a CLIP's token features, with the interface of transformers' text encoders."""

    def __init__(self, clip: str):
        super().__init__()
        self.clip = FrozenClip(clip)
        self.config = SimpleNamespace(hidden_size=self.clip.encoder.dim)

    def forward(self, ids: torch.Tensor, **_: Any) -> SimpleNamespace:
        """Return features (N, L, D) of ids (N, L) as ``last_hidden_state``, zero after the longest text."""
        tokens, _mask = self.clip.encode_tokens(ids)
        features = F.pad(tokens, (0, 0, 0, ids.shape[1] - tokens.shape[1])) * tokens.shape[-1] ** 0.5
        return SimpleNamespace(last_hidden_state=features, hidden_states=[features])


def init_in_joint_space(image_projection: nn.Conv2d, text_projection: nn.Linear) -> None:
    """Initialise projections so that image and text tokens start in CLIP's joint space.

    Projections start as the identity if the widths agree; otherwise they stay random.

    Args:
        image_projection: 1 x 1 projection of :class:`FrozenFeatures`.
        text_projection: projection of :class:`FrozenText`.
    """
    dim = text_projection.out_features
    patches, rest = divmod(image_projection.in_channels - DETECTOR_CHANNELS, dim)
    if (text_projection.in_features, image_projection.out_channels, rest) == (dim, dim, 0):
        with torch.no_grad():
            text_projection.weight.copy_(torch.eye(dim))
            text_projection.bias.zero_()
            identity = torch.eye(dim).repeat_interleave(patches, dim=1)[..., None, None]
            image_projection.weight[:, : patches * dim] = identity / patches


class TextImageSimilarity(nn.Module):
    """Addition to image tokens from the similarity of each patch to the expression (:class:`SimilarityMaps`).

    Args:
        clip: name of the CLIP.
        dim: width of the tokens.
        phrases: add the similarity to the head and to the anchor alone (:mod:`vg_gym.language.parsing`). CLIP knows
            what "the blue heart" looks like, but not where "left of the blue heart" is.
        offsets: add each token's distance from the likely place of the anchor, also relative to the nearest patch that
            looks like the head. Without it, "nearest to" remains a guess.
        maps: number of weightings of each similarity.
    """

    def __init__(self, clip: str, dim: int, phrases: bool = False, offsets: bool = False, maps: int = 16):
        super().__init__()
        encoder = load_clip(clip)
        self.width, self.scale, self.phrases = encoder.dim, encoder.logit_scale, phrases
        self.block = patches_per_cell(encoder)
        self.matching = nn.ModuleList(SimilarityMaps(self.width, maps) for _ in range(3 if phrases else 1))
        self.enter = nn.Linear(self.block**2 * maps * len(self.matching), dim)
        self.offset = nn.Linear(6, dim) if offsets else None
        if self.offset is not None:
            nn.init.zeros_(self.offset.weight)
            nn.init.zeros_(self.offset.bias)

    def forward(self, features: torch.Tensor, tokens: Tokens, text_features: torch.Tensor) -> torch.Tensor:
        """Return the addition to the image tokens, (N, h * w, dim).

        Args:
            features: maps of :class:`FrozenFeatures`, (N, C, h, w).
            tokens: tokens of N expressions.
            text_features: features of the tokens by :class:`FrozenText`, (N, L, D).
        """
        assert tokens.phrases is not None
        dense = F.pixel_shuffle(features[:, : self.block**2 * self.width], self.block)
        texts = [sentence_features(tokens, text_features)]
        if self.phrases:
            texts += tokens.phrases.unbind(1)
        maps = torch.cat([similar(dense, text) for similar, text in zip(self.matching, texts, strict=True)], dim=1)
        similarity = self.enter(F.pixel_unshuffle(maps, self.block).flatten(2).transpose(1, 2))
        if self.offset is None:
            return similarity
        heads, anchors = tokens.phrases.unbind(1)
        return similarity + self.offset(anchor_offsets(dense, heads, anchors, self.scale, self.block))


def sentence_features(tokens: Tokens, text_features: torch.Tensor) -> torch.Tensor:
    """Return CLIP's unit embeddings (N, D) of expressions: the features of their last tokens among (N, L, D)."""
    rows = torch.arange(len(text_features))
    return F.normalize(text_features[rows, tokens.ids.argmax(-1)], dim=-1)


def anchor_offsets(
    dense: torch.Tensor, heads: torch.Tensor, anchors: torch.Tensor, scale: float, block: int = 2
) -> torch.Tensor:
    """Return offsets of tokens from the likely place of the anchor, (N, h / b * w / b, 6), zero without an anchor.

    The six values are the offsets to the right and down, the distance, its logarithm, the distance minus that of the
    nearest patch that looks like the head, and 1. The place of the anchor is the mean of all patches, weighted by the
    softmax of CLIP over their 3 x 3 neighbourhoods.

    Args:
        dense: CLIP's features (N, D, h, w).
        heads: unit embeddings of the head phrases, (N, D).
        anchors: unit embeddings of the anchor phrases, (N, D); zero for an expression without an anchor.
        scale: inverse temperature of the softmax.
        block: number of patches along a side of a token, b.
    """
    around = F.normalize(F.avg_pool2d(dense, 3, stride=1, padding=1, count_include_pad=False), dim=1).flatten(2)
    head_logits, anchor_logits = (scale * (text[:, None] @ around)[:, 0] for text in (heads, anchors))
    height, width = dense.shape[2:]
    patches = _centers(height, width, dense.device)
    place = (anchor_logits.softmax(-1) @ patches)[:, None]
    like_anchor = (anchor_logits - anchor_logits.amax(-1, keepdim=True)).exp()
    like_head = 2 * (head_logits - head_logits.amax(-1, keepdim=True)) + (1 - like_anchor).clamp(min=1e-4).log()
    nearest = (
        -NEAREST_SOFTNESS * (like_head - (patches - place).norm(dim=-1) / NEAREST_SOFTNESS).logsumexp(-1)[:, None, None]
    )
    away = _centers(height // block, width // block, dense.device) - place
    distance = away.norm(dim=-1, keepdim=True)
    offsets = [away, distance, (distance + 0.05).log(), distance - nearest, torch.ones_like(distance)]
    return torch.cat(offsets, dim=-1) * (anchors.abs().sum(-1) > 0)[:, None, None]


def _centers(height: int, width: int, device: torch.device) -> torch.Tensor:
    """Return (x, y) of the centres of a map's cells in [0, 1], in row order, (height * width, 2)."""
    y, x = ((torch.arange(n, device=device) + 0.5) / n for n in (height, width))
    return torch.cartesian_prod(y, x).flip(1)
