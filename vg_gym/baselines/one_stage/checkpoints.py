"""One-stage grounders with built-in, trained or published weights.

Published checkpoints of MDETR, TransVG and Dynamic MDETR are read without running code and matched key by key. Only
keys without weights (:data:`DROPPED_SUFFIXES`) are dropped. The sizes of the network are inferred from the shapes of
its tensors (:mod:`vg_gym.baselines.one_stage.checkpoint_sizes`).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch

from vg_gym.baselines.one_stage.checkpoint_sizes import SIZE_READERS, State
from vg_gym.config import PositiveInt, options_from
from vg_gym.errors import VGGymError
from vg_gym.learned.grounder import LearnedGrounder
from vg_gym.learned.model import GroundingModel
from vg_gym.learned.weights import find_model, load_strictly
from vg_gym.registry import network_class
from vg_gym.storage.tensor_files import read_tensors

DROPPED_SUFFIXES = ("embeddings.position_ids", "num_batches_tracked")
"""Suffixes of the keys that are dropped: the indices of RoBERTa's positions, and batch-norm counters."""


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
            (:func:`load_published`).

    Raises:
        VGGymError: the weights do not exist, or belong to another network.
    """
    model = find_model(name, weights)
    if model is None:
        model = load_published(name, weights, **options)
    elif options:
        raise VGGymError(f"{name}: {', '.join(options)} only apply to published checkpoints; {weights!r} has its own")
    return LearnedGrounder(name, model, device, batch_size)


def read_checkpoint(path: str | Path) -> State:
    """Read the weights of a published checkpoint; the moving average if it has one, as in MDETR's published results.

    Raises:
        VGGymError: the file does not exist, or contains more than tensors, plain containers and an argparse namespace.
    """
    content = read_tensors(path, remedy="download it from the model's official repository and give its path")
    if not isinstance(content, dict):
        raise VGGymError(f"{path} is not a checkpoint of a model: it contains a {type(content).__name__}")
    state = next((content[k] for k in ("model_ema", "model", "state_dict") if content.get(k)), content)
    state = {re.sub(r"^module\.", "", k): v for k, v in state.items() if isinstance(v, torch.Tensor)}
    return {k: v for k, v in state.items() if not k.endswith(DROPPED_SUFFIXES)}


def load_published(name: str, path: str | Path, **options: Any) -> GroundingModel:
    """Load a network with the weights of a checkpoint, in eval mode.

    Widths and numbers of layers are those of the checkpoint. The checkpoint does not tell the numbers of heads: they
    are the published ones (8; in BERT, RoBERTa and CLIP one per 64 channels) unless the options replace them.

    Args:
        name: ``mdetr``, ``transvg``, ``dynamic-mdetr`` or ``dynamic-mdetr-clip``.
        path: path of the checkpoint.
        **options: options of the network, e.g. ``tokenizer`` (a folder, without access to the hub), ``heads``,
            ``image_size`` if it was not 640, or ``text={"num_attention_heads": 4}``.

    Raises:
        VGGymError: the file is not such a checkpoint; the message names the keys that differ.
    """
    state = read_checkpoint(path)
    if name not in SIZE_READERS:
        raise VGGymError(f"there are no published weights of {name!r}; known: {', '.join(SIZE_READERS)}")
    try:
        sizes = SIZE_READERS[name](state, options)
    except KeyError as error:
        raise VGGymError(f"{path} is not a checkpoint of {name}: it has no {error}") from error
    cls = network_class(sizes.pop("model", name))
    model = cls(options_from(cls.Options, merged(sizes, options)))
    load_strictly(model, state, str(path))
    return model.eval()


def merged(sizes: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """Merge options into sizes, which they replace; nested dictionaries are merged in the same way.

    >>> merged({"dim": 64, "text": {"vocab_size": 50, "hidden_size": 32}}, {"text": {"hidden_size": 64}})
    {'dim': 64, 'text': {'vocab_size': 50, 'hidden_size': 64}}
    """
    inner = {
        k: merged(sizes[k], v) for k, v in options.items() if isinstance(v, dict) and isinstance(sizes.get(k), dict)
    }
    return {**sizes, **options, **inner}
