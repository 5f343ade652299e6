"""Trained networks on disk: a folder with the options as ``config.json`` and the weights as safetensors."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from vg_gym.errors import VGGymError
from vg_gym.learned.model import GroundingModel, build
from vg_gym.storage.assets import built_in
from vg_gym.storage.files import write_json
from vg_gym.storage.half_precision import half_precision


def save_model(name: str, model: GroundingModel, folder: Path) -> None:
    """Write a network into a folder: name and options as ``config.json``, weights in fp16."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", {"model": name, "options": asdict(model.options)})
    save_file(half_precision(model), folder / "model.safetensors")


def load_model(folder: Path) -> tuple[str, GroundingModel]:
    """Read what :func:`save_model` wrote; returns the network's name, and the network in eval mode.

    Raises:
        VGGymError: there is no such thing in the folder, or its weights are damaged or not all there.
    """
    if not (folder / "config.json").is_file() or not (folder / "model.safetensors").is_file():
        raise VGGymError(f"no trained grounder in {folder}: it needs config.json and model.safetensors")
    name, model = _build(folder / "config.json")
    try:
        state = load_file(folder / "model.safetensors")
    except (SafetensorError, OSError) as error:
        raise VGGymError(f"{folder / 'model.safetensors'} is damaged ({error}); train or fetch it again") from error
    load_strictly(model, state, str(folder))
    return name, model.eval()


def _build(path: Path) -> tuple[str, GroundingModel]:
    """The name and the untrained network that a ``config.json`` describes."""
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        return config["model"], build(config["model"], config["options"])
    except (ValueError, KeyError, TypeError, RuntimeError, AttributeError, OverflowError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise VGGymError(f"{path} describes no network ({reason[:200]}); train or fetch it again") from error


def find_model(name: str, weights: str) -> GroundingModel | None:
    """The network called ``name`` in a folder, or among the built-in ones; None where ``weights`` is no folder.

    Raises:
        VGGymError: the folder holds another network.
    """
    folder = built_in(name, weights) or Path(weights)
    if not folder.is_dir():
        return None
    found, model = load_model(folder)
    if found != name:
        raise VGGymError(f"{weights} is a {found}, not a {name}; use the grounder {found!r}")
    return model


def load_strictly(model: nn.Module, state: dict[str, torch.Tensor], source: str) -> None:
    """Fill a network with weights that must match it key by key.

    Raises:
        VGGymError: keys are missing, left over, or of another shape; the message counts and names them.
    """
    wanted = model.state_dict()
    missing, extra = sorted(wanted.keys() - state.keys()), sorted(state.keys() - wanted.keys())
    shapes = [
        f"{k} is {tuple(state[k].shape)}, not {tuple(wanted[k].shape)}"
        for k in sorted(wanted.keys() & state.keys())
        if state[k].shape != wanted[k].shape
    ]
    problems = [
        f"{len(found)} {what} ({', '.join(found[:3])}{', ...' if len(found) > 3 else ''})"
        for what, found in (("missing", missing), ("unexpected", extra), ("of another shape", shapes))
        if found
    ]
    if problems:
        raise VGGymError(f"{source} is not the checkpoint of this model: {'; '.join(problems)}")
    model.load_state_dict({k: v.to(wanted[k].dtype) for k, v in state.items()})
