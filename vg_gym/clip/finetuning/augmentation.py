"""Photometric augmentation of training images: brightness, contrast, white balance and noise."""

from __future__ import annotations

import numpy as np

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
