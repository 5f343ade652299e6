"""CLIP to fine-tune: initial weights, trained weights, and the saved model folder."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import open_clip
from safetensors.torch import save_file
from torch import nn

from vg_gym.clip.encoder import ClipEncoder
from vg_gym.clip.finetuning.config import ClipTrainConfig
from vg_gym.clip.loader import SIDECAR, load_clip
from vg_gym.clip.published import CONFIG, PREPROCESS_KEYS
from vg_gym.clip.tokenizer import WordTokenizer
from vg_gym.errors import VGGymError
from vg_gym.storage.files import write_json
from vg_gym.storage.half_precision import half_precision

PROJECTIONS = ("proj", "ln_post", "text_projection", "ln_final")
"""Layers after the blocks of a tower, which are trained together with its last blocks."""


def starting_encoder(config: ClipTrainConfig, device: str, words: Callable[[], Sequence[str]]) -> ClipEncoder:
    """Return the encoder to train: from scratch if ``model`` is set, else a copy of a loaded one.

    Args:
        config: options.
        device: torch device.
        words: function that returns the vocabulary of a CLIP from scratch.

    Raises:
        VGGymError: the CLIP cannot be loaded, lacks the open_clip config to save, or does not fit the vocabulary.
    """
    if config.model is not None:
        return _from_scratch(config, config.model, device, words())
    encoder = load_clip(config.completed().clip, device).copy()
    if encoder.config is None:
        raise VGGymError(f"clip {encoder.name!r} has no open_clip config to save with the model")
    encoder.crop_size = config.crop_size or encoder.crop_size
    encoder.dense = config.dense or encoder.dense
    encoder.model.requires_grad_(True)
    return encoder


def _from_scratch(
    config: ClipTrainConfig, model_config: dict[str, Any], device: str, words: Sequence[str]
) -> ClipEncoder:
    sizes = copy.deepcopy(model_config)
    tokenizer = WordTokenizer(words, sizes["text_cfg"]["context_length"])
    if sizes["text_cfg"].setdefault("vocab_size", tokenizer.vocab_size) != tokenizer.vocab_size:
        size = sizes["text_cfg"]["vocab_size"]
        raise VGGymError(
            f"model.text_cfg.vocab_size is {size}, the vocabulary has {tokenizer.vocab_size}; leave vocab_size out"
        )
    model = open_clip.model.CLIP(**copy.deepcopy(sizes))
    open_clip.factory.set_model_preprocess_cfg(model, {"mean": open_clip.OPENAI_DATASET_MEAN,
                                                       "std": open_clip.OPENAI_DATASET_STD})  # fmt: skip
    return ClipEncoder("scratch", model, tokenizer, config.crop_size, config.dense or "tokens", device, config=sizes)


def freeze(model: Any, image_blocks: int, text_blocks: int) -> None:
    """Leave only the last blocks (and the projections) of each tower trainable.

    Args:
        model: open_clip model.
        image_blocks: number of blocks of the image tower (0: none, -1: the whole tower).
        text_blocks: number of blocks of the text tower (0: none, -1: the whole tower).

    Raises:
        VGGymError: only some blocks are to be trained, and the tower does not have transformer blocks.
    """
    text = model if hasattr(model, "token_embedding") else model.text
    for prefix, tower, blocks in (("image", model.visual, image_blocks), ("text", text, text_blocks)):
        if blocks < 0:
            continue
        if not hasattr(tower, "transformer"):
            raise VGGymError(f"train_{prefix}_blocks={blocks}: this tower has no blocks; use -1")
        owned = tower.parameters() if prefix == "image" else _text_parameters(text)
        for parameter in owned:
            parameter.requires_grad = False
        if blocks:
            _unfreeze_last(tower, blocks)


def _unfreeze_last(tower: Any, blocks: int) -> None:
    tower.transformer.resblocks[-blocks:].requires_grad_(True)
    for name in PROJECTIONS:
        if isinstance(part := getattr(tower, name, None), (nn.Module, nn.Parameter)):
            part.requires_grad_(True)


def _text_parameters(text: Any) -> list[nn.Parameter]:
    return [p for name, p in text.named_parameters() if not name.startswith(("visual.", "logit_"))]


def with_model(encoder: ClipEncoder, model: nn.Module) -> ClipEncoder:
    """Return the same encoder with other weights, on their device."""
    device = str(next(model.parameters()).device)
    return ClipEncoder(
        encoder.name, model, encoder.tokenizer, encoder.crop_size, encoder.dense, device, encoder.batch_size,
        encoder.config,
    )  # fmt: skip


def save_model(encoder: ClipEncoder, folder: Path) -> None:
    """Write a model folder that :func:`vg_gym.clip.load_clip` and open_clip's ``local-dir:`` read; weights in fp16."""
    folder.mkdir(parents=True, exist_ok=True)
    described = encoder.model.visual.preprocess_cfg
    preprocess = {name: described[name] for name in PREPROCESS_KEYS if name in described}
    write_json(folder / CONFIG, {"model_cfg": encoder.config, "preprocess_cfg": preprocess})
    sidecar: dict[str, Any] = {"crop_size": encoder.crop_size, "dense": encoder.dense}
    if encoder.words is not None:
        sidecar["vocabulary"] = encoder.words
    write_json(folder / SIDECAR, sidecar)
    if hasattr(encoder.tokenizer, "save_pretrained"):  # open_clip looks for its files in the folder
        encoder.tokenizer.save_pretrained(str(folder))
    save_file(half_precision(encoder.model), folder / "open_clip_model.safetensors")
