"""YOLOX (Ge et al. 2021) in ONNX format, through onnxruntime: one raw output (1, N, 5 + classes) on three grids."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torchvision.ops import batched_nms

from vg_gym.baselines.detectors.base import coco_names
from vg_gym.boxes import from_cxcywh
from vg_gym.errors import VGGymError, importing
from vg_gym.features.proposals import proposals
from vg_gym.storage.files import fingerprint
from vg_gym.types import Proposals

STRIDES = (8, 16, 32)
"""Pixels per cell of the three grids."""


def _session(path: Path) -> Any:
    with importing("an .onnx file", "onnxruntime", "onnx"):
        import onnxruntime
    try:
        return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has no public base class of its errors
        raise VGGymError(f"{path} is not a readable ONNX model: {' '.join(str(error).split())[:200]}") from error


def is_yolox(path: Path) -> bool:
    """Return True if an ONNX file has YOLOX's output (1, N, 5 + classes) of N cells; ultralytics' is (1, C, N)."""
    session = _session(path)
    height, width = session.get_inputs()[0].shape[2:]
    shape = session.get_outputs()[0].shape
    if not (isinstance(height, int) and isinstance(width, int)):
        return False
    return len(shape) == 3 and shape[1] == sum((height // s) * (width // s) for s in STRIDES)


class Yolox:
    """YOLOX as a proposer. Images are placed in the upper left corner of a grey canvas, in BGR from 0 to 255.

    Args:
        path: the ``.onnx`` file.
        min_score: minimum objectness times class probability.
        nms_iou: IoU within a class above which the lower-scored box is removed.
    """

    def __init__(self, path: Path, min_score: float = 0.05, nms_iou: float = 0.7):
        self.name, self.min_score, self.nms_iou = "yolo", min_score, nms_iou
        self.fingerprint = fingerprint(path, min_score, nms_iou)
        self.session = _session(path)
        self.height, self.width = self.session.get_inputs()[0].shape[2:]
        self.cells = _cells(self.height, self.width)

    def propose(self, images: Sequence[np.ndarray]) -> list[Proposals]:
        """Return the proposals of every image (H, W, 3) uint8; the network takes one image at a time."""
        return [self._one(image) for image in images]

    def _one(self, image: np.ndarray) -> Proposals:
        canvas, scale = _letterbox(image, self.height, self.width)
        name = self.session.get_inputs()[0].name
        raw = self.session.run(None, {name: canvas.transpose(2, 0, 1)[None]})[0][0]
        boxes = self._decode(raw[:, :4]) / scale
        classes = raw[:, 5:] * raw[:, 4:5]
        best = classes.argmax(axis=1)
        scores = classes.max(axis=1)
        keep = scores >= self.min_score
        return self._finish(boxes[keep], scores[keep], best[keep], image)

    def _finish(self, boxes: np.ndarray, scores: np.ndarray, classes: np.ndarray, image: np.ndarray) -> Proposals:
        tensors = (torch.from_numpy(np.ascontiguousarray(x)) for x in (boxes, scores, classes))
        rows = batched_nms(*tensors, self.nms_iou).numpy()
        coco = coco_names()
        names = [coco[c] if c < len(coco) else str(c) for c in classes[rows]]
        return proposals(boxes[rows], scores[rows], names, image)

    def _decode(self, raw: np.ndarray) -> np.ndarray:
        """Convert cell offsets and log sides (N, 4) to ``xyxy`` pixels of the canvas."""
        corner, stride = self.cells[:, :2], self.cells[:, 2:]
        center, side = (raw[:, :2] + corner) * stride, np.exp(raw[:, 2:]) * stride
        return from_cxcywh(np.concatenate([center, side], axis=1))


def _cells(height: int, width: int) -> np.ndarray:
    """Return column, row and stride of every cell, float32 (N, 3), in the order of the output."""
    parts = []
    for stride in STRIDES:
        rows, columns = np.mgrid[: height // stride, : width // stride]
        parts.append(np.stack([columns.ravel(), rows.ravel(), np.full(rows.size, stride)], axis=1))
    return np.concatenate(parts).astype(np.float32)


def _letterbox(image: np.ndarray, height: int, width: int) -> tuple[np.ndarray, float]:
    scale = min(height / image.shape[0], width / image.shape[1])
    size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    canvas = np.full((height, width, 3), 114, dtype=np.float32)
    canvas[: size[1], : size[0]] = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))[..., ::-1]
    return canvas, scale
