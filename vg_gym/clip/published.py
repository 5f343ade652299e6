"""Published CLIP weights through open_clip, with the activation and the preprocessing that they were trained with.

The config of a tag states activation, mean, standard deviation and interpolation, so ``ViT-B-32:openai`` and
``ViT-B-32-quickgelu:openai`` are the same model. A local file is identified by the tensors that only OpenAI's releases
contain, by an ``open_clip_config.json`` next to it, or else by the name of the architecture.
"""

from __future__ import annotations

import json
import logging
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vg_gym.errors import CLIP_FLAG, VGGymError, nearest, unknown
from vg_gym.runtime.hub_log import hide_failed_requests
from vg_gym.runtime.lazy_imports import open_clip, torch
from vg_gym.runtime.light_imports import import_towers
from vg_gym.storage.assets import built_in_names

CONFIG = "open_clip_config.json"
"""Name that open_clip gives to the config in a model folder."""
HUB_PREFIX = "hf-hub:"
"""Prefix of repositories on the hub; the config in the repository describes the model."""
PREPROCESS_KEYS = ("mean", "std", "interpolation", "resize_mode")
"""Keys of a config that describe the preprocessing of the training images."""
OPENAI_EXTRAS = {"input_resolution", "context_length", "vocab_size"}
"""Tensors that OpenAI's releases contain in addition to the weights."""
DEFAULT_USE = {
    "quick_gelu": False,
    "interpolation": "bicubic",
    "mean": [0.48145466, 0.4578275, 0.40821073],
    "std": [0.26862954, 0.26130258, 0.27577711],
}
"""Default activation and preprocessing; fingerprints contain only a use that differs."""

DOWNLOAD_FAILED = "Failed to download"
"""Beginning of open_clip's message about a failed download."""

Built = tuple[Any, Any, dict[str, Any]]
"""Model on the CPU, its tokenizer, and its config, which states its activation."""


def build(name: str) -> Built:
    """Build the model of ``ARCHITECTURE:TAG``, ``ARCHITECTURE:FILE`` or ``hf-hub:OWNER/REPOSITORY``.

    Raises:
        VGGymError: the name has another form, the architecture is unknown, or the file is a TorchScript archive.
    """
    import_towers()
    hide_failed_requests()
    if name.startswith(HUB_PREFIX):
        model = open_clip.create_model(name, require_pretrained=True)
        return model, open_clip.get_tokenizer(name), open_clip.get_model_config(name)
    architecture, colon, weights = name.partition(":")
    if not colon:
        raise VGGymError(
            f"clip {name!r} is neither built in, nor a folder, nor ARCHITECTURE:TAG or ARCHITECTURE:FILE, "
            f"e.g. ViT-B-32:openai; {nearest(name, built_in_names('clip'))}".rstrip("; ")
        )
    architecture = architecture.replace("/", "-")
    config = open_clip.get_model_config(architecture)
    if config is None:
        raise unknown("CLIP architecture", architecture, open_clip.list_models())
    tag = open_clip.get_pretrained_cfg(architecture, weights)
    # A tag without an entry for the activation was trained with the one of its architecture.
    quick_gelu = tag.get("quick_gelu", config.get("quick_gelu", False))
    if tag or not Path(weights).is_file():
        model = _create(architecture, weights, quick_gelu)
    else:
        model, quick_gelu = _from_file(architecture, Path(weights), quick_gelu)
    return model, open_clip.get_tokenizer(architecture), {**config, "quick_gelu": quick_gelu}


def without_hub(name: str) -> str:
    """Return the advice on ``ARCHITECTURE:TAG`` without access to the hub; empty if the tag is unknown.

    >>> without_hub("ViT-B-32:openai")
    'Without hub access give a copy of open_clip_pytorch_model.bin from timm/vit_base_patch32_clip_224.openai: \
clip=ViT-B-32-quickgelu:/path/to/open_clip_pytorch_model.bin (vg-gym evaluate, features and ground: --clip)'
    """
    architecture, _, tag = name.replace("/", "-").partition(":")
    config = open_clip.get_pretrained_cfg(architecture, tag)
    repository = config.get("hf_hub", "").strip("/")
    if not repository:
        return ""
    if config.get("quick_gelu") and not architecture.endswith("-quickgelu"):
        architecture += "-quickgelu"
    file = "open_clip_pytorch_model.bin"
    option = f"clip={architecture}:/path/to/{file} {CLIP_FLAG}"
    return f"Without hub access give a copy of {file} from {repository}: {option}"


