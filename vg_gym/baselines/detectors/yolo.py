"""YOLO (Redmon et al., CVPR 2016; v8, v11 and v26 by Ultralytics) through the ultralytics package.

``weights`` is a name of ultralytics (``yolov8x.pt``), a local ``.pt`` or ``.onnx`` file, or a folder that
``train_detector.py`` wrote. Checkpoints are read with ``weights_only=True``, so that files from strangers run no code.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from PIL import Image

from vg_gym import boxes as box_ops
from vg_gym.baselines.detectors.base import (
    DetectionBatch,
    Detector,
    load_weights,
    missing_weights,
    read_config,
    save_folder,
    scale_between,
    weights_folder,
)
from vg_gym.baselines.detectors.yolox import Yolox, is_yolox
from vg_gym.clip.crops import resize
from vg_gym.config import PositiveInt, UnitInterval, check_options
from vg_gym.errors import VGGymError, importing
from vg_gym.features.proposals import proposals
from vg_gym.storage.assets import built_in
from vg_gym.storage.files import fingerprint
from vg_gym.types import Proposals, Proposer

GAINS = SimpleNamespace(box=7.5, cls=0.5, dfl=1.5, epochs=100)
"""Loss weights: the defaults of ultralytics."""


def ultralytics_package() -> Any:
    """Import ultralytics, set to read checkpoints safely and to install no packages.

    On import it replaces ``PIL.Image.open`` and ``torch.save``; this function restores them.

    Raises:
        VGGymError: ultralytics is not installed, or is too old to read checkpoints safely.
    """
    os.environ.setdefault("YOLO_AUTOINSTALL", "false")
    pillow_open, torch_save = Image.open, torch.save
    try:
        with importing("YOLO", "ultralytics", "yolo"):
            import ultralytics
            from ultralytics.nn import tasks
    finally:
        Image.open, torch.save = pillow_open, torch_save
    if not hasattr(tasks, "SAFE_LOAD"):
        raise VGGymError(
            f"ultralytics {ultralytics.__version__} runs code in a checkpoint; upgrade it: pip install -U ultralytics"
        )
    tasks.SAFE_LOAD = True
    ultralytics.utils.LOGGER.setLevel(logging.WARNING)
    return ultralytics


class Yolo(Detector):
    """YOLO as a proposer.

    Args:
        model: an ``ultralytics.YOLO``.
        image_size: longer side in pixels to which images are resized.
        min_score: minimum confidence.
        nms_iou: IoU within a class above which the less confident box is removed.
        device: torch device.
        stretch: stretch images to a square as in ``train_detector.py``; published weights were trained without.
    """

    def __init__(
        self,
        model: Any,
        image_size: PositiveInt = 640,
        min_score: UnitInterval = 0.05,
        nms_iou: UnitInterval = 0.7,
        device: str = "cpu",
        stretch: bool = False,
    ):
        self.model, self.stretch = model, stretch
        module = model.model if isinstance(model.model, torch.nn.Module) else torch.nn.Module()
        categories = tuple(model.names.values()) if hasattr(model, "names") else ()
        settings = {"min_score": min_score, "nms_iou": nms_iou, "stretch": stretch}
        super().__init__("yolo", module, categories, image_size, device, settings=settings)

    @property
    def fingerprint(self) -> str:
        """Hash of everything that changes proposals; the weights may be in an exported file."""
        if isinstance(self.model.model, str):
            return fingerprint(Path(self.model.model), self.image_size, sorted(self.settings.items()))
        return super().fingerprint

    @classmethod
    def small(cls, categories: Sequence[str], image_size: int = 128, config: str = "yolo11n.yaml") -> Yolo:
        """Build an untrained YOLO from one of ultralytics' configs."""
        model = ultralytics_package().YOLO(config, task="detect", verbose=False)
        from ultralytics.nn.tasks import DetectionModel  # after ultralytics_package(), which makes its import safe

        model.model = DetectionModel(config, nc=len(categories), verbose=False)
        model.model.names = dict(enumerate(categories))
        model.model.args = GAINS
        return cls(model, image_size, stretch=True)

    def with_module(self, module: Any) -> Yolo:
        """Return a copy of the detector with another module."""
        model = ultralytics_package().YOLO(module.yaml["yaml_file"], task="detect", verbose=False)
        model.model, device = module, str(next(module.parameters()).device)
        return Yolo(model, self.image_size, device=device, **self.settings)

    def losses(self, batch: DetectionBatch) -> dict[str, torch.Tensor]:
        """Return the box, class and distribution-focal losses."""
        size = batch.images.shape[-1]
        boxes = torch.cat(batch.boxes) / size
        owner = torch.cat([torch.full((len(b),), float(i)) for i, b in enumerate(batch.boxes)])
        target = {
            "img": batch.images,
            "bboxes": box_ops.to_cxcywh(boxes),
            "cls": torch.cat(batch.labels).float()[:, None],
            "batch_idx": owner.to(boxes.device),
        }
        values, _ = self.module(target)
        return {name: values[i] / len(batch.images) for i, name in enumerate(("box", "class", "dfl"))}

    def propose_batch(self, images: Sequence[np.ndarray]) -> list[Proposals]:
        """Return the proposals of a batch of images (H, W, 3) uint8."""
        inputs = [resize(image, self.image_size) if self.stretch else image for image in images]
        results = self.model.predict(
            [np.ascontiguousarray(image[..., ::-1]) for image in inputs],  # ultralytics takes BGR
            imgsz=self.image_size,
            conf=self.settings["min_score"],
            iou=self.settings["nms_iou"],
            device=str(self.device),
            verbose=False,
        )
        predictions = []
        for image, pixels, result in zip(images, inputs, results, strict=True):
            boxes = result.boxes.cpu().numpy()
            labels = [result.names[int(c)] for c in boxes.cls]
            predictions.append(proposals(boxes.xyxy * scale_between(pixels, image), boxes.conf, labels, image))
        return predictions

    def save(self, folder: Path) -> None:
        """Write ``model.safetensors`` and ``config.json``."""
        config = Path(self.module.yaml["yaml_file"]).name
        save_folder(self.module, folder, config=config, categories=self.categories, image_size=self.image_size)


