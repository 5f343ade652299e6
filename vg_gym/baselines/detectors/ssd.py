"""SSD (Liu et al., ECCV 2016) and SSDlite (Sandler et al., CVPR 2018) through torchvision.

``weights`` is an architecture of torchvision (``ssd300_vgg16``, ``ssdlite320_mobilenet_v3_large``; its COCO weights are
downloaded), ``ARCHITECTURE:FILE`` with a local state dict, or a folder that ``train_detector.py`` wrote.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator

from vg_gym.baselines.detectors.base import (
    DetectionBatch,
    Detector,
    load_weights,
    missing_weights,
    read_config,
    read_state,
    save_folder,
)
from vg_gym.config import PositiveInt, UnitInterval, check_options
from vg_gym.features.proposals import proposals
from vg_gym.runtime.devices import share_out
from vg_gym.storage.assets import built_in
from vg_gym.types import Proposals, Proposer

ARCHITECTURES = ("ssd300_vgg16", "ssdlite320_mobilenet_v3_large")
"""Names of supported torchvision architectures."""


class Ssd(Detector):
    """SSD as a proposer.

    Args:
        module: a torchvision SSD, whose category 0 is the background.
        categories: names of the categories from 1 on.
        min_score: minimum confidence.
        nms_iou: IoU within a class above which the less confident box is removed.
        batch_size: images per forward pass.
        device: torch device.
    """

    def __init__(
        self,
        module: Any,
        categories: Sequence[str],
        min_score: UnitInterval = 0.05,
        nms_iou: UnitInterval = 0.45,
        batch_size: PositiveInt = 16,
        device: str = "cpu",
    ):
        module.score_thresh, module.nms_thresh = min_score, nms_iou
        settings = {"min_score": min_score, "nms_iou": nms_iou}
        size = module.transform.fixed_size[0]
        super().__init__("ssd", module.eval(), categories, size, device, batch_size, settings)

    @classmethod
    def small(cls, categories: Sequence[str], image_size: int = 192) -> Ssd:
        """Build an untrained ssdlite320_mobilenet_v3_large for smaller images and smaller boxes.

        Args:
            categories: names of the categories.
            image_size: side in pixels to which images are resized (published: 320).
        """
        module = _architecture("ssdlite320_mobilenet_v3_large", len(categories) + 1)
        module.transform.fixed_size = (image_size, image_size)
        # The published anchors begin at 0.2 of the image; a third of RefShapes' objects are smaller.
        module.anchor_generator = DefaultBoxGenerator([[2, 3] for _ in range(6)], min_ratio=0.14, max_ratio=0.8)
        return cls(module, categories)

    def losses(self, batch: DetectionBatch) -> dict[str, torch.Tensor]:
        """Return the smooth L1 loss of the boxes and the cross-entropy with mined negatives."""
        targets = [{"boxes": b, "labels": c + 1} for b, c in zip(batch.boxes, batch.labels, strict=True)]
        losses = self.module(list(batch.images), targets)
        return {"box": losses["bbox_regression"], "class": losses["classification"]}

    def _each(self, batches: Sequence[Sequence[np.ndarray]]) -> Iterable[list[Proposals]]:
        return share_out(self.propose_batch, batches, self.device)  # the module has no state between batches

    def propose_batch(self, images: Sequence[np.ndarray]) -> list[Proposals]:
        """Return the proposals of a batch of images (H, W, 3) uint8."""
        tensors = [torch.tensor(image).to(self.device).permute(2, 0, 1).float() / 255 for image in images]
        with torch.inference_mode():
            results = self.network(tensors)
        return [
            proposals(r["boxes"].cpu(), r["scores"].cpu(), [self.categories[int(c) - 1] for c in r["labels"]], image)
            for image, r in zip(images, results, strict=True)
        ]

    def save(self, folder: Path) -> None:
        """Write ``model.safetensors`` and ``config.json``."""
        save_folder(self.module, folder, categories=self.categories, image_size=self.image_size)


def _architecture(name: str, classes: int, weights: str | None = None) -> Any:
    with warnings.catch_warnings():  # torchvision warns that all layers train, as intended
        warnings.filterwarnings("ignore", message="Changing trainable_backbone_layers")
        return torchvision.models.get_model(name, weights=weights, weights_backbone=None, num_classes=classes)


def load_ssd(weights: str = "refshapes", device: str = "cpu", **options: Any) -> Proposer:
    """Load an SSD by architecture, ``ARCHITECTURE:FILE`` or folder; ``options`` are those of :class:`Ssd`.

    Raises:
        VGGymError: the weights are missing or belong to another architecture.
    """
    check_options("ssd", Ssd, options, fixed=("module", "categories"))
    ssd = _load(weights, device, **options)
    return ssd.folded() if ssd.device.type == "cpu" else ssd


def _load(weights: str, device: str, **options: Any) -> Ssd:
    folder = built_in("ssd", weights) or Path(weights)
    if folder.is_dir():
        return _load_folder(folder, device, **options)
    name, _, file = weights.partition(":")
    example = f"{ARCHITECTURES[0]}:/path/to/ssd300_vgg16_coco.pth"
    if name not in ARCHITECTURES:
        raise missing_weights("ssd", weights, f"known architectures: {', '.join(ARCHITECTURES)}", example)
    categories = torchvision.models.get_model_weights(name).DEFAULT.meta["categories"][1:]
    try:
        module = _architecture(name, len(categories) + 1, None if file else "DEFAULT")
        if file:
            module.load_state_dict(read_state(file))
    except (OSError, RuntimeError) as error:
        raise missing_weights("ssd", weights, error, example) from error
    return Ssd(module, categories, device=device, **options)


def _load_folder(folder: Path, device: str, **options: Any) -> Ssd:
    config = read_config(folder)
    ssd = Ssd.small(config["categories"], config["image_size"])
    load_weights(ssd.module, folder)
    return Ssd(ssd.module, config["categories"], device=device, **options)
