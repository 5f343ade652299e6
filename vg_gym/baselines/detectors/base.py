"""What the detectors share: where their weights are, and the data they are trained on."""

from __future__ import annotations

import copy
import pickle
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

from vg_gym.baselines.proposals import Proposals
from vg_gym.errors import VGGymError
from vg_gym.storage.files import cache_folder, fingerprint


@dataclass(frozen=True)
class DetectionBatch:
    """Images float32 (B, 3, S, S) in [0, 1]; per image boxes (N, 4) ``xyxy`` pixels and category numbers (N,) int64.

    ``segments`` uint8 (B, S, S), where the data set has masks: which object a pixel belongs to, from 1 on; 0 is none.
    """

    images: torch.Tensor
    boxes: list[torch.Tensor]
    labels: list[torch.Tensor]
    segments: torch.Tensor

    def to(self, device: torch.device | str) -> DetectionBatch:
        """The batch on a device."""
        boxes, labels = ([x.to(device) for x in part] for part in (self.boxes, self.labels))
        return DetectionBatch(self.images.to(device), boxes, labels, self.segments.to(device))


class Detector(ABC):
    """A trainable detector: a proposer whose module also has a loss. Subclasses are thin shells over a library.

    Args:
        name: what it is called.
        module: the library's network.
        categories: category names by number.
        image_size: side in pixels at which pictures are looked at.
        device: torch device.
    """

    def __init__(self, name: str, module: Any, categories: Sequence[str], image_size: int, device: str = "cpu"):
        self.name, self.categories, self.image_size = name, tuple(categories), image_size
        self.device = torch.device(device)
        self.module: Any = module.to(self.device)

    @property
    def fingerprint(self) -> str:
        """A hash of the weights."""
        state = sorted(self.module.state_dict().items())
        return fingerprint(*(fingerprint(name, v.float().cpu().numpy().tobytes()) for name, v in state))

    def with_module(self, module: nn.Module) -> Detector:
        """The same detector with other weights."""
        other = copy.copy(self)
        other.module, other.device = module, next(module.parameters()).device
        return other

    @abstractmethod
    def losses(self, batch: DetectionBatch) -> dict[str, torch.Tensor]:
        """Weighted terms of the training loss, from the library's own criterion."""

    @abstractmethod
    def propose(self, images: Sequence[np.ndarray]) -> list[Proposals]:
        """Proposals of every image (H, W, 3) uint8."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write weights (fp16) and what is needed to load them into an existing folder."""


def weights_folder() -> Path:
    """Where fetched weights are kept."""
    folder = cache_folder() / "weights"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def read_state(path: str | Path) -> dict[str, torch.Tensor]:
    """The tensors of a torch checkpoint.

    Raises:
        OSError: there is no such file, or it holds anything but tensors and plain containers, which might run code.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise OSError(f"{path} is no checkpoint of tensors only, and nothing else is read") from error


def missing_weights(detector: str, weights: str, error: BaseException | str, example: str) -> VGGymError:
    """The error for weights that cannot be had: the reason, and that a local file can be given."""
    reason = " ".join(str(error).split())[:300]
    return VGGymError(
        f"no weights {weights!r} for {detector}: {reason}. Without hub access give a local one, "
        f"e.g. {detector}.weights={example}, or {detector}.weights=refshapes for the built-in data"
    )


def half(state: dict[str, Any]) -> dict[str, torch.Tensor]:
    """A state dict with its floating-point tensors in fp16, contiguous, on the CPU."""
    return {k: (v.half() if v.dtype.is_floating_point else v).cpu().clone().contiguous() for k, v in state.items()}


def load_half(module: nn.Module, folder: Path) -> None:
    """Fill a module with the weights that :func:`half` made, from ``model.safetensors``."""
    module.load_state_dict({k: v.float() for k, v in load_file(folder / "model.safetensors").items()})
