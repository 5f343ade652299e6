"""Folders of trained networks, with the options as ``config.json`` and the weights as safetensors."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from vg_gym.errors import VGGymError, one_line
from vg_gym.learned.model import GroundingModel, build
from vg_gym.learned.presence_head import FILE, PresenceHead
from vg_gym.storage.assets import built_in
from vg_gym.storage.files import write_json
from vg_gym.storage.half_precision import half_precision


def save_model(name: str, model: GroundingModel, folder: Path) -> None:
    """Write a network into a folder: name and options as ``config.json``, weights in fp16."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", {"model": name, "options": asdict(model.options)})
    save_file(half_precision(model), folder / "model.safetensors")


def load_model(folder: Path) -> tuple[str, GroundingModel]:
    """Read a folder of :func:`save_model`, and return the network's name and the network in eval mode.

    The network has the presence head of the folder, if there is one (:mod:`vg_gym.learned.presence_head`).

    Raises:
        VGGymError: the folder does not contain a network, or its weights are damaged or incomplete.
    """
    if not (folder / "config.json").is_file() or not (folder / "model.safetensors").is_file():
        raise VGGymError(f"no trained grounder in {folder}: it needs config.json and model.safetensors")
    name, model = _build(folder / "config.json")
    load_strictly(model, _read(folder / "model.safetensors"), str(folder))
    if (folder / FILE).is_file():
        model.presence = load_presence(folder, model.options.dim)
    return name, model.eval()


def load_presence(folder: Path, width: int) -> PresenceHead:
    """Read the presence head in a folder, in eval mode.

    Args:
        folder: folder of the network, or one that ``vg-gym train presence`` wrote.
        width: width of the network's tokens.

    Raises:
        VGGymError: its weights are damaged, incomplete, or those of another width.
    """
    head = PresenceHead(width)
    load_strictly(head, _read(folder / FILE), str(folder / FILE))
    return head.eval()


def _read(path: Path) -> dict[str, torch.Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise VGGymError(f"{path} is damaged ({error}); train or fetch it again") from error


def _build(path: Path) -> tuple[str, GroundingModel]:
    """Return the name and the untrained network that a ``config.json`` describes."""
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        return config["model"], build(config["model"], config["options"])
    except (ValueError, KeyError, TypeError, RuntimeError, AttributeError, OverflowError) as error:
        raise VGGymError(f"{path} describes no network ({one_line(error)}); train or fetch it again") from error


def find_model(name: str, weights: str) -> GroundingModel | None:
    """Return the network ``name`` from a folder or the built-in weights; None if ``weights`` is not a folder.

    Raises:
        VGGymError: the folder contains another network.
    """
    folder = built_in(name, weights) or Path(weights)
    if not folder.is_dir():
        return None
    saved_name, model = load_model(folder)
    if saved_name != name:
        raise VGGymError(f"{weights} is a {saved_name}, not a {name}; use the grounder {saved_name!r}")
    return model


def load_strictly(model: nn.Module, state: dict[str, torch.Tensor], source: str) -> None:
    """Load weights into a network that must have exactly their keys and shapes.

    Raises:
        VGGymError: keys are missing, unexpected, or of another shape; the message counts and names them.
    """
    expected = model.state_dict()
    missing, extra = sorted(expected.keys() - state.keys()), sorted(state.keys() - expected.keys())
    shapes = [
        f"{k} is {tuple(state[k].shape)}, not {tuple(expected[k].shape)}"
        for k in sorted(expected.keys() & state.keys())
        if state[k].shape != expected[k].shape
    ]
    problems = [
        f"{len(keys)} {problem} ({', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''})"
        for problem, keys in (("missing", missing), ("unexpected", extra), ("of another shape", shapes))
        if keys
    ]
    if problems:
        raise VGGymError(f"{source} is not the checkpoint of this model: {'; '.join(problems)}")
    model.load_state_dict({k: v.to(expected[k].dtype) for k, v in state.items()})
