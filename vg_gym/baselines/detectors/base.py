"""What the detectors share: how they propose, the data they are trained on, and where their weights are."""

from __future__ import annotations

import copy
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from vg_gym.errors import VGGymError
from vg_gym.learned.weights import load_strictly
from vg_gym.storage.files import cache_place, fingerprint, make_folder, write_json
from vg_gym.storage.half_precision import half_precision
from vg_gym.storage.tensor_files import read_tensors
from vg_gym.types import Proposals

WEIGHTS, CONFIG = "model.safetensors", "config.json"
"""Files of a folder with a trained detector."""


@dataclass(frozen=True)
class DetectionBatch:
    """Images with all their objects."""

    images: torch.Tensor
    """float32 (B, 3, S, S) in [0, 1]."""
    boxes: list[torch.Tensor]
    """Of each image (N, 4), ``xyxy`` pixels."""
    labels: list[torch.Tensor]
    """Of each image, category numbers (N,) int64."""
    segments: torch.Tensor
    """uint8 (B, S, S), where the data set has masks: which object a pixel belongs to, from 1 on; 0 is none."""

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
        image_size: side in pixels to which images are resized.
        device: torch device.
        batch_size: images per forward pass; None: all at once.
    """

    def __init__(
        self,
        name: str,
        module: Any,
        categories: Sequence[str],
        image_size: int,
        device: str = "cpu",
        batch_size: int | None = None,
    ):
        self.name, self.categories, self.image_size = name, tuple(categories), image_size
        self.batch_size = batch_size
        self.device = torch.device(device)
        self.module: Any = module.to(self.device)
        self.network: Any = self.module
        """What proposes: the module, or a faster copy (:meth:`folded`)."""

    @property
    def fingerprint(self) -> str:
        """A hash of the weights, the categories and the size of images."""
        state = sorted(self.module.state_dict().items())
        about = self.categories, self.image_size
        return fingerprint(about, *(fingerprint(name, v.float().cpu().numpy().tobytes()) for name, v in state))

    def with_module(self, module: nn.Module) -> Detector:
        """The same detector with other weights."""
        other = copy.copy(self)
        other.module, other.network, other.device = module, module, next(module.parameters()).device
        return other

    def folded(self) -> Detector:
        """The same detector, whose boxes come from a copy of its module that takes a CPU half the time.

        Batch norms are folded into the convolutions before them, and weights have their channels last, which is how a
        CPU's convolutions read them. Boxes differ by some millionths of the image. Training the module changes the copy
        no more.
        """
        other = self.with_module(self.module)
        other.network = _folded(copy.deepcopy(self.module)).to(memory_format=torch.channels_last)
        return other

    @abstractmethod
    def losses(self, batch: DetectionBatch) -> dict[str, torch.Tensor]:
        """Weighted terms of the training loss, from the library's own criterion."""

    def propose(self, images: Sequence[np.ndarray]) -> list[Proposals]:
        """Proposals of every image (H, W, 3) uint8."""
        size = self.batch_size or max(1, len(images))
        batches = [images[start : start + size] for start in range(0, len(images), size)]
        return [found for of_batch in self._each(batches) for found in of_batch]

    def _each(self, batches: Sequence[Sequence[np.ndarray]]) -> Iterable[list[Proposals]]:
        """:meth:`propose_batch` of every batch, in order; a library's predictor takes one at a time."""
        return map(self.propose_batch, batches)

    @abstractmethod
    def propose_batch(self, images: Sequence[np.ndarray]) -> list[Proposals]:
        """:meth:`propose` for one batch, of at least one image."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write weights (fp16) and what is needed to load them into an existing folder."""


def _folded(module: nn.Module) -> nn.Module:
    """A module in evaluation mode, in whose sequences no batch norm follows a convolution any more."""
    for sequence in (part for part in module.modules() if isinstance(part, nn.Sequential)):
        for (name, first), (after, second) in pairwise([*sequence.named_children()]):
            if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
                sequence.add_module(name, fuse_conv_bn_eval(first, second))
                sequence.add_module(after, nn.Identity())
    return module


def scale_between(seen: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Factors (4,) float32 from ``xyxy`` pixels of an image that a network saw to those of the image itself."""
    height, width = (own / shown for own, shown in zip(image.shape[:2], seen.shape[:2], strict=True))
    return np.array([width, height, width, height], dtype=np.float32)


def weights_folder() -> Path:
    """Where fetched weights are kept."""
    return make_folder(cache_place("weights"))


def read_state(path: str | Path) -> dict[str, torch.Tensor]:
    """The tensors of a torch checkpoint.

    Raises:
        OSError: there is no such file, or it holds anything but tensors and plain containers, which might run code.
    """
    try:
        return read_tensors(path)
    except VGGymError as error:  # the callers say what else to give
        raise OSError(str(error)) from error


def missing_weights(detector: str, weights: str, error: BaseException | str, example: str) -> VGGymError:
    """The error for weights that cannot be loaded: the reason, and that a local file can be given.

    Args:
        detector: name of the proposer.
        weights: what was asked for.
        error: why they cannot be loaded.
        example: weights that would do.
    """
    reason = " ".join(str(error).split())[:300]
    return VGGymError(
        f"no weights {weights!r} for {detector}: {reason}. Without hub access give a local one, "
        f"e.g. {detector}.weights={example}, or {detector}.weights=refshapes for the built-in data"
    )


def save_folder(module: nn.Module, folder: Path, **config: Any) -> None:
    """Write a module's weights in fp16 (``model.safetensors``) and its settings (``config.json``) into a folder."""
    save_file(half_precision(module), folder / WEIGHTS)
    write_json(folder / CONFIG, config)


def read_config(folder: Path) -> dict[str, Any]:
    """The settings that :func:`save_folder` wrote.

    Raises:
        VGGymError: there are none, or they are no JSON.
    """
    try:
        return json.loads((folder / CONFIG).read_text())
    except (OSError, ValueError) as error:
        raise VGGymError(f"{folder} holds no trained detector: cannot read {CONFIG} ({error})") from error


def load_weights(module: nn.Module, folder: Path) -> None:
    """Fill a module with the weights that :func:`save_folder` wrote.

    Raises:
        VGGymError: there are none, or they do not match the module key by key; names those that are wrong.
    """
    try:
        state = load_file(folder / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise VGGymError(f"{folder} holds no trained detector: cannot read {WEIGHTS} ({error})") from error
    load_strictly(module, state, str(folder))