def load_yolo(weights: str = "refshapes", device: str = "cpu", **options: Any) -> Proposer:
    """Load a YOLO by the name of its weights; ``options`` are those of :class:`Yolo`.

    Raises:
        VGGymError: ultralytics or the weights are missing, or the file is not a detector.
    """
    check_options("yolo", Yolo, options, fixed=("model",))
    folder = built_in("yolo", weights) or Path(weights)
    if folder.is_dir():
        return _load_folder(folder, device, **options)
    if folder.suffix == ".onnx" and folder.is_file() and is_yolox(folder):
        return Yolox(folder, **options)
    yolo = ultralytics_package()
    path = folder if folder.is_file() or folder.parent != Path(".") else weights_folder() / weights
    if folder.parent != Path(".") and not folder.is_file():  # ultralytics downloads bare names only
        raise missing_weights("yolo", weights, "no such file", "/path/to/yolov8n.pt")
    try:
        return Yolo(yolo.YOLO(str(path), task="detect", verbose=False), device=device, **options)
    except Exception as error:  # ultralytics passes on any error of its download or reader
        raise missing_weights("yolo", weights, error, "/path/to/yolov8n.pt") from error


def _load_folder(folder: Path, device: str, **options: Any) -> Yolo:
    config = read_config(folder)
    yolo = Yolo.small(config["categories"], config["image_size"], config["config"])
    load_weights(yolo.module, folder)
    return Yolo(yolo.model, **{"image_size": config["image_size"], "device": device, "stretch": True, **options})
