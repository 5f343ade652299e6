"""Training a small detector of one of the architectures on a data set's objects (``train_detector.py``)."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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
from vg_gym.baselines.proposals import select
from vg_gym.clip.crops import resize
from vg_gym.config import save_config
from vg_gym.errors import VGGymError, unknown
from vg_gym.fitting.loop import FitConfig, decay_groups, fit
from vg_gym.registry import open_dataset
from vg_gym.storage.files import write_json
from vg_gym.types import GroundingDataset

KINDS: dict[str, Callable[..., Detector]] = {"yolo": Yolo.small, "detr": Detr.small, "ssd": Ssd.small, "sam": Sam.small}


@dataclass
class DetectorConfig(FitConfig):
    """Options of ``train_detector.py``."""

    out: str = "runs/detector"
    """Folder for checkpoints, TensorBoard logs and the finished detector (``OUT/model``)."""
    detector: str = "yolo"
    """Architecture: ``yolo``, ``detr`` (a small RT-DETR), ``ssd`` (ssdlite) or ``sam`` (the data set needs masks)."""
    options: dict[str, Any] = field(default_factory=dict)
    """Of the architecture's ``small`` constructor, e.g. ``image_size``."""
    dataset: str = "refshapes"
    root: str | None = None
    """Folder of a data set that is on disk."""
    images: int = 12_000
    """Training images, the first so many; they are kept in memory."""
    side: int = 128
    """Side in pixels to which training images are squashed."""
    flip: bool = True
    """Mirror half of the images left to right (detectors read no words)."""
    validate_images: int = 250
    """Images of the validation split."""


class DetectorLearner:
    """A detector and its data, as :func:`vg_gym.fitting.loop.fit` wants them.

    Raises:
        VGGymError: unknown architecture, or a data set that cannot be opened.
    """

    metric = "recall@0.75"

    def __init__(self, config: DetectorConfig):
        if config.detector not in KINDS:
            raise unknown("detector", config.detector, KINDS)
        self.config = config
        root = {"root": config.root} if config.root else {}
        train, val = (open_dataset(config.dataset, split, **root) for split in ("train", "val"))
        self.names = train.categories
        torch.manual_seed(config.seed)
        self.detector = KINDS[config.detector](train.categories, **config.options)
        self.module: nn.Module = self.detector.module
        self.train = load_pictures(train, config.images, config.side, masks=config.detector == "sam")
        self.val = load_pictures(val, config.validate_images, config.side)

    def batch(self, step: int) -> DetectionBatch:
        """Random pictures of the training split, half of them mirrored."""
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

    def groups(self, config: DetectorConfig) -> list[dict[str, Any]]:
        """Decay on matrices only."""
        return decay_groups(self.module, config.weight_decay)

    def validate(self, module: nn.Module) -> dict[str, float]:
        """Of the ten best proposals: recall of the objects at IoU 0.5 and 0.75, accuracy of the right boxes' labels."""
        found = [select(p, max_boxes=10) for p in self.detector.with_module(module).propose(list(self.val.pixels))]
        names = self.names
        best, right = [], []
        for proposed, true, classes in zip(found, self.val.boxes, self.val.labels, strict=True):
            overlap = box_ops.iou(true[:, None], proposed.boxes[None]) if len(proposed) else np.zeros((len(true), 1))
            best += overlap.max(axis=1).tolist()
            rows = overlap.argmax(axis=1)
            right += [proposed.labels[r] == names[c] for r, c, o in zip(rows, classes, overlap, strict=True)
                      if o.max() >= 0.5]  # fmt: skip
        ious = np.array(best)
        return {
            "recall@0.5": float((ious >= 0.5).mean()),
            "recall@0.75": float((ious >= 0.75).mean()),
            "label_accuracy": float(np.mean(right)) if right else 0.0,
            "proposals": float(np.mean([len(p) for p in found])),
        }


@dataclass(frozen=True)
class Pictures:
    """Pictures with objects, decoded once; boxes in pixels of the squashed picture."""

    pixels: np.ndarray
    """uint8 (N, S, S, 3)."""
    boxes: list[np.ndarray]
    labels: list[np.ndarray]
    segments: np.ndarray
    """uint8 (N, S, S) as in :class:`DetectionBatch`; (N, 1, 1) zeros where no masks are asked for."""

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.pixels)


def load_pictures(dataset: GroundingDataset, count: int, side: int, masks: bool = False) -> Pictures:
    """The first ``count`` distinct images of a data set with all their objects, in memory.

    Raises:
        VGGymError: masks are asked for and the data set has none.
    """
    if masks and not hasattr(dataset, "segments"):
        raise VGGymError(f"{dataset.name} has no masks to train a SAM on; use refshapes, or published SAM weights")
    names = {name: i for i, name in enumerate(dataset.categories)}
    rows = _first_rows(dataset, count)
    pixels, boxes, labels, segments = [], [], [], []
    for row in tqdm(rows, desc=f"{dataset.name}/{dataset.split} pictures", unit="picture", mininterval=2):
        sample = dataset[row]
        objects = dataset.objects(sample.image_id)
        scale = np.array(sample.query.image.size * 2, dtype=np.float32)
        pixels.append(resize(sample.query.image.array(), side))
        boxes.append((objects.boxes / scale * side).astype(np.float32))
        labels.append(np.array([names[c] for c in objects.categories], dtype=np.int64))
        found = dataset.segments(sample.image_id) if masks else np.zeros((1, 1), np.uint8)  # type: ignore[attr-defined]
        segments.append(_resized(found, side if masks else 1))
    return Pictures(np.stack(pixels), boxes, labels, np.stack(segments))


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
    out = Path(config.out)
    out.mkdir(parents=True, exist_ok=True)
    save_config(config, out / "config.yaml")
    learner = DetectorLearner(config)
    module = fit(learner, config)
    part = out / "model.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    detector = learner.detector.with_module(module)
    detector.save(part)
    write_json(part / "metrics.json", learner.validate(module))
    shutil.rmtree(out / "model", ignore_errors=True)
    part.replace(out / "model")
    return out / "model"
