"""Augmentation of training images: brightness, contrast, white balance and noise; mirroring; a border."""

from __future__ import annotations

import numpy as np

from vg_gym import boxes as box_ops

EXPOSURE, CONTRAST, BALANCE, NOISE = 0.35, 0.3, 0.08, 6.0
"""At full strength: largest logarithm of the brightness and contrast factors, standard deviation of the logarithm of
the colour channels' factors, and largest standard deviation of the noise in grey levels."""


def photometric(image: np.ndarray, rng: np.random.Generator, strength: float = 1.0) -> np.ndarray:
    """Return a uint8 image (H, W, 3) with another brightness, contrast and white balance, and with noise.

    The factors are so small that colours keep their names.

    Args:
        image: pixels, uint8 (H, W, 3).
        rng: random generator of the changes.
        strength: factor of all changes; 0 returns the image.
    """
    if not strength:
        return image
    gain = np.exp(strength * (rng.uniform(-EXPOSURE, EXPOSURE) + rng.normal(0, BALANCE, 3)))
    slope = np.exp(strength * rng.uniform(-CONTRAST, CONTRAST))
    pixels = image.astype(np.float32) * gain.astype(np.float32)
    middle = pixels.mean()
    noise = rng.standard_normal(image.shape, dtype=np.float32) * np.float32(strength * rng.uniform(0, NOISE))
    return np.clip((pixels - middle) * np.float32(slope) + middle + noise, 0, 255).astype(np.uint8)


def mirrored(image: np.ndarray, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return an image (H, W, 3) with left and right exchanged, and its normalised boxes (N, 4)."""
    return np.ascontiguousarray(image[:, ::-1]), box_ops.mirror(boxes)


def bordered(
    image: np.ndarray, boxes: np.ndarray, rng: np.random.Generator, share: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return an image with a plain border, and its normalised boxes (N, 4), so that objects are smaller.

    The border has one random grey level. Its width at each side is random, up to ``share`` of the image's side.

    Args:
        image: pixels, uint8 (H, W, 3).
        boxes: normalised boxes of the image, (N, 4).
        rng: random generator of the border.
        share: largest width, as a fraction of the image's side; 0 returns the image.
    """
    if not share:
        return image, boxes
    size = np.array(image.shape[1::-1])
    low, high = np.floor(rng.uniform(0, share, (2, 2)) * size).astype(int)
    widths = ((low[1], high[1]), (low[0], high[0]), (0, 0))
    larger = np.pad(image, widths, constant_values=int(rng.integers(256)))
    moved = box_ops.denormalize(boxes, (int(size[0]), int(size[1]))) + np.tile(low, 2)
    return larger, box_ops.normalize(moved, (larger.shape[1], larger.shape[0]))
