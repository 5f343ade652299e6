"""Training a small detector of one of the architectures on a data set's objects (``train_detector.py``)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from torch import nn
from tqdm import tqdm

from vg_gym import boxes as box_ops
from vg_gym.baselines.detectors.base import DetectionBatch, Detector
from vg_gym.baselines.detectors.detr import Detr
from vg_gym.baselines.detectors.sam import Sam
from vg_gym.baselines.detectors.ssd import Ssd
from vg_gym.baselines.detectors.yolo import Yolo
from vg_gym.clip.crops import resize
from vg_gym.config import PositiveInt
from vg_gym.data.refshapes import RefShapes
from vg_gym.errors import VGGymError, unknown
from vg_gym.features.proposals import select
from vg_gym.fitting.config import DatasetFitConfig
from vg_gym.fitting.learner import Learner
from vg_gym.fitting.splits import open_splits, splits_made_of
from vg_gym.fitting.train import train
from vg_gym.types import GroundingDataset, HasSegments

KINDS: dict[str, Callable[..., Detector]] = {"yolo": Yolo.small, "detr": Detr.small, "ssd": Ssd.small, "sam": Sam.small}
UNNAMED = "object"
"""The category of objects that have none."""
PROPOSALS = 10
"""Best proposals of an image that validation scores."""


@dataclass
class DetectorConfig(DatasetFitConfig):
    """Options of ``train_detector.py``."""

    TRAINS: ClassVar[str] = "detector"
    """``vg-gym train detector`` runs it."""

    out: str = "runs/detector"
    """Folder for checkpoints, TensorBoard logs and the finished detector (``OUT/model``)."""
    detector: str = "yolo"
    """Architecture: ``yolo``, ``detr`` (a small RT-DETR), ``ssd`` (ssdlite) or ``sam`` (the data set needs masks)."""
    options: dict[str, Any] = field(default_factory=dict)
    """Of the architecture's ``small`` constructor, e.g. ``image_size``."""
    images: PositiveInt = 12_000
    """Training images, the first so many; they are kept in memory."""
    side: PositiveInt = 128
    """Side in pixels to which training images are squashed."""
    flip: bool = True
    """Mirror half of the images left to right (detectors read no words)."""
    validate_images: PositiveInt = 250
    """Images of the validation split, the first so many."""


class DetectorLearner(Learner):
    """A detector and its data, as :func:`vg_gym.fitting.loop.fit` takes them.

    Raises:
        VGGymError: unknown architecture, or a data set that cannot be opened.
    """

    metric = "recall@0.75"

    def __init__(self, config: DetectorConfig):
        if config.detector not in KINDS:
            raise unknown("detector", config.detector, KINDS)
        self.config = config
        data, val = open_splits(config)
        self.made_of = splits_made_of(data, val)
        self.names = class_names([(data, config.images), (val, config.validate_images)])
        torch.manual_seed(config.seed)
        self.detector = KINDS[config.detector](self.names, **config.options)
        self.module = self.detector.module
        self.train = load_images(data, config.images, config.side, self.names, masks=config.detector == "sam")
        self.val = load_images(val, config.validate_images, config.side, self.names)

    def batch(self, step: int) -> DetectionBatch:
        """Random images of the training split, half of them mirrored."""
        rng = np.random.default_rng([self.config.seed, step])
        rows = rng.choice(len(self.train), size=self.config.batch_size)
        mirrored = rng.random(len(rows)) < 0.5 if self.config.flip else np.zeros(len(rows), bool)
        boxes = [self.train.boxes[row] for row in rows]
        turned = [_mirror(b, self.config.side) if m else b for b, m in zip(boxes, mirrored, strict=True)]
        images = torch.from_numpy(self.train.pixels[rows]).permute(0, 3, 1, 2).float() / 255
        segments = torch.from_numpy(self.train.segments[rows])
        flip = torch.from_numpy(mirrored)[:, None, None]
        return DetectionBatch(
            torch.where(flip[..., None], images.flip(-1), images),
            [torch.from_numpy(b) for b in turned],
            [torch.from_numpy(self.train.labels[row]) for row in rows],
            torch.where(flip, segments.flip(-1), segments),
        )

    def losses(self, batch: DetectionBatch) -> dict[str, torch.Tensor]:
        """The library's criterion."""
        return self.detector.losses(batch.to(next(self.module.parameters()).device))

    def validate(self, module: nn.Module) -> dict[str, float]:
        """Of the ten best proposals: recall of the objects at IoU 0.5 and 0.75, accuracy of the right boxes' labels."""
        proposed = self.detector.with_module(module).propose(list(self.val.pixels))
        found = [select(p, max_boxes=PROPOSALS) for p in proposed]
        best, right = [], []
        for proposals, true, classes in zip(found, self.val.boxes, self.val.labels, strict=True):
            overlap = np.zeros((len(true), 1))
            if len(proposals):
                overlap = box_ops.pixel_iou(true[:, None], proposals.boxes)
            best += overlap.max(axis=1).tolist()
            for row, category in zip(overlap, classes, strict=True):
                if row.max() >= 0.5:
                    right.append(proposals.labels[row.argmax()] == self.names[category])
        ious = np.array(best)
        return {
            "recall@0.5": float((ious >= 0.5).mean()),
            "recall@0.75": float((ious >= 0.75).mean()),
            "label_accuracy": float(np.mean(right)) if right else 0.0,
            "proposals": float(np.mean([len(p) for p in found])),
        }

    def save(self, module: nn.Module, folder: Path) -> None:
        """Write what ``weights=FOLDER`` loads."""
        self.detector.with_module(module).save(folder)


