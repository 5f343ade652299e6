"""Cutting boxes out of images at the size a model takes: on the host with Pillow, on a GPU by matrix products.

Both give the same crops, to the bit. Pillow's resampling is separable, so it is two products with matrices
that depend only on the old and the new length of a side. A GPU makes these for a whole batch at once, and the pixels
stay on it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import PIL
from PIL import Image, ImageFilter

from vg_gym.lazily import torch

KERNELS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
"""Interpolation -> Pillow's."""
AT_ONCE = 32
"""Crops that :func:`crop_and_resize` holds in floating point together: 32 of 640 x 480 pixels take some 400 MB."""


def pixel_boxes(boxes: np.ndarray, sizes: np.ndarray | tuple[int, int]) -> np.ndarray:
    """Whole-pixel boxes (..., 4) int64 inside the image: rounded outwards, at least one pixel.

    Args:
        boxes: pixels (..., 4).
        sizes: width and height of the image (2,), or of each box's image (..., 2).
    """
    low = np.clip(np.floor(boxes[..., :2]), 0, np.asarray(sizes) - 1)
    high = np.clip(np.ceil(boxes[..., 2:]), low + 1, sizes)
    return np.concatenate([low, high], axis=-1).astype(np.int64)


def crop(image: np.ndarray, box: np.ndarray) -> np.ndarray:
    """The pixels of an image (H, W, 3) under a pixel box, rounded outwards, at least one pixel."""
    x1, y1, x2, y2 = pixel_boxes(box, image.shape[1::-1])
    return image[y1:y2, x1:x2]


def resize(image: np.ndarray, size: int, interpolation: str = "bicubic") -> np.ndarray:
    """A uint8 image (H, W, 3) squashed to (size, size, 3), by a key of :data:`KERNELS`."""
    if image.shape[:2] == (size, size):
        return image
    # Not resize(box=): that lets the pixels around the box shine in.
    return np.asarray(Image.fromarray(image).resize((size, size), KERNELS[interpolation]))


def blur(image: np.ndarray, radius: float) -> np.ndarray:
    """A copy of a uint8 image (H, W, 3), blurred by a Gaussian with a standard deviation of ``radius`` pixels."""
    return np.array(Image.fromarray(image).filter(ImageFilter.GaussianBlur(radius)))


def crop_and_resize(
    images: Sequence[torch.Tensor], boxes: np.ndarray, size: int, interpolation: str = "bicubic"
) -> torch.Tensor:
    """What :func:`resize` makes of :func:`crop`, to the bit, on the images' device, for one box of each image.

    Args:
        images: uint8 (H, W, 3) each, of any sizes, all on one device; the same may come many times.
        boxes: pixels (N, 4).
        size: S, side of the crops.
        interpolation: a key of :data:`KERNELS`.

    Returns:
        float32 (N, 3, S, S), whole levels from 0 to 255.
    """
    sizes = np.array([image.shape[1::-1] for image in images]).reshape(-1, 2)
    whole = pixel_boxes(boxes, sizes)
    starts = range(0, len(images), AT_ONCE)
    parts = [_crop_and_resize(images[i : i + AT_ONCE], whole[i : i + AT_ONCE], size, interpolation) for i in starts]
    return torch.cat(parts) if parts else torch.zeros(0, 3, size, size)


def _crop_and_resize(images: Sequence[torch.Tensor], boxes: np.ndarray, size: int, interpolation: str) -> torch.Tensor:
    widths, heights = (boxes[:, 2:] - boxes[:, :2]).T
    turned = _goes_down_first(widths, heights, size)
    first, second = np.where(turned, heights, widths), np.where(turned, widths, heights)
    device, shape = images[0].device, (len(images), 3, int(second.max()), int(first.max()))
    canvas = torch.zeros(shape, device=device)  # every crop in the upper left corner, those that go down first turned
    for place, image, turn, (x1, y1, x2, y2) in zip(canvas, images, turned, boxes.tolist(), strict=True):
        pixels = image[y1:y2, x1:x2].permute(2, 1, 0) if turn else image[y1:y2, x1:x2].permute(2, 0, 1)
        place[:, : pixels.shape[1], : pixels.shape[2]] = pixels
    halfway = _resample(canvas, first, size, interpolation)
    crops = _resample(halfway.mT, second, size, interpolation)
    return torch.where(torch.from_numpy(turned).to(device)[:, None, None, None], crops, crops.mT)


def _goes_down_first(widths: np.ndarray, heights: np.ndarray, size: int) -> np.ndarray:
    """Booleans (N,): where Pillow resamples columns before rows; levels are rounded in between, so the order shows."""
    # Up to Pillow 12 nowhere; from 13 on where more is to be won by it.
    return (heights - size > 2 * np.maximum(widths - size, 0)) & (int(PIL.__version__.split(".")[0]) >= 13)


def _resample(pixels: torch.Tensor, lengths: np.ndarray, size: int, interpolation: str) -> torch.Tensor:
    """Lines of whole levels (N, 3, K, L), of which ``lengths`` (N,) pixels count, resampled to (N, 3, K, size)."""
    weights = _weights(torch.from_numpy(lengths).to(pixels.device), pixels.shape[-1], size, interpolation)
    # In two parts of 11 bits, so that the sums are exact in single precision, as Pillow's are in whole numbers.
    coarse = (weights * 2**11).round() / 2**11
    with torch.autocast(pixels.device.type, enabled=False):
        high, low = (pixels.flatten(1, 2) @ part.float().mT for part in (coarse, weights - coarse))
    levels = (high.double() + low + 0.5).floor().clamp(0, 255)
    return levels.float().unflatten(1, (3, -1))


def _weights(lengths: torch.Tensor, longest: int, size: int, interpolation: str) -> torch.Tensor:
    """Matrices (N, size, longest) that resample sides of ``lengths`` (N,) pixels; float64 in Pillow's steps of 2^-22.

    When a side shrinks, the kernel is stretched by as much (antialiasing); at the ends it is cut off and normalised.
    """
    n = lengths.view(-1, 1, 1)
    new = torch.arange(size, device=n.device)[:, None]
    old = torch.arange(longest, device=n.device)
    # Between the pixels' centres, in kernel units.
    distance = ((2 * old + 1) * size - (2 * new + 1) * n).abs().double() / (2 * n.clamp(min=size))
    kernel = _bilinear if interpolation == "bilinear" else _bicubic
    weights = kernel(distance) * (old < n)
    return (weights / weights.sum(dim=-1, keepdim=True) * 2**22).round() / 2**22


def _bicubic(t: torch.Tensor) -> torch.Tensor:
    """Keys' kernel with a = -0.5 at distances t >= 0."""
    near, far = (1.5 * t - 2.5) * t * t + 1, ((-0.5 * t + 2.5) * t - 4) * t + 2
    return torch.where(t < 1, near, far * (t < 2))


def _bilinear(t: torch.Tensor) -> torch.Tensor:
    """The triangle at distances t >= 0."""
    return (1 - t).clamp(min=0)
