"""Factory of the one-stage grounders in the registry."""

from __future__ import annotations

from typing import Any

from vg_gym.baselines.one_stage.checkpoints import load_published
from vg_gym.config import PositiveInt
from vg_gym.errors import VGGymError
from vg_gym.learned.grounder import LearnedGrounder
from vg_gym.learned.weights import find_model


def one_stage(
    name: str, weights: str = "refshapes", device: str = "cpu", batch_size: PositiveInt = 64, **options: Any
) -> LearnedGrounder:
    """Load a one-stage grounder.

    Args:
        name: ``mdetr``, ``transvg``, ``dynamic-mdetr``, ``dynamic-mdetr-clip`` or ``red``.
        weights: ``refshapes`` (built in), a folder that ``train_grounder.py`` wrote, or a published checkpoint.
        device: torch device.
        batch_size: expressions per forward pass.
        **options: options of the network for a published checkpoint, e.g. ``tokenizer``
            (:func:`vg_gym.baselines.one_stage.checkpoints.load_published`).

    Raises:
        VGGymError: the weights do not exist, or belong to another network.
    """
    model = find_model(name, weights)
    if model is None:
        model = load_published(name, weights, **options)
    elif options:
        raise VGGymError(f"{name}: {', '.join(options)} only apply to published checkpoints; {weights!r} has its own")
    return LearnedGrounder(name, model, device, batch_size)
