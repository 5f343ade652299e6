"""Batches of learned grounders: images on a canvas, and their expressions.

An image is encoded once for all its expressions; ``image_of`` maps an expression to its image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import Image

from vg_gym.errors import unknown
from vg_gym.learned.tokenization import Tokens

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""ImageNet's mean and standard deviation of pixels in [0, 1], which normalise images."""
CANVASES = ("letterbox", "shortest", "square")
"""Kinds of :class:`Canvas`."""


@dataclass(frozen=True)
class Batch:
    """Batch of B images and N expressions."""

    images: torch.Tensor
    """Normalised images, float32 (B, 3, H, W), zero outside the image."""
    padding_mask: torch.Tensor
    """True outside the image, bool (B, H, W)."""
    frames: torch.Tensor
    """Left, top, width and height of the image on its canvas, as fractions of the canvas, float32 (B, 4)."""
    image_of: torch.Tensor
    """Image of each expression, int64 (N,)."""
    tokens: Tokens
    """Tokens of the N expressions."""
    boxes: torch.Tensor | None = None
    """True boxes, ``xyxy`` normalised by the image, float32 (N, 4); None at test time."""
    initial_boxes: torch.Tensor | None = None
    """Initial boxes to refine, in the form of ``boxes``."""
    features: torch.Tensor | None = None
    """Cached :meth:`~vg_gym.learned.model.GroundingModel.frozen_image_features` (B, ...), or None."""

    def __len__(self) -> int:
        """Number of expressions."""
        return len(self.image_of)

    def to(self, device: torch.device | str) -> Batch:
        """Return the batch on a device."""
        moved = {k: v.to(device) for k, v in vars(self).items() if v is not None}
        return replace(self, **moved)

    def to_canvas(self, boxes: torch.Tensor) -> torch.Tensor:
        """Convert ``xyxy`` boxes (N, 4) from normalised by the image to normalised by the canvas."""
        frame = self.frames[self.image_of]
        return boxes * frame[:, [2, 3, 2, 3]] + frame[:, [0, 1, 0, 1]]

    def from_canvas(self, boxes: torch.Tensor) -> torch.Tensor:
        """Convert ``xyxy`` boxes (N, 4) from normalised by the canvas to normalised by the image."""
        frame = self.frames[self.image_of]
        return (boxes - frame[:, [0, 1, 0, 1]]) / frame[:, [2, 3, 2, 3]]


@dataclass(frozen=True)
class Canvas:
    """Canvas that scales images to the input size of a network.

    >>> Canvas("shortest", 800).scaled_size(640, 480), Canvas("letterbox", 640).scaled_size(320, 160)
    ((1067, 800), (640, 320))

    Raises:
        VGGymError: the kind is unknown.
    """

    kind: str
    """``letterbox`` (longer side to ``size``, centred in a square; TransVG), ``shortest`` (shorter side to ``size``,
    the longer at most ``longest``, in the upper left corner; DETR and MDETR) or ``square`` (stretched to a square)."""
    size: int
    """Side in pixels; see ``kind``."""
    longest: int = 1333
    """Largest length of the longer side in pixels, for ``shortest``."""
    mean: tuple[float, ...] = IMAGENET[0]
    """Mean that normalises pixels in [0, 1]."""
    std: tuple[float, ...] = IMAGENET[1]
    """Standard deviation that normalises pixels in [0, 1]."""

    def __post_init__(self) -> None:
        if self.kind not in CANVASES:
            raise unknown("canvas", self.kind, CANVASES)

    def scaled_size(self, width: int, height: int) -> tuple[int, int]:
        """Return (width, height) in pixels after scaling an image of a size."""
        if self.kind == "square":
            return self.size, self.size
        factor = self.size / max(width, height)
        if self.kind == "shortest":
            factor = min(self.size / min(width, height), self.longest / max(width, height))
        return max(1, round(width * factor)), max(1, round(height * factor))

    def place(self, images: Sequence[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the batch's ``images``, ``padding_mask`` and ``frames`` for uint8 images (H, W, 3) of any size."""
        sizes = [self.scaled_size(image.shape[1], image.shape[0]) for image in images]
        width, height = (max(s[i] for s in sizes) for i in (0, 1))
        if self.kind == "letterbox":
            width = height = self.size
        pixels = np.zeros((len(images), height, width, 3), dtype=np.uint8)
        padding_mask = torch.ones(len(images), height, width, dtype=torch.bool)
        frames = torch.zeros(len(images), 4)
        for row, (image, (w, h)) in enumerate(zip(images, sizes, strict=True)):
            x, y = self._corner(width - w, height - h)
            pixels[row, y : y + h, x : x + w] = _resize(image, w, h)
            padding_mask[row, y : y + h, x : x + w] = False
            frames[row] = torch.tensor([x / width, y / height, w / width, h / height])
        return self._normalize(pixels).masked_fill(padding_mask[:, None], 0.0), padding_mask, frames

    def _corner(self, spare_width: int, spare_height: int) -> tuple[int, int]:
        """Return (left, top) of an image on the canvas; halves are rounded down as in TransVG."""
        if self.kind != "letterbox":
            return 0, 0
        return round(spare_width / 2 - 0.1), round(spare_height / 2 - 0.1)

    def _normalize(self, pixels: np.ndarray) -> torch.Tensor:
        """Normalise uint8 images (B, H, W, 3) to float32 (B, 3, H, W)."""
        images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
        mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (self.mean, self.std))
        return (images - mean) / std


def _resize(image: np.ndarray, width: int, height: int) -> np.ndarray:
    if image.shape[:2] == (height, width):
        return image
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
