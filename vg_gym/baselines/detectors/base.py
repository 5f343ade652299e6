"""Base class of the detectors, their training batches, and their weights on disk."""

from __future__ import annotations

import copy
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
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
from torchvision.models.detection import SSD300_VGG16_Weights

from vg_gym.errors import MissingWeights, VGGymError, one_line
from vg_gym.learned.weights import load_strictly
from vg_gym.storage.files import cache_place, fingerprint, make_folder, write_json
from vg_gym.storage.half_precision import half_precision
from vg_gym.storage.tensor_files import read_tensors
from vg_gym.types import Proposals

WEIGHTS, CONFIG = "model.safetensors", "config.json"
"""Names of the files in a folder with a trained detector."""


@dataclass(frozen=True)
class DetectionBatch:
    """Images with all their objects."""

    images: torch.Tensor
    """Pixels float32 (B, 3, S, S) in [0, 1]."""
    boxes: list[torch.Tensor]
    """Boxes of each image (N, 4), ``xyxy`` pixels."""
    labels: list[torch.Tensor]
    """Category numbers of each image, int64 (N,)."""
    segments: torch.Tensor
    """Number of the object at each pixel, from 1 on, uint8 (B, S, S); 0 is background. Used only with masks."""

    def to(self, device: torch.device | str) -> DetectionBatch:
        """Return the batch on a device."""
        boxes, labels = ([x.to(device) for x in part] for part in (self.boxes, self.labels))
        return DetectionBatch(self.images.to(device), boxes, labels, self.segments.to(device))


class Detector(ABC):
    """Trainable detector: a proposer with a training loss. Subclasses are thin wrappers of a library.

    Args:
        name: name of the proposer.
        module: network of the library.
        categories: category names by number.
        image_size: side in pixels to which images are resized.
        device: torch device.
        batch_size: images per forward pass; None: all images in one pass.
        settings: other options that change proposals, such as the minimum confidence.
    """

    def __init__(
        self,
        name: str,
        module: Any,
        categories: Sequence[str],
        image_size: int,
        device: str = "cpu",
        batch_size: int | None = None,
        settings: Mapping[str, Any] | None = None,
    ):
        self.name, self.categories, self.image_size = name, tuple(categories), image_size
        self.batch_size, self.settings = batch_size, dict(settings or {})
        self.device = torch.device(device)
        self.module: Any = module.to(self.device)
        self.network: Any = self.module
        """Network used for inference: the module, or a faster copy (:meth:`folded`)."""

    @property
    def fingerprint(self) -> str:
        """Hash of everything that changes proposals: weights, categories, size of images, settings."""
        state = sorted(self.module.state_dict().items())
        about = self.categories, self.image_size, sorted(self.settings.items())
        return fingerprint(about, *(fingerprint(name, v.float().cpu().numpy().tobytes()) for name, v in state))

    def with_module(self, module: nn.Module) -> Detector:
        """Return a copy of the detector with another module."""
        other = copy.copy(self)
        other.module, other.network, other.device = module, module, next(module.parameters()).device
        return other

    def folded(self) -> Detector:
        """Return a copy of the detector with a network that takes half the time on a CPU.

        The network is a copy of the module. Batch norms are folded into the convolutions before them, and weights are
        in the channels-last format of a CPU's convolutions. Boxes differ by some millionths of the image. Later
        training of the module does not change the network.
        """
        other = self.with_module(self.module)
        other.network = _folded(copy.deepcopy(self.module)).to(memory_format=torch.channels_last)
        return other

    @abstractmethod
    def losses(self, batch: DetectionBatch) -> dict[str, torch.Tensor]:
        """Return the weighted terms of the training loss, from the library's own criterion."""

    def propose(self, images: Sequence[np.ndarray]) -> list[Proposals]:
        """Return the proposals of every image (H, W, 3) uint8."""
        size = self.batch_size or max(1, len(images))
        batches = [images[start : start + size] for start in range(0, len(images), size)]
        return [proposals for of_batch in self._each(batches) for proposals in of_batch]

    def _each(self, batches: Sequence[Sequence[np.ndarray]]) -> Iterable[list[Proposals]]:
        """Call :meth:`propose_batch` for every batch, in order; a library's predictor takes one batch at a time."""
        return map(self.propose_batch, batches)

    @abstractmethod
    def propose_batch(self, images: Sequence[np.ndarray]) -> list[Proposals]:
        """Return the proposals of one batch of at least one image; see :meth:`propose`."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write weights (fp16) and the config for loading them into an existing folder."""