@dataclass(frozen=True)
class Images:
    """Images with their objects, decoded once."""

    pixels: np.ndarray
    """uint8 (N, S, S, 3)."""
    boxes: list[np.ndarray]
    """Of each image float32 (K, 4) ``xyxy``, in pixels of the squashed image."""
    labels: list[np.ndarray]
    """Of each image int64 (K,), numbers of categories."""
    segments: np.ndarray
    """uint8 (N, S, S) as in :class:`DetectionBatch`; (N, 1, 1) zeros where no masks are asked for."""

    def __len__(self) -> int:
        """Number of images."""
        return len(self.pixels)


def class_names(splits: Sequence[tuple[GroundingDataset, int]]) -> tuple[str, ...]:
    """The categories of splits, and :data:`UNNAMED` where an object of their first images has none.

    Args:
        splits: each with the number of images that are read of it.
    """
    named = {name for dataset, _ in splits for name in dataset.categories} - {""}
    lacking = any(
        not all(dataset.objects(dataset[row].image_id).categories)
        for dataset, count in splits
        if not isinstance(dataset, RefShapes)
        for row in _first_rows(dataset, count)
    )
    return tuple(sorted(named | {UNNAMED} if lacking or not named else named))


def load_images(
    dataset: GroundingDataset, count: int, side: int, classes: Sequence[str], masks: bool = False
) -> Images:
    """The first distinct images of a data set with all their objects, in memory.

    Args:
        dataset: what to read.
        count: how many images.
        side: pixels to which they are squashed.
        classes: names of the categories; :data:`UNNAMED` is that of objects without one.
        masks: also read which pixels belong to which object.

    Raises:
        VGGymError: masks are asked for and the data set has none.
    """
    if masks and not isinstance(dataset, HasSegments):
        raise VGGymError(f"{dataset.name} has no masks to train a SAM on; use refshapes, or published SAM weights")
    names = {name: i for i, name in enumerate(classes)}
    rows = _first_rows(dataset, count)
    pixels, boxes, labels, segments = [], [], [], []
    for row in tqdm(rows, desc=f"{dataset.name}/{dataset.split} images", unit="image", mininterval=2):
        sample = dataset[row]
        objects = dataset.objects(sample.image_id)
        scale = np.array(sample.query.image.size * 2, dtype=np.float32)
        pixels.append(resize(sample.query.image.array(), side))
        boxes.append((objects.boxes / scale * side).astype(np.float32))
        labels.append(np.array([names[c or UNNAMED] for c in objects.categories], dtype=np.int64))
        found = dataset.segments(sample.image_id) if masks else np.zeros((1, 1), np.uint8)  # type: ignore[attr-defined]
        segments.append(_resized(found, side if masks else 1))
    return Images(np.stack(pixels), boxes, labels, np.stack(segments))


def _first_rows(dataset: GroundingDataset, count: int) -> list[int]:
    """The row of the first expression of each of the first ``count`` images."""
    first: dict[int, int] = {}
    for row in range(len(dataset)):
        first.setdefault(dataset[row].image_id, row)
        if len(first) == count:
            break
    return list(first.values())


def _resized(segments: np.ndarray, side: int) -> np.ndarray:
    return np.asarray(Image.fromarray(segments).resize((side, side), Image.Resampling.NEAREST))


def _mirror(boxes: np.ndarray, side: int) -> np.ndarray:
    return np.stack([side - boxes[:, 2], boxes[:, 1], side - boxes[:, 0], boxes[:, 3]], axis=1)


def train_detector(config: DetectorConfig) -> Path:
    """Train a detector and write it to ``OUT/model``, which ``weights=`` takes; returns that folder."""
    return train(DetectorLearner, config)
