"""Region-based attention pooling: one embedding per segment of an image, from one pass through CLIP.

Li et al., "Adapting CLIP For Phrase Localization Without Further Training" (2022): copies of the class token, one per
region, attend to the patches of their own region and to themselves only. Patches never see them, so that the
embedding of a region does not depend on which other regions are asked for.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from open_clip.modified_resnet import ModifiedResNet
from open_clip.transformer import VisionTransformer

from vg_gym.clip.crops import resize
from vg_gym.clip.dense import l2_normalize
from vg_gym.clip.encoder import ClipEncoder
from vg_gym.clip.towers import resize_positions
from vg_gym.errors import VGGymError

OUTSIDE = -100.0
"""Attention bias of what lies outside a region; finite, as published."""


def encode_segments(clip: ClipEncoder, image: np.ndarray, masks: np.ndarray, upsample: int = 2) -> np.ndarray:
    """Unit-length embeddings (R, D) float32 of the segments of one image.

    Args:
        clip: whose image tower is a ViT or a CLIP ResNet.
        image: uint8 (H, W, 3); squashed to the model's image size.
        masks: bool (R, h, w), squashed alike; may overlap.
        upsample: as in :func:`pool_regions`.

    Raises:
        VGGymError: as :func:`pool_regions`.
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
    """Embeddings of regions (B, R, D), not unit length.

    Args:
        visual: image tower of open_clip: a ViT with a class token, or a CLIP ResNet.
        pixels: normalised (B, 3, H, W), any size; positions are enlarged where it is not the model's own.
        masks: bool (B, R, h, w), any size; may overlap. A region that vanishes on the patch grid sees only itself.
        upsample: patches per patch side: a ViT's stride is divided by it, a ResNet is shown an enlarged image.
        start_block: the block before which the class token is copied (ViT only).
        padding: pixels of zeros around the image (ViT only); default, as published, (patch - 1) // 2, also where
            ``upsample`` is 1, which moves the patches by so much. With 0 the region that covers the whole image
            has the very embedding that CLIP gives the image.

    Raises:
        VGGymError: the tower is of another kind, or ``upsample`` does not divide its patch.
    """
    if isinstance(visual, ModifiedResNet):
        return _resnet_regions(visual, pixels, masks, upsample)
    if not isinstance(visual, VisionTransformer):
        raise VGGymError(f"no region attention in a {type(visual).__name__}; use a ViT or ResNet CLIP such as ViT-B-32")
    if visual.pool_type != "tok" or visual.attn_pool is not None:
        raise VGGymError(
            "region attention copies the class token, and this ViT pools otherwise; use one such as ViT-B-32"
        )
    return _vit_regions(visual, pixels, masks, upsample, start_block, padding)


def _vit_regions(
    visual: Any, pixels: torch.Tensor, masks: torch.Tensor, upsample: int, start: int, padding: int | None
) -> torch.Tensor:
    x, grid = _tokens(visual, pixels, upsample, padding)
    blocks = visual.transformer.resblocks
    for block in blocks[:start]:
        x = block(x)
    own = x.shape[1]
    x = torch.cat([x, x[:, :1].expand(-1, masks.shape[1], -1)], dim=1)
    bias = _sequence_bias(attention_bias(masks, grid)).to(x.dtype)
    bias = bias[0] if len(bias) == 1 else bias.repeat_interleave(blocks[0].attn.num_heads, dim=0)
    for block in blocks[start:]:
        x = block(x, attn_mask=bias)
    regions = visual.ln_post(x[:, own:])
    return regions if visual.proj is None else regions @ visual.proj


def _tokens(
    visual: Any, pixels: torch.Tensor, upsample: int, padding: int | None
) -> tuple[torch.Tensor, tuple[int, int]]:
    """Class token and patch tokens (B, 1+h*w, W), normed and with positions, and the grid (h, w)."""
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
    """What regions may attend to (B, R, h*w+R): 0 for their own patches and themselves, :data:`OUTSIDE` elsewhere.

    Args:
        masks: bool (B, R, H, W).
        grid: (h, w), patches; masks are sampled at the nearest pixel.
    """
    count = masks.shape[1]
    small = F.interpolate(masks.float(), size=grid, mode="nearest").flatten(2) > 0
    itself = torch.eye(count, dtype=torch.bool, device=masks.device).expand(len(masks), -1, -1)
    return torch.where(torch.cat([small, itself], dim=2), 0.0, OUTSIDE)


def _sequence_bias(bias: torch.Tensor) -> torch.Tensor:
    """The bias (B, L, L) of a whole sequence of class token, P patches and R regions, from that (B, R, P+R) of regions.

    Regions do not attend to the class token they are copied from, and no other token attends to a region.
    """
    batch, count, length = bias.shape
    whole = bias.new_zeros(batch, 1 + length, 1 + length)
    whole[:, :-count, -count:] = float("-inf")
    whole[:, -count:, 0] = float("-inf")
    whole[:, -count:, 1:] = bias
    return whole


def _resnet_regions(visual: Any, pixels: torch.Tensor, masks: torch.Tensor, upsample: int) -> torch.Tensor:
    """Attention pool per region: the query is the region's mean feature, its keys are its own cells and itself."""
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
    """What the heads of CLIP's pool read (B, R, W): queries (B, R, W), tokens (B, N, W), bias (B, R, N)."""

    def heads(x: torch.Tensor) -> torch.Tensor:
        return x.unflatten(2, (pool.num_heads, -1)).transpose(1, 2)

    q, k, v = heads(pool.q_proj(queries)), heads(pool.k_proj(tokens)), heads(pool.v_proj(tokens))
    mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bias[:, None])
    return mixed.transpose(1, 2).flatten(2)