def _folded(module: nn.Module) -> nn.Module:
    """Fold every batch norm into the convolution before it; the module must be in evaluation mode."""
    for sequence in (part for part in module.modules() if isinstance(part, nn.Sequential)):
        for (name, first), (after, second) in pairwise([*sequence.named_children()]):
            if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
                sequence.add_module(name, fuse_conv_bn_eval(first, second))
                sequence.add_module(after, nn.Identity())
    return module


def coco_names() -> list[str]:
    """Return the names of COCO's 80 categories, in the order of YOLO's outputs."""
    names = SSD300_VGG16_Weights.COCO_V1.meta["categories"]
    return [name for name in names if name not in ("__background__", "N/A")]


def scale_between(network_input: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Return the factors float32 (4,) from ``xyxy`` pixels of a network's input image to pixels of the original image.

    Args:
        network_input: input image of the network (H', W', 3).
        image: original image (H, W, 3).
    """
    sizes = zip(image.shape[:2], network_input.shape[:2], strict=True)
    height, width = (size / input_size for size, input_size in sizes)
    return np.array([width, height, width, height], dtype=np.float32)


def weights_folder() -> Path:
    """Return the folder of downloaded weights."""
    return make_folder(cache_place("weights"))


def read_state(path: str | Path) -> dict[str, torch.Tensor]:
    """Read the tensors of a torch checkpoint.

    Raises:
        OSError: the file does not exist, or it holds anything but tensors and plain containers, which might run code.
    """
    try:
        return read_tensors(path)
    except VGGymError as error:  # the callers add advice
        raise OSError(str(error)) from error


def missing_weights(detector: str, weights: str, error: BaseException | str, example: str) -> VGGymError:
    """Return the error for weights that cannot be loaded, with the reason and the advice to use a local file.

    Args:
        detector: name of the proposer.
        weights: value of the option ``weights``.
        error: reason of the failure.
        example: example of valid weights.
    """
    return MissingWeights(
        f"no weights {weights!r} for {detector}: {one_line(error).strip('❌ .')}. Without hub access give a local one, "
        f"e.g. {detector}.weights={example} (vg-gym ground: --weights), or refshapes for drawn shapes"
    )


def save_folder(module: nn.Module, folder: Path, **config: Any) -> None:
    """Write a module's weights in fp16 (``model.safetensors``) and its settings (``config.json``) into a folder."""
    save_file(half_precision(module), folder / WEIGHTS)
    write_json(folder / CONFIG, config)


def read_config(folder: Path) -> dict[str, Any]:
    """Read the settings that :func:`save_folder` wrote.

    Raises:
        VGGymError: the file is missing or not valid JSON.
    """
    try:
        return json.loads((folder / CONFIG).read_text())
    except (OSError, ValueError) as error:
        raise VGGymError(f"{folder} holds no trained detector: cannot read {CONFIG} ({error})") from error


def read_weights(folder: Path) -> dict[str, torch.Tensor]:
    """Read the weights that :func:`save_folder` wrote.

    Raises:
        VGGymError: the file is missing or damaged.
    """
    try:
        return load_file(folder / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise VGGymError(f"{folder} holds no trained detector: cannot read {WEIGHTS} ({error})") from error


def load_weights(module: nn.Module, folder: Path) -> None:
    """Fill a module with the weights that :func:`save_folder` wrote.

    Raises:
        VGGymError: the file is missing, or its keys do not match the module's; the message names them.
    """
    load_strictly(module, read_weights(folder), str(folder))
