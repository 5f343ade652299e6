"""Factories of the box-diffusion grounders in the registry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from vg_gym.config import PositiveInt, options_from
from vg_gym.diffusion.options import Sampling
from vg_gym.errors import VGGymError
from vg_gym.learned.grounder import LearnedGrounder
from vg_gym.learned.weights import find_model


def diffusion(
    weights: str = "refshapes", device: str = "cpu", batch_size: PositiveInt = 64, **sampling: Any
) -> LearnedGrounder:
    """Load a trained box diffusion.

    Args:
        weights: ``refshapes``, or a folder that ``train_grounder.py`` wrote.
        device: torch device.
        batch_size: expressions in a batch.
        **sampling: fields of :class:`vg_gym.diffusion.options.Sampling` that replace the saved ones.

    Raises:
        VGGymError: the weights do not exist, or an option is unknown or out of range.
    """
    return _load("diffusion", weights, device, batch_size, sampling)


def diffusion_ddpm(
    weights: str = "refshapes",
    device: str = "cpu",
    batch_size: PositiveInt = 64,
    steps: PositiveInt = 50,
    **sampling: Any,
) -> LearnedGrounder:
    """Load :func:`diffusion` with ancestral sampling (DDPM).

    Args:
        weights: see :func:`diffusion`.
        device: torch device.
        batch_size: expressions in a batch.
        steps: number of sampling steps; ``timesteps`` steps run the whole chain.
        **sampling: see :func:`diffusion`.
    """
    return _load("diffusion-ddpm", weights, device, batch_size, {"sampler": "ddpm", "steps": steps, **sampling})


def diffusion_vector(
    weights: str = "runs/diffusion-vector-refshapes/model",
    device: str = "cpu",
    batch_size: PositiveInt = 64,
    **sampling: Any,
) -> LearnedGrounder:
    """Load a diffusion of four numbers from global CLIP features; its weights are not shipped.

    ``python train_grounder.py configs/diffusion_vector_refshapes.yaml`` makes them.

    Args:
        weights: a folder that ``train_grounder.py`` wrote.
        device: torch device.
        batch_size: expressions in a batch.
        **sampling: see :func:`diffusion`.
    """
    return _load("diffusion-vector", weights, device, batch_size, sampling)


def _load(name: str, weights: str, device: str, batch_size: int, sampling: Mapping[str, Any]) -> LearnedGrounder:
    model = find_model("diffusion", weights)
    if model is None:
        raise VGGymError(
            f"no trained diffusion {weights!r}; {name}.weights= takes a folder that train_grounder.py wrote, e.g. from "
            "configs/diffusion_refshapes.yaml or configs/diffusion_vector_refshapes.yaml"
        )
    model.options.sampling = options_from(Sampling, {**asdict(model.options.sampling), **sampling})
    model.options.sampling.check()
    return LearnedGrounder(name, model, device, batch_size)
