"""Region-based attention pooling: one embedding per segment of an image, from one pass through CLIP.

Copies of the class token, one per region, attend only to the patches of their region and to themselves (Li et al.,
"Adapting CLIP For Phrase Localization Without Further Training", 2022). Patches do not attend to the copies, so the
embedding of a region does not depend on the other regions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from open_clip.modified_resnet import ModifiedResNet
from open_clip.transformer import VisionTransformer

from vg_gym.clip.crops import resize
from vg_gym.clip.encoder import ClipEncoder
from vg_gym.clip.region_features import l2_normalize
from vg_gym.clip.towers import resize_positions
from vg_gym.errors import VGGymError

OUTSIDE_BIAS = -100.0
"""Attention bias (logits) of patches outside a region; finite, as published."""


def encode_segments(clip: ClipEncoder, image: np.ndarray, masks: np.ndarray, upsample: int = 2) -> np.ndarray:
    """Return the unit embeddings of the segments of one image, float32 (R, D).

    Args:
        clip: encoder with a ViT or a CLIP ResNet as its image tower.
        image: uint8 image (H, W, 3), squashed to the model's image size.
        masks: masks of the segments, bool (R, h, w), squashed like the image; they may overlap.
        upsample: see :func:`pool_regions`.

    Raises:
        VGGymError: see :func:`pool_regions`.
    """
    if not len(masks):
        return np.zeros((0, clip.dim), dtype=np.float32)
    pixels = clip.pixels(np.stack([resize(image, clip.image_size, clip.interpolation)]))
    with torch.inference_mode():
        regions = torch.from_numpy(np.ascontiguousarray(masks))[None].to(clip.device)
        embedded = pool_regions(clip.model.visual, pixels, regions, upsample)
    return l2_normalize(embedded[0].float().cpu().numpy())


def pool_regions(
    visual: Any,
    pixels: torch.Tensor,
    masks: torch.Tensor,
    upsample: int = 1,
    start_block: int = 0,
    padding: int | None = None,
) -> torch.Tensor:
    """Return embeddings of regions (B, R, D), which do not have unit length.

    Args:
        visual: image tower of open_clip, a ViT with a class token or a CLIP ResNet.
        pixels: normalised images (B, 3, H, W) of any size; positions are interpolated if it is not the model's size.
        masks: masks of the regions, bool (B, R, h, w), of any size; they may overlap. A region that vanishes on the
            patch grid attends only to itself.
        upsample: patches per patch side; a ViT's stride is divided by it, and a ResNet's image is enlarged by it.
        start_block: block before which the class token is copied (ViT only).
        padding: pixels of zeros around the image (ViT only). The default is the published (patch - 1) // 2, which
            shifts the patches even if ``upsample`` is 1. With 0 the region that covers the whole image has CLIP's
            embedding of the image.

    Raises:
        VGGymError: the tower is of another kind, or ``upsample`` does not divide its patch.
    """
    if isinstance(visual, ModifiedResNet):
        return _resnet_regions(visual, pixels, masks, upsample)
    if not isinstance(visual, VisionTransformer):
        raise VGGymError(
            f"region attention does not support a {type(visual).__name__}; use a ViT or ResNet CLIP such as ViT-B-32"
        )
    if visual.pool_type != "tok" or visual.attn_pool is not None:
        raise VGGymError("region attention copies the class token, but this ViT does not pool by it; use e.g. ViT-B-32")
    return _vit_regions(visual, pixels, masks, upsample, start_block, padding)


def _vit_regions(
    visual: Any, pixels: torch.Tensor, masks: torch.Tensor, upsample: int, start: int, padding: int | None
) -> torch.Tensor:
    x, grid = _tokens(visual, pixels, upsample, padding)
    blocks = visual.transformer.resblocks
    for block in blocks[:start]:
        x = block(x)
    image_tokens = x.shape[1]
    x = torch.cat([x, x[:, :1].expand(-1, masks.shape[1], -1)], dim=1)
    bias = _sequence_bias(attention_bias(masks, grid)).to(x.dtype)
    bias = bias[0] if len(bias) == 1 else bias.repeat_interleave(blocks[0].attn.num_heads, dim=0)
    for block in blocks[start:]:
        x = block(x, attn_mask=bias)
    regions = visual.ln_post(x[:, image_tokens:])
    return regions if visual.proj is None else regions @ visual.proj


def _tokens(
    visual: Any, pixels: torch.Tensor, upsample: int, padding: int | None
) -> tuple[torch.Tensor, tuple[int, int]]:
    """Return class token and patch tokens with positions, normalised, (B, 1+h*w, W), and the grid (h, w)."""
    patch = visual.patch_size
    if any(side % upsample for side in patch):
        raise VGGymError(f"upsample {upsample} does not divide the patch of {patch[0]} x {patch[1]} pixels")
    stride = [side // upsample for side in patch]
    around = [(side - 1) // 2 if padding is None else padding for side in patch]
    kernel = visual.conv1
    x = F.conv2d(pixels.to(kernel.weight.dtype), kernel.weight, kernel.bias, stride=stride, padding=around)
    grid = (x.shape[2], x.shape[3])
    head = visual.class_embedding.expand(len(x), 1, -1)
    x = torch.cat([head.to(x.dtype), x.flatten(2).transpose(1, 2)], dim=1)
    positions = resize_positions(visual.positional_embedding, grid, visual.grid_size, "bilinear")  # as published
    return visual.ln_pre(x + positions.to(x.dtype)), grid


def attention_bias(masks: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    """Return the attention bias of regions (B, R, h*w+R): 0 for their patches and themselves, else OUTSIDE_BIAS.

    Args:
        masks: masks of the regions, bool (B, R, H, W).
        grid: rows and columns of patches (h, w); masks are sampled at the nearest pixel.
    """
    count = masks.shape[1]
    small = F.interpolate(masks.float(), size=grid, mode="nearest").flatten(2) > 0
    itself = torch.eye(count, dtype=torch.bool, device=masks.device).expand(len(masks), -1, -1)
    return torch.where(torch.cat([small, itself], dim=2), 0.0, OUTSIDE_BIAS)


def _sequence_bias(bias: torch.Tensor) -> torch.Tensor:
    """Expand the bias of regions (B, R, P+R) to the sequence of class token, P patches and R regions (B, L, L).

    Regions do not attend to the class token, and no other token attends to a region.
    """
    batch, count, length = bias.shape
    whole = bias.new_zeros(batch, 1 + length, 1 + length)
    whole[:, :-count, -count:] = float("-inf")
    whole[:, -count:, 0] = float("-inf")
    whole[:, -count:, 1:] = bias
    return whole


def _resnet_regions(visual: Any, pixels: torch.Tensor, masks: torch.Tensor, upsample: int) -> torch.Tensor:
    """Pool each region by attention: its query is its mean feature, its keys are its cells and the query itself."""
    if upsample > 1:
        pixels = F.interpolate(pixels, scale_factor=upsample, mode="bicubic", align_corners=False)
    x = visual.stem(pixels)
    for layer in (visual.layer1, visual.layer2, visual.layer3, visual.layer4):
        x = layer(x)
    pool, grid = visual.attnpool, (x.shape[2], x.shape[3])
    bias = attention_bias(masks, grid).to(x.dtype)
    cells = x.flatten(2).transpose(1, 2)
    inside = (bias[..., : cells.shape[1]] == 0).to(x.dtype)
    means = inside @ cells / inside.sum(dim=2, keepdim=True).clamp(min=1)
    table = resize_positions(pool.positional_embedding, grid, mode="bilinear").to(x.dtype)
    queries = means + table[:1]
    return pool.c_proj(_attend(pool, queries, torch.cat([cells + table[1:], queries], dim=1), bias))


def _attend(pool: Any, queries: torch.Tensor, tokens: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Return the attended values (B, R, W) of CLIP's pool for queries (B, R, W), tokens (B, N, W), bias (B, R, N)."""

    def heads(x: torch.Tensor) -> torch.Tensor:
        return x.unflatten(2, (pool.num_heads, -1)).transpose(1, 2)

    q, k, v = heads(pool.q_proj(queries)), heads(pool.k_proj(tokens)), heads(pool.v_proj(tokens))
    mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bias[:, None])
    return mixed.transpose(1, 2).flatten(2)
