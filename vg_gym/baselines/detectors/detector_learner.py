"""Training of a small detector on the objects of a data set (``train_detector.py``)."""

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
from vg_gym.baselines.detectors.base import DetectionBatch, Detector, read_weights
from vg_gym.baselines.detectors.detr import Detr
from vg_gym.baselines.detectors.sam import Sam
from vg_gym.baselines.detectors.ssd import Ssd
from vg_gym.baselines.detectors.yolo import Yolo
from vg_gym.clip.crops import resize
from vg_gym.config import PositiveInt
from vg_gym.data.worlds.refshapes.dataset import RefShapes
from vg_gym.errors import VGGymError, unknown
from vg_gym.features.proposals import select
from vg_gym.fitting.config import DatasetFitConfig
from vg_gym.fitting.learner import Learner
from vg_gym.fitting.splits import open_splits, splits_made_of
from vg_gym.fitting.train import train
from vg_gym.storage.assets import built_in
from vg_gym.types import GroundingDataset, HasSegments

KINDS: dict[str, Callable[..., Detector]] = {"yolo": Yolo.small, "detr": Detr.small, "ssd": Ssd.small, "sam": Sam.small}
UNNAMED = "object"
"""Category of objects without an annotated category."""
VALIDATED_PROPOSALS = 10
"""Number of best proposals per image that validation scores."""


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
    """Options of the architecture's ``small`` constructor, e.g. ``image_size``."""
    init_from: str | None = None
    """Trained detector of the same architecture to start from: a folder, or a built-in one (``refshapes``). Weights of
    another shape, such as those of other classes, stay random."""
    images: PositiveInt = 12_000
    """Number of training images, taken from the start of the split; they stay in memory."""
    side: PositiveInt = 128
    """Side in pixels to which training images are squashed."""
    flip: bool = True
    """Mirror half of the images left to right, which is safe because detectors read no words."""
    validate_images: PositiveInt = 250
    """Number of validation images, taken from the start of the split."""


class DetectorLearner(Learner):
    """Learner of a detector, for :func:`vg_gym.fitting.loop.fit`.

    Raises:
        VGGymError: the architecture is unknown, or the data set cannot be opened.
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
        self.module = self.detector.module.to(memory_format=torch.channels_last)  # CPUs convolve faster
        if config.init_from:
            self._start(config.init_from)
        self.train = load_images(data, config.images, config.side, self.names, masks=config.detector == "sam")
        self.val = load_images(val, config.validate_images, config.side, self.names)

    def _start(self, weights: str) -> None:
        """Copy the weights that fit from a trained detector.

        Raises:
            VGGymError: the weights do not exist, or none of them fits.
        """
        state = read_weights(built_in(self.config.detector, weights) or Path(weights))
        own = self.module.state_dict()
        fitting = {name: value for name, value in state.items() if name in own and own[name].shape == value.shape}
        if not fitting:
            raise VGGymError(f"init_from={weights!r}: no weights fit a {self.config.detector}; name one of its kind")
        self.module.load_state_dict({**own, **fitting})

    def batch(self, step: int) -> DetectionBatch:
        """Draw random images of the training split, half of them mirrored."""
        rng = np.random.default_rng([self.config.seed, step])
        rows = rng.choice(len(self.train), size=self.config.batch_size)
        mirrored = rng.random(len(rows)) < 0.5 if self.config.flip else np.zeros(len(rows), bool)
        boxes = [self.train.boxes[row] for row in rows]
        turned = [box_ops.mirror(b, self.config.side) if m else b for b, m in zip(boxes, mirrored, strict=True)]
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
        """Return the losses of the library's own criterion."""
        return self.detector.losses(batch.to(next(self.module.parameters()).device))

    def validate(self, module: nn.Module) -> dict[str, float]:
        """Return recall and label accuracy of the ten best proposals per image.

        Recall is the share of objects with a proposal at an IoU of at least 0.5 or 0.75; label accuracy is that of the
        proposals that match an object.
        """
        proposed = self.detector.with_module(module).propose(list(self.val.pixels))
        selected = [select(p, max_boxes=VALIDATED_PROPOSALS) for p in proposed]
        best, right = [], []
        for proposals, true, classes in zip(selected, self.val.boxes, self.val.labels, strict=True):
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
            "proposals": float(np.mean([len(p) for p in selected])),
        }

    def save(self, module: nn.Module, folder: Path) -> None:
        """Write the detector to a folder that ``weights=FOLDER`` loads."""
        self.detector.with_module(module).save(folder)


@dataclass(frozen=True)
class Images:
    """Decoded images with their objects."""

    pixels: np.ndarray
    """Squashed images, uint8 (N, S, S, 3)."""
    boxes: list[np.ndarray]
    """Boxes of each image, float32 (K, 4) ``xyxy`` in pixels of the squashed image."""
    labels: list[np.ndarray]
    """Category numbers of each image, int64 (K,)."""
    segments: np.ndarray
    """Object at each pixel, uint8 (N, S, S), see :class:`DetectionBatch`; zeros (N, 1, 1) without masks."""

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.pixels)


def class_names(splits: Sequence[tuple[GroundingDataset, int]]) -> tuple[str, ...]:
    """Return the categories of splits, with :data:`UNNAMED` if an object of their first images lacks a category.

    Args:
        splits: pairs of a split and the number of images to read from it.
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
    """Load the first distinct images of a data set, with all their objects, into memory.

    Args:
        dataset: data set to read.
        count: number of images.
        side: side of a squashed image in pixels.
        classes: names of the categories; objects without a category get :data:`UNNAMED`.
        masks: also read the masks of the objects.

    Raises:
        VGGymError: ``masks`` is set and the data set does not have masks.
    """
    if masks and not isinstance(dataset, HasSegments):
        raise VGGymError(f"{dataset.name} has no masks to train a SAM on; use refshapes, or published SAM weights")
    names = {name: i for i, name in enumerate(classes)}
    rows = _first_rows(dataset, count)
    pixels, boxes, labels, segments = [], [], [], []
    for row in tqdm(rows, desc=f"{dataset.name}/{dataset.split} images", unit="image", mininterval=2):
        sample = dataset[row]
        objects = dataset.objects(sample.image_id)
        pixels.append(resize(sample.query.image.array(), side))
        boxes.append(box_ops.normalize(objects.boxes, sample.query.image.size) * np.float32(side))
        labels.append(np.array([names[c or UNNAMED] for c in objects.categories], dtype=np.int64))
        mask = dataset.segments(sample.image_id) if masks else np.zeros((1, 1), np.uint8)  # type: ignore[attr-defined]
        segments.append(_resized(mask, side if masks else 1))
    return Images(np.stack(pixels), boxes, labels, np.stack(segments))


def _first_rows(dataset: GroundingDataset, count: int) -> list[int]:
    """Return the row of the first expression of each of the first ``count`` images."""
    first: dict[int, int] = {}
    for row in range(len(dataset)):
        first.setdefault(dataset[row].image_id, row)
        if len(first) == count:
            break
    return list(first.values())


def _resized(segments: np.ndarray, side: int) -> np.ndarray:
    return np.asarray(Image.fromarray(segments).resize((side, side), Image.Resampling.NEAREST))


def train_detector(config: DetectorConfig) -> Path:
    """Train a detector, write it to ``OUT/model`` for ``weights=``, and return that folder."""
    return train(DetectorLearner, config)
