"""Published checkpoints of MDETR, TransVG and Dynamic MDETR: read without running code, matched key by key.

What is dropped from them is named here: keys of old text encoders that hold no weights (:data:`DROPPED`). The options
of the network are read off the shapes of its tensors.
"""

from __future__ import annotations

import argparse
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from vg_gym.baselines.one_stage.dynamic_mdetr import DynamicMDETROptions
from vg_gym.baselines.one_stage.transvg import TransVGOptions
from vg_gym.config import options_from
from vg_gym.errors import VGGymError
from vg_gym.learned.model import GroundingModel, load_strictly
from vg_gym.registry import network_class

DROPPED = ("embeddings.position_ids", "num_batches_tracked")
"""Ends of the keys that are left out: the numbers 0, 1, 2, ... of RoBERTa's positions, and batch-norm counters."""

State = dict[str, torch.Tensor]


def read_checkpoint(path: str | Path) -> State:
    """The weights of a published checkpoint; of two sets, the moving average (MDETR's published figures use it).

    Raises:
        VGGymError: no such file, or it holds more than tensors, plain containers and an argparse namespace.
    """
    path = Path(path)
    if not path.is_file():
        raise VGGymError(f"no checkpoint {path}; download it from the model's official repository and give its path")
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise VGGymError(f"{path} is not read: {str(error).splitlines()[0]}") from error
    state = next((content[k] for k in ("model_ema", "model", "state_dict") if content.get(k)), content)
    state = {re.sub(r"^module\.", "", k): v for k, v in state.items() if isinstance(v, torch.Tensor)}
    return {k: v for k, v in state.items() if not k.endswith(DROPPED)}


def load_published(name: str, path: str | Path, **options: Any) -> GroundingModel:
    """A network of the published size with the weights of a checkpoint, in eval mode.

    Args:
        name: ``mdetr``, ``transvg``, ``dynamic-mdetr`` or ``dynamic-mdetr-clip``.
        path: of the checkpoint.
        **options: of the network, e.g. ``tokenizer`` (a folder, where the hub is out of reach).

    Raises:
        VGGymError: the file is not such a checkpoint; the message says which keys differ.
    """
    state = read_checkpoint(path)
    if name not in SIZES:
        raise VGGymError(f"there are no published weights of {name!r}; known: {', '.join(SIZES)}")
    try:
        sizes = SIZES[name](state)
    except KeyError as error:
        raise VGGymError(f"{path} is not a checkpoint of {name}: it has no {error}") from error
    cls = network_class(sizes.pop("model", name))
    model = cls(options_from(cls.Options, {**sizes, **options}))
    load_strictly(model, state, str(path))
    return model.eval()


def mdetr_sizes(state: State) -> dict[str, Any]:
    """Options of the MDETR that a state dict is of."""
    return {
        "backbone": _backbone(state, "backbone.0.body."),
        "queries": len(state["query_embed.weight"]),
        "contrastive": "transformer.CLS.weight" in state,
    }


def transvg_sizes(state: State) -> dict[str, Any]:
    """Options of the TransVG that a state dict is of."""
    options = TransVGOptions(backbone=_backbone(state, "visumodel.backbone.0.body."))
    visual = (options.image_size // options.stride) ** 2
    return {"backbone": options.backbone, "max_tokens": len(state["vl_pos_embed.weight"]) - visual - 1}


def dynamic_mdetr_sizes(state: State) -> dict[str, Any]:
    """Options of the Dynamic MDETR, ResNet or CLIP, that a state dict is of."""
    stages = {
        "stages": _count(state, r"offset_generators\.(\d+)\."),
        "points": len(state["offset_generators.0.bias"]) // 2,
        "uniform_grid": "initial_sampled_points" in state,
        "shared_stages": "vl_transformer.decoder.norm.weight" in state,
        "joint_layers": _count(state, r"vl_encoder\.encoder\.layers\.(\d+)\."),
        "feedforward": len(state["vl_encoder.encoder.layers.0.linear1.bias"]),
    }
    positions = len(state["vl_pos_embed.weight"])
    if "clip.visual.proj" in state:
        visual = len(state["clip.visual.positional_embedding"]) - 1
        return {"model": "dynamic-mdetr-clip", "max_tokens": positions - visual, **stages}
    visual = (DynamicMDETROptions().image_size // DynamicMDETROptions().stride) ** 2
    backbone = _backbone(state, "visumodel.backbone.0.body.")
    return {"backbone": backbone, "max_tokens": positions - visual, **stages}


SIZES: dict[str, Callable[[State], dict[str, Any]]] = {
    "mdetr": mdetr_sizes,
    "transvg": transvg_sizes,
    "dynamic-mdetr": dynamic_mdetr_sizes,
    "dynamic-mdetr-clip": dynamic_mdetr_sizes,
}
"""Networks with published weights -> what reads their options off a state dict."""


def _backbone(state: State, prefix: str) -> str:
    """Which backbone it is, by the blocks of its third stage."""
    if f"{prefix}conv_stem.weight" in state:
        return "efficientnet_b3"
    blocks = _count(state, rf"{re.escape(prefix)}layer3\.(\d+)\.")
    deep = f"{prefix}layer1.0.conv3.weight" in state
    known = {(2, False): "resnet18", (6, False): "resnet34", (6, True): "resnet50", (23, True): "resnet101"}
    if (blocks, deep) not in known:
        raise KeyError(f"{prefix}* of a known backbone")
    return known[blocks, deep]


def _count(state: State, pattern: str) -> int:
    return len({match.group(1) for key in state if (match := re.match(pattern, key))})
