"""Published checkpoints of MDETR, TransVG and Dynamic MDETR: read without running code, matched key by key.

What is dropped from them is named here: keys of old text encoders that hold no weights (:data:`DROPPED`). The sizes of
the network are read off the shapes of its tensors (:mod:`vg_gym.baselines.one_stage.checkpoint_sizes`).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch

from vg_gym.baselines.one_stage.checkpoint_sizes import SIZES, State
from vg_gym.config import options_from
from vg_gym.errors import VGGymError
from vg_gym.learned.model import GroundingModel
from vg_gym.learned.weights import load_strictly
from vg_gym.registry import network_class
from vg_gym.storage.tensor_files import read_tensors

DROPPED = ("embeddings.position_ids", "num_batches_tracked")
"""Ends of the keys that are left out: the numbers 0, 1, 2, ... of RoBERTa's positions, and batch-norm counters."""


def read_checkpoint(path: str | Path) -> State:
    """The weights of a published checkpoint; of two sets, the moving average (MDETR's published figures use it).

    Raises:
        VGGymError: no such file, or it holds more than tensors, plain containers and an argparse namespace.
    """
    content = read_tensors(path, remedy="download it from the model's official repository and give its path")
    if not isinstance(content, dict):
        raise VGGymError(f"{path} is no checkpoint of a model: it holds a {type(content).__name__}")
    state = next((content[k] for k in ("model_ema", "model", "state_dict") if content.get(k)), content)
    state = {re.sub(r"^module\.", "", k): v for k, v in state.items() if isinstance(v, torch.Tensor)}
    return {k: v for k, v in state.items() if not k.endswith(DROPPED)}


def load_published(name: str, path: str | Path, **options: Any) -> GroundingModel:
    """A network with the weights of a checkpoint, in eval mode.

    Widths and numbers of layers are those of the checkpoint. The numbers of heads leave no trace in it: they are the
    published ones (8; in BERT, RoBERTa and CLIP one for 64 channels) unless the options say otherwise.

    Args:
        name: ``mdetr``, ``transvg``, ``dynamic-mdetr`` or ``dynamic-mdetr-clip``.
        path: of the checkpoint.
        **options: of the network, e.g. ``tokenizer`` (a folder, where the hub is out of reach), ``heads``,
            ``image_size`` where it was not 640, or ``text={"num_attention_heads": 4}``.

    Raises:
        VGGymError: the file is not such a checkpoint; the message says which keys differ.
    """
    state = read_checkpoint(path)
    if name not in SIZES:
        raise VGGymError(f"there are no published weights of {name!r}; known: {', '.join(SIZES)}")
    try:
        sizes = SIZES[name](state, options)
    except KeyError as error:
        raise VGGymError(f"{path} is not a checkpoint of {name}: it has no {error}") from error
    cls = network_class(sizes.pop("model", name))
    model = cls(options_from(cls.Options, merged(sizes, options)))
    load_strictly(model, state, str(path))
    return model.eval()


def merged(sizes: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """Options over sizes; dictionaries are merged likewise.

    >>> merged({"dim": 64, "text": {"vocab_size": 50, "hidden_size": 32}}, {"text": {"hidden_size": 64}})
    {'dim': 64, 'text': {'vocab_size': 50, 'hidden_size': 64}}
    """
    inner = {
        k: merged(sizes[k], v) for k, v in options.items() if isinstance(v, dict) and isinstance(sizes.get(k), dict)
    }
    return {**sizes, **options, **inner}
