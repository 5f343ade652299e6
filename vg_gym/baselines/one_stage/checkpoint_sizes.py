"""Options of a network from the shapes of the tensors in a published checkpoint.

Shapes do not tell the number of attention heads. The table of positions of TransVG and Dynamic MDETR has one row for
every text token and every cell of the image, so either ``max_tokens`` or ``image_size`` must be known. Without both,
the published image size is used.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import torch

from vg_gym.baselines.one_stage.mdetr import MDETROptions
from vg_gym.baselines.one_stage.transvg import TransVGOptions
from vg_gym.errors import VGGymError

State = dict[str, torch.Tensor]

HEAD_WIDTH = 64
"""Channels of an attention head in all published BERT, RoBERTa and CLIP models."""
ROBERTA_OFFSET = 2
"""Index of RoBERTa's first position."""
RESNETS = {(2, False): "resnet18", (6, False): "resnet34", (6, True): "resnet50", (23, True): "resnet101"}
"""ResNets by the number of blocks of the third stage, and True if blocks have three convolutions."""


def mdetr_sizes(state: State, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of the MDETR of a state dict."""
    text = _text_sizes(state, "transformer.text_encoder.")
    return {
        "backbone": _backbone(state, "backbone.0.body."),
        "dim": len(state["input_proj.weight"]),
        "feedforward": len(state["transformer.encoder.layers.0.linear1.bias"]),
        "encoder_layers": _count(state, "transformer.encoder.layers."),
        "decoder_layers": _count(state, "transformer.decoder.layers."),
        "queries": len(state["query_embed.weight"]),
        "contrastive": "transformer.CLS.weight" in state,
        "contrastive_dim": len(state["contrastive_align_projection_text.weight"]),
        "max_tokens": min(MDETROptions.max_tokens, text["max_position_embeddings"] - ROBERTA_OFFSET),
        "text": text,
    }


def transvg_sizes(state: State, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of the TransVG of a state dict."""
    return {
        **_branch_sizes(state),
        **_fusion_sizes(state, "vl_transformer.encoder.layers."),
        **_token_counts(len(state["vl_pos_embed.weight"]) - len(state["reg_token.weight"]), options),
    }


def dynamic_mdetr_sizes(state: State, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of the Dynamic MDETR, over a ResNet or a CLIP, of a state dict."""
    positions, joint = len(state["vl_pos_embed.weight"]), "vl_encoder.encoder.layers."
    if "clip.visual.proj" not in state:
        fusion, tokens = _fusion_sizes(state, joint), _token_counts(positions, options)
        return {**_branch_sizes(state), **fusion, **tokens, **_stage_sizes(state)}
    clip = _clip_sizes(state)
    image_size, patch_size = clip["vision_cfg"]["image_size"], clip["vision_cfg"]["patch_size"]
    return {
        "model": "dynamic-mdetr-clip",
        "clip": clip,
        "image_size": image_size,
        "max_tokens": positions - (image_size // patch_size) ** 2,
        "joint_layers": _count(state, joint),
        "feedforward": len(state[f"{joint}0.linear1.bias"]),
        **_stage_sizes(state),
    }


SIZE_READERS: dict[str, Callable[[State, Mapping[str, Any]], dict[str, Any]]] = {
    "mdetr": mdetr_sizes,
    "transvg": transvg_sizes,
    "dynamic-mdetr": dynamic_mdetr_sizes,
    "dynamic-mdetr-clip": dynamic_mdetr_sizes,
}
"""Functions from a state dict and known options to all options, by the name of a network with published weights."""


def _branch_sizes(state: State) -> dict[str, Any]:
    """Return the options of the image branch and the text branch of TransVG and Dynamic MDETR."""
    visual = "visumodel.transformer.encoder.layers."
    text = _text_sizes(state, "textmodel.bert.")
    sizes = {
        "backbone": _backbone(state, "visumodel.backbone.0.body."),
        "dim": len(state["visumodel.input_proj.weight"]),
        "visual_layers": _count(state, visual),
        "text": text,
        "text_layer": min(TransVGOptions.text_layer, text["num_hidden_layers"]),
    }
    if sizes["visual_layers"]:
        sizes["feedforward"] = len(state[f"{visual}0.linear1.bias"])
    return sizes


def _fusion_sizes(state: State, joint: str) -> dict[str, Any]:
    """Return the options of the encoder over image and text."""
    return {
        "vl_dim": len(state["visu_proj.weight"]),
        "vl_feedforward": len(state[f"{joint}0.linear1.bias"]),
        "joint_layers": _count(state, joint),
    }


def _stage_sizes(state: State) -> dict[str, Any]:
    shared = "vl_transformer.decoder.norm.weight" in state
    stage = "vl_transformer." if shared else "vl_transformer.0."
    return {
        "stages": _count(state, "offset_generators."),
        "points": len(state["offset_generators.0.bias"]) // 2,
        "uniform_grid": "initial_sampled_points" in state,
        "shared_stages": shared,
        "stage_encoder_layers": _count(state, f"{stage}encoder.layers."),
        "stage_decoder_layers": _count(state, f"{stage}decoder.layers."),
    }


def _token_counts(rows: int, options: Mapping[str, Any]) -> dict[str, int]:
    """Return ``max_tokens`` and ``image_size`` that together have ``rows`` positions.

    Raises:
        VGGymError: no such pair agrees with the known options.
    """
    stride = options.get("stride", TransVGOptions.stride)
    if "max_tokens" in options and "image_size" not in options:
        size = round(max(rows - options["max_tokens"], 0) ** 0.5) * stride
    else:
        size = options.get("image_size", TransVGOptions.image_size)
    tokens = rows - (size // stride) ** 2
    if tokens < 1 or tokens != options.get("max_tokens", tokens):
        raise VGGymError(
            f"the checkpoint has {rows} positions, which image_size={size} does not explain: give the "
            "image_size or the max_tokens that it was trained with"
        )
    return {"image_size": size, "max_tokens": tokens}


def _text_sizes(state: State, prefix: str) -> dict[str, int]:
    """Return the arguments of transformers' BertConfig or RobertaConfig."""
    table = {name: state[f"{prefix}embeddings.{name}_embeddings.weight"] for name in ("word", "position", "token_type")}
    width = table["word"].shape[1]
    return {
        "vocab_size": len(table["word"]),
        "hidden_size": width,
        "num_hidden_layers": _count(state, f"{prefix}encoder.layer."),
        "num_attention_heads": max(1, width // HEAD_WIDTH),
        "intermediate_size": len(state[f"{prefix}encoder.layer.0.intermediate.dense.bias"]),
        "max_position_embeddings": len(table["position"]),
        "type_vocab_size": len(table["token_type"]),
    }


def _clip_sizes(state: State) -> dict[str, Any]:
    """Return open_clip's config of a CLIP, with the activation of OpenAI's models, which shapes do not tell."""
    patches, grid = state["clip.visual.conv1.weight"], len(state["clip.visual.positional_embedding"]) - 1
    words, context = state["clip.token_embedding.weight"], state["clip.positional_embedding"]
    return {
        "embed_dim": state["clip.visual.proj"].shape[1],
        "quick_gelu": True,
        "vision_cfg": {
            "image_size": round(grid**0.5) * patches.shape[-1],
            "layers": _count(state, "clip.visual.transformer.resblocks."),
            "width": len(patches),
            "patch_size": patches.shape[-1],
        },
        "text_cfg": {
            "context_length": len(context),
            "vocab_size": len(words),
            "width": words.shape[1],
            "heads": max(1, words.shape[1] // HEAD_WIDTH),
            "layers": _count(state, "clip.transformer.resblocks."),
        },
    }


def _backbone(state: State, prefix: str) -> str:
    """Return the name of the backbone, which is identified by the blocks of its third stage."""
    if f"{prefix}conv_stem.weight" in state:
        return "efficientnet_b3"
    kind = (_count(state, f"{prefix}layer3."), f"{prefix}layer1.0.conv3.weight" in state)
    if kind not in RESNETS:
        raise KeyError(f"{prefix}* of a known backbone")
    return RESNETS[kind]


def _count(state: State, prefix: str) -> int:
    """Return the number of modules in a list, which is the number of different indices after the prefix."""
    return len({key[len(prefix) :].partition(".")[0] for key in state if re.match(rf"{re.escape(prefix)}\d", key)})
