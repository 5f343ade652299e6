"""Batches of learned grounders: pictures on a canvas, and the expressions about each of them.

A picture is looked at once, however many expressions are about it: ``image_of`` says which picture an expression is
about.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import Image

from vg_gym.learned.tokenization import Tokens

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and standard deviation that pictures are normalised with."""


@dataclass(frozen=True)
class Batch:
    """B pictures and N expressions.

    ``images`` float32 (B, 3, H, W), normalised, zero outside the picture; ``padding`` bool (B, H, W), True outside it;
    ``frames`` float32 (B, 4): left, top, width and height of the picture on its canvas, as fractions of the canvas;
    ``image_of`` int64 (N,); ``tokens`` of the N expressions; ``boxes`` float32 (N, 4), the answers, ``xyxy``
    normalised by the picture: None at test time. ``starts`` likewise, boxes to refine. ``features`` (B, ...): what the
    network's :meth:`~vg_gym.learned.model.GroundingModel.observe` made of the pictures, where it was made before.
    """

    images: torch.Tensor
    padding: torch.Tensor
    frames: torch.Tensor
    image_of: torch.Tensor
    tokens: Tokens
    boxes: torch.Tensor | None = None
    starts: torch.Tensor | None = None
    features: torch.Tensor | None = None

    def __len__(self) -> int:
        """Number of expressions."""
        return len(self.image_of)

    def to(self, device: torch.device | str) -> Batch:
        """The batch on a device."""
        moved = {k: v.to(device) for k, v in vars(self).items() if v is not None}
        return replace(self, **moved)

    def on_canvas(self, boxes: torch.Tensor) -> torch.Tensor:
        """Boxes (N, 4) ``xyxy`` normalised by their pictures as ``xyxy`` normalised by the canvas."""
        frame = self.frames[self.image_of]
        return boxes * frame[:, [2, 3, 2, 3]] + frame[:, [0, 1, 0, 1]]

    def off_canvas(self, boxes: torch.Tensor) -> torch.Tensor:
        """The inverse of :meth:`on_canvas`."""
        frame = self.frames[self.image_of]
        return (boxes - frame[:, [0, 1, 0, 1]]) / frame[:, [2, 3, 2, 3]]


@dataclass(frozen=True)
class Canvas:
    """How pictures are brought to the size a network wants.

    Args:
        kind: ``letterbox`` (longer side to ``size``, centred in a square; TransVG), ``shortest`` (shorter side to
            ``size`` but the longer at most ``longest``, upper left corner; DETR and MDETR) or ``square`` (squashed).
        size: pixels.
        longest: pixels, for ``shortest``.
        mean: of normalised pixels, in [0, 1].
        std: of the same.
    """

    kind: str
    size: int
    longest: int = 1333
    mean: tuple[float, ...] = IMAGENET[0]
    std: tuple[float, ...] = IMAGENET[1]

    def shape(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) in pixels that a picture of some size is brought to."""
        if self.kind == "square":
            return self.size, self.size
        factor = self.size / max(width, height)
        if self.kind == "shortest":
            factor = min(self.size / min(width, height), self.longest / max(width, height))
        return max(1, round(width * factor)), max(1, round(height * factor))

    def place(self, pictures: Sequence[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """``images``, ``padding`` and ``frames`` of :class:`Batch` for uint8 pictures (H, W, 3) of any sizes."""
        shapes = [self.shape(picture.shape[1], picture.shape[0]) for picture in pictures]
        width, height = (max(s[i] for s in shapes) for i in (0, 1))
        if self.kind == "letterbox":
            width = height = self.size
        pixels = np.zeros((len(pictures), height, width, 3), dtype=np.uint8)
        padding = torch.ones(len(pictures), height, width, dtype=torch.bool)
        frames = torch.zeros(len(pictures), 4)
        for row, (picture, (w, h)) in enumerate(zip(pictures, shapes, strict=True)):
            left, top = (round((height - h) / 2 - 0.1), round((width - w) / 2 - 0.1))[::-1]
            if self.kind != "letterbox":
                left = top = 0
            pixels[row, top : top + h, left : left + w] = _resized(picture, w, h)
            padding[row, top : top + h, left : left + w] = False
            frames[row] = torch.tensor([left / width, top / height, w / width, h / height])
        images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
        mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (self.mean, self.std))
        return ((images - mean) / std).masked_fill(padding[:, None], 0.0), padding, frames


def _resized(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    if picture.shape[:2] == (height, width):
        return picture
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR))