def _quiet(record: logging.LogRecord) -> bool:
    """Return False for open_clip's log of a failed download, which the error repeats."""
    return not record.getMessage().startswith(DOWNLOAD_FAILED)


def _create(architecture: str, weights: str, quick_gelu: bool, pixels: Mapping[str, Any] | None = None) -> Any:
    logging.getLogger().addFilter(_quiet)
    return open_clip.create_model(
        architecture, weights, require_pretrained=True, force_quick_gelu=quick_gelu, quick_gelu=quick_gelu,
        force_preprocess_cfg=dict(pixels or {}),
    )  # fmt: skip


def _from_file(architecture: str, path: Path, quick_gelu: bool) -> tuple[Any, bool]:
    """Return the model with the weights of a file, and True if its activation is QuickGELU."""
    beside = path.with_name(CONFIG)
    saved = json.loads(beside.read_text(encoding="utf-8")) if beside.is_file() else {}
    pixels = saved.get("preprocess_cfg") or pixels_of(architecture)
    if _is_torchscript(path):
        raise VGGymError(
            f"{path} is a TorchScript archive, as OpenAI releases CLIP: give {architecture}:openai, or the file that "
            f"torch.save(torch.jit.load({str(path)!r}, 'cpu').state_dict(), FILE) writes"
        )
    state = open_clip.factory.load_state_dict(str(path)) if path.suffix not in (".npz", ".npy") else {}
    if state.keys() >= OPENAI_EXTRAS:
        return _from_openai(architecture, state), True
    if not quick_gelu and not saved and _has_quick_gelu_weights(architecture):
        warnings.warn(
            f"{architecture}:{path} runs with GELU; if these weights are OpenAI's, MetaCLIP's or DFN's, which need "
            f"QuickGELU, name them {architecture}-quickgelu:{path}",
            stacklevel=6,
        )
    quick_gelu = quick_gelu or saved.get("model_cfg", {}).get("quick_gelu", False)
    return _create(architecture, str(path), quick_gelu, pixels), quick_gelu


def _from_openai(architecture: str, state: dict[str, torch.Tensor]) -> Any:
    model = open_clip.create_model(architecture, force_quick_gelu=True)
    model.load_state_dict({name: value for name, value in state.items() if name not in OPENAI_EXTRAS})
    return model


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _has_quick_gelu_weights(architecture: str) -> bool:
    """Return True if some published weights of an architecture with GELU need QuickGELU."""
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    return any(open_clip.get_pretrained_cfg(architecture, tag).get("quick_gelu", False) for tag in tags)


def pixels_of(architecture: str) -> dict[str, Any]:
    """Return the preprocessing of all published weights of an architecture; empty if they disagree or do not exist.

    >>> pixels_of("MobileCLIP-B")["mean"], pixels_of("ViT-L-14")
    ((0.0, 0.0, 0.0), {})
    """
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    configs = [open_clip.get_pretrained_cfg(architecture, tag) for tag in tags]
    pixels = [{name: config[name] for name in PREPROCESS_KEYS if name in config} for config in configs]
    return pixels[0] if pixels and all(other == pixels[0] for other in pixels) else {}


def unusual(config: Mapping[str, Any], pixels: Mapping[str, Any]) -> str:
    """Return activation and preprocessing as JSON if they differ from the default, else an empty string.

    Args:
        config: config of the model.
        pixels: preprocessing of the model.
    """
    used: dict[str, Any] = {"quick_gelu": bool(config.get("quick_gelu", False))}
    used["interpolation"] = "bilinear" if pixels.get("interpolation") == "bilinear" else "bicubic"
    used |= {name: list(pixels[name]) for name in ("mean", "std")}
    return "" if used == DEFAULT_USE else json.dumps(used, sort_keys=True)
