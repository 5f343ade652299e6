"""Functions that open_clip's towers lack: other image sizes, dense features, features of tokens and of words.

The encoder and the training share them, so both compute the same numbers.
"""

from __future__ import annotations

from typing import Any

from vg_gym.errors import VGGymError
from vg_gym.runtime.lazy_imports import torch


def _embed(visual: Any, pixels: torch.Tensor) -> torch.Tensor:
    """Return class token and patch tokens (B, 1+g*g, W) at any image size that the patch size divides."""
    model_grid, grid = visual.grid_size[0], pixels.shape[-1] // visual.patch_size[0]
    if model_grid == grid:
        return visual._embeds(pixels)
    x = visual.conv1(pixels).flatten(2).transpose(1, 2)
    positions = resize_positions(visual.positional_embedding, (grid, grid), antialias=True)
    head = visual.class_embedding.expand(len(x), 1, -1)
    return visual.ln_pre(torch.cat([head.to(x.dtype), x], dim=1) + positions.to(x.dtype))


def resize_positions(
    table: torch.Tensor,
    grid: tuple[int, int],
    own: tuple[int, int] | None = None,
    mode: str = "bicubic",
    antialias: bool = False,
) -> torch.Tensor:
    """Resize the positional embeddings of a ViT to another grid of patches, (1+h*w, W); the class token's row stays.

    Args:
        table: positional embeddings (1+n*m, W), the class token first, then row by row.
        grid: rows and columns (h, w) of the new grid.
        own: rows and columns (n, m) of the table's grid; default: a square.
        mode: ``bicubic`` or ``bilinear``.
        antialias: widen the kernel when the grid shrinks.
    """
    side = round((len(table) - 1) ** 0.5)
    table_grid = own or (side, side)
    if tuple(table_grid) == tuple(grid):
        return table
    patches = table[1:].T.reshape(1, -1, *table_grid)
    patches = torch.nn.functional.interpolate(patches, size=grid, mode=mode, antialias=antialias, align_corners=False)
    return torch.cat([table[:1], patches.flatten(2)[0].T])


def embed_image(visual: Any, pixels: torch.Tensor) -> torch.Tensor:
    """Return global embeddings (B, D) of normalised pixels (B, 3, S, S), which do not have unit length."""
    from open_clip.transformer import VisionTransformer

    if not isinstance(visual, VisionTransformer):
        return visual(pixels)
    pooled, _ = visual._pool(visual.transformer(_embed(visual, pixels)))
    return pooled @ visual.proj


def dense_tokens(visual: Any, pixels: torch.Tensor, mode: str) -> torch.Tensor:
    """Return dense features (B, g, g, D) in the joint space; :class:`~vg_gym.clip.encoder.ClipEncoder` has the modes.

    Raises:
        VGGymError: the image tower is neither a ViT nor a CLIP ResNet, or it pools its tokens by attention.
    """
    from open_clip.modified_resnet import ModifiedResNet
    from open_clip.transformer import VisionTransformer

    if isinstance(visual, VisionTransformer) and visual.attn_pool is None:
        x = _embed(visual, pixels)
        x = visual.transformer(x) if mode == "tokens" else _last_values(visual, x)
        tokens = visual.ln_post(x)[:, 1:] @ visual.proj
        grid = pixels.shape[-1] // visual.patch_size[0]
        return tokens.reshape(len(pixels), grid, grid, -1)
    if isinstance(visual, ModifiedResNet):
        return _resnet_values(visual, pixels)
    raise VGGymError(
        f"no dense features from a {type(visual).__name__}; use scoring='crop', or a ViT or ResNet CLIP such as "
        "ViT-B-32 or RN50"
    )


def _last_values(visual: Any, x: torch.Tensor) -> torch.Tensor:
    """Return the tokens after the last block with its attention replaced by the value projection (MaskCLIP)."""
    for block in visual.transformer.resblocks[:-1]:
        x = block(x)
    block = visual.transformer.resblocks[-1]
    width = x.shape[-1]
    attention, normed = block.attn, block.ln_1(x)
    weight, bias = attention.in_proj_weight[2 * width :], attention.in_proj_bias[2 * width :]
    values = torch.nn.functional.linear(normed, weight, bias)
    return attention.out_proj(values)


def _resnet_values(visual: Any, pixels: torch.Tensor) -> torch.Tensor:
    """Apply value and output projection of the attention pool to every cell (MaskCLIP)."""
    x = visual.stem(pixels)
    for layer in (visual.layer1, visual.layer2, visual.layer3, visual.layer4):
        x = layer(x)
    x = x.permute(0, 2, 3, 1)
    return visual.attnpool.c_proj(visual.attnpool.v_proj(x))


def text_tokens(model: Any, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return features of all text tokens in the joint space (B, L, D), and a mask (B, L) that is 1 up to the end token.

    Raises:
        VGGymError: the text tower is not open_clip's transformer, or does not end a text with the highest id.
    """
    text = _text_tower(model)
    dtype = text.transformer.get_cast_dtype()
    length = ids.shape[1]
    x = text.token_embedding(ids).to(dtype) + text.positional_embedding[:length].to(dtype)
    mask = None if text.attn_mask is None else text.attn_mask[:length, :length]
    x = _projected(text, text.transformer(x, attn_mask=mask))
    return x, is_read(ids).to(x.dtype)


def is_read(ids: torch.Tensor) -> torch.Tensor:
    """Return which positions of token ids (B, L) belong to a text, bool: all up to the end token, the highest id."""
    return torch.arange(ids.shape[1], device=ids.device) <= ids.argmax(dim=-1, keepdim=True)


def word_features(model: Any) -> torch.Tensor:
    """Return features of all ids of the vocabulary by themselves, without their neighbours, in the joint space (V, D).

    The transformer mixes the tokens of a text until each describes the text up to it. What a single word is can be read
    more easily from its embedding.

    Raises:
        VGGymError: see :func:`text_tokens`.
    """
    text = _text_tower(model)
    return _projected(text, text.token_embedding.weight.to(text.transformer.get_cast_dtype()))


def vocabulary_size(model: Any) -> int:
    """Return the number of ids of the vocabulary, V; raises errors as :func:`text_tokens` does."""
    return _text_tower(model).token_embedding.num_embeddings


def _text_tower(model: Any) -> Any:
    """Return the part of a model that encodes texts."""
    text = model if hasattr(model, "token_embedding") else model.text
    if not hasattr(text, "token_embedding"):
        raise VGGymError(f"no token features from a {type(text).__name__}; use one with open_clip's text transformer")
    pool = model.text_pool_type if text is model else text.pool_type
    if pool != "argmax" or getattr(text, "cls_emb", None) is not None:
        raise VGGymError("no token features from a text tower that does not pool the end token; use e.g. ViT-B-32")
    return text


def _projected(text: Any, x: torch.Tensor) -> torch.Tensor:
    """Normalise activations (..., W) of a text tower, and project them into the joint space (..., D)."""
    x, projection = text.ln_final(x), text.text_projection
    if projection is None:
        return x
    return projection(x) if isinstance(projection, torch.nn.Linear) else x @ projection
