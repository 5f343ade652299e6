"""Crops of images at the input size of a model: by Pillow on a CPU, by matrix products on a GPU.

Both give bit-identical crops. Pillow's resampling is separable, so it equals two products with matrices that depend
only on the old and the new length of a side. A GPU builds the matrices for a whole batch at once, and the pixels stay
on it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import PIL
from PIL import Image, ImageFilter

from vg_gym.runtime.lazy_imports import torch

KERNELS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
"""Name of an interpolation -> Pillow's constant."""
CROPS_PER_CHUNK = 32
"""Number of crops that :func:`crop_and_resize` holds in floating point at once: about 400 MB at 640 x 480 pixels."""


def pixel_boxes(boxes: np.ndarray, sizes: np.ndarray | tuple[int, int]) -> np.ndarray:
    """Round boxes outwards to whole pixels inside the image, int64 (..., 4), at least one pixel wide and high.

    Args:
        boxes: pixel boxes (..., 4).
        sizes: width and height of the image (2,), or of each box's image (..., 2).
    """
    low = np.clip(np.floor(boxes[..., :2]), 0, np.asarray(sizes) - 1)
    high = np.clip(np.ceil(boxes[..., 2:]), low + 1, sizes)
    return np.concatenate([low, high], axis=-1).astype(np.int64)


def crop(image: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Return the pixels of an image (H, W, 3) under a pixel box, rounded outwards to at least one pixel."""
    x1, y1, x2, y2 = pixel_boxes(box, image.shape[1::-1])
    return image[y1:y2, x1:x2]


def resize(image: np.ndarray, size: int, interpolation: str = "bicubic") -> np.ndarray:
    """Squash a uint8 image (H, W, 3) to (size, size, 3); ``interpolation`` is a key of :data:`KERNELS`."""
    if image.shape[:2] == (size, size):
        return image
    # Crops are cut before they are resized, because resize(box=) mixes in pixels around the box.
    return np.asarray(Image.fromarray(image).resize((size, size), KERNELS[interpolation]))


def blur(image: np.ndarray, radius: float) -> np.ndarray:
    """Blur a copy of a uint8 image (H, W, 3) by a Gaussian with a standard deviation of ``radius`` pixels."""
    return np.array(Image.fromarray(image).filter(ImageFilter.GaussianBlur(radius)))


def crop_and_resize(
    images: Sequence[torch.Tensor], boxes: np.ndarray, size: int, interpolation: str = "bicubic"
) -> torch.Tensor:
    """Crop one box from each image and resize it, on the images' device; bit-identical to :func:`crop`, :func:`resize`.

    Args:
        images: uint8 images (H, W, 3) of any sizes, all on one device; an image may occur several times.
        boxes: pixel boxes (N, 4).
        size: side S of the crops in pixels.
        interpolation: key of :data:`KERNELS`.

    Returns:
        Crops, float32 (N, 3, S, S), with integer values from 0 to 255.
    """
    sizes = np.array([image.shape[1::-1] for image in images]).reshape(-1, 2)
    whole = pixel_boxes(boxes, sizes)
    starts = range(0, len(images), CROPS_PER_CHUNK)
    parts = [
        _crop_and_resize(images[i : i + CROPS_PER_CHUNK], whole[i : i + CROPS_PER_CHUNK], size, interpolation)
        for i in starts
    ]
    return torch.cat(parts) if parts else torch.zeros(0, 3, size, size)


def _crop_and_resize(images: Sequence[torch.Tensor], boxes: np.ndarray, size: int, interpolation: str) -> torch.Tensor:
    widths, heights = (boxes[:, 2:] - boxes[:, :2]).T
    turned = _goes_down_first(widths, heights, size)
    first, second = np.where(turned, heights, widths), np.where(turned, widths, heights)
    device, shape = images[0].device, (len(images), 3, int(second.max()), int(first.max()))
    canvas = torch.zeros(shape, device=device)  # one crop per item, in the upper left corner; transposed where `turned`
    for place, image, turn, (x1, y1, x2, y2) in zip(canvas, images, turned, boxes.tolist(), strict=True):
        pixels = image[y1:y2, x1:x2].permute(2, 1, 0) if turn else image[y1:y2, x1:x2].permute(2, 0, 1)
        place[:, : pixels.shape[1], : pixels.shape[2]] = pixels
    halfway = _resample(canvas, first, size, interpolation)
    crops = _resample(halfway.mT, second, size, interpolation)
    return torch.where(torch.from_numpy(turned).to(device)[:, None, None, None], crops, crops.mT)


def _goes_down_first(widths: np.ndarray, heights: np.ndarray, size: int) -> np.ndarray:
    """Return where Pillow resamples columns before rows, bool (N,); the order matters because it rounds in between."""
    # Pillow 12 and older always start with rows; Pillow 13 and newer start with the direction that saves more work.
    return (heights - size > 2 * np.maximum(widths - size, 0)) & (int(PIL.__version__.split(".")[0]) >= 13)


def _resample(pixels: torch.Tensor, lengths: np.ndarray, size: int, interpolation: str) -> torch.Tensor:
    """Resample lines of integer values (N, 3, K, L), of which the first ``lengths`` (N,) count, to (N, 3, K, size)."""
    weights = _weights(torch.from_numpy(lengths).to(pixels.device), pixels.shape[-1], size, interpolation)
    # Weights are split into two parts of 11 bits, so that the sums are exact in float32, as Pillow's are in integers.
    coarse = (weights * 2**11).round() / 2**11
    with torch.autocast(pixels.device.type, enabled=False):
        high, low = (pixels.flatten(1, 2) @ part.float().mT for part in (coarse, weights - coarse))
    levels = (high.double() + low + 0.5).floor().clamp(0, 255)
    return levels.float().unflatten(1, (3, -1))


def _weights(lengths: torch.Tensor, longest: int, size: int, interpolation: str) -> torch.Tensor:
    """Return matrices (N, size, longest) that resample sides of ``lengths`` (N,) pixels, float64 in multiples of 2^-22.

    The multiples are those of Pillow. When a side shrinks, the kernel is stretched by the same factor (antialiasing).
    At the ends of a side it is cut off and normalised.
    """
    n = lengths.view(-1, 1, 1)
    new = torch.arange(size, device=n.device)[:, None]
    old = torch.arange(longest, device=n.device)
    # Distance of the pixels' centres in kernel units.
    distance = ((2 * old + 1) * size - (2 * new + 1) * n).abs().double() / (2 * n.clamp(min=size))
    kernel = _bilinear if interpolation == "bilinear" else _bicubic
    weights = kernel(distance) * (old < n)
    return (weights / weights.sum(dim=-1, keepdim=True) * 2**22).round() / 2**22


def _bicubic(t: torch.Tensor) -> torch.Tensor:
    """Evaluate Keys' kernel with a = -0.5 at distances t >= 0."""
    near, far = (1.5 * t - 2.5) * t * t + 1, ((-0.5 * t + 2.5) * t - 4) * t + 2
    return torch.where(t < 1, near, far * (t < 2))


def _bilinear(t: torch.Tensor) -> torch.Tensor:
    """Evaluate the triangle kernel at distances t >= 0."""
    return (1 - t).clamp(min=0)
