"""Effects of a camera on the light: exposure, white balance, contrast, blur, noise and JPEG."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageFilter

from vg_gym.data.worlds.refscenes.scene import Photometry

USUAL_SIDE_PX = 256
"""Long side in pixels of the picture that the ranges of blur are for; they grow with the picture."""


def sample_photometry(rng: np.random.Generator, shifted: bool, long_side: int) -> Photometry:
    """Sample a photometry, either of training or, if ``shifted``, outside its range in one to three ways."""
    scale = long_side / USUAL_SIDE_PX
    usual = Photometry(
        exposure=float(np.exp(np.clip(rng.normal(0.05, 0.13), -0.3, 0.35))),
        white_balance=_balance(rng, 0.06),
        contrast=float(rng.uniform(0.88, 1.18)),
        noise=float(rng.uniform(0.5, 6.0)),
        blur=float(rng.uniform(0.0, 0.7)) * scale,
        quality=int(rng.integers(40, 96)),
    )
    if not shifted:
        return usual
    fields = dict(usual.__dict__)
    ways = {
        "exposure": float(rng.uniform(0.42, 0.6) if rng.random() < 0.6 else rng.uniform(1.6, 1.9)),
        "white_balance": _balance(rng, 0.25, least=0.14),
        "contrast": float(rng.uniform(0.45, 0.7)),
        "noise": float(rng.uniform(10.0, 20.0)),
        "blur": float(rng.uniform(1.1, 1.9)) * scale,
        "quality": int(rng.integers(10, 26)),
    }
    for name in rng.permutation(list(ways))[: rng.integers(1, 4)].tolist():
        fields[name] = ways[name]
    return Photometry(**{**fields, "mirrored": bool(rng.random() < 0.5)})


def _balance(rng: np.random.Generator, most: float, least: float = 0.0) -> tuple[float, float, float]:
    """Return factors of red, green and blue: warm or cold light."""
    warmth = float(rng.uniform(least, most) * rng.choice((-1, 1)))
    return 1.0 + warmth, 1.0, 1.0 - warmth


def develop(light: np.ndarray, photometry: Photometry, rng: np.random.Generator) -> bytes:
    """Return the JPEG file of a picture.

    Args:
        light: light of each pixel, float64 (H, W, 3), 1 for white.
        photometry: settings of the camera.
        rng: random generator of the noise.
    """
    gains = np.array(photometry.white_balance) * (photometry.exposure * photometry.contrast * 255)
    values = light.astype(np.float32) * gains.astype(np.float32)
    values += np.float32((1.0 - photometry.contrast) * 127.5)
    np.clip(values, 0.0, 255.0, out=values)
    if photometry.blur > 0.1:
        image = Image.fromarray(values.astype(np.uint8)).filter(ImageFilter.GaussianBlur(photometry.blur))
        values = np.asarray(image, np.float32)
    noisy = rng.standard_normal(light.shape, np.float32)
    noisy *= np.float32(photometry.noise)
    noisy += values
    pixels = np.clip(noisy + np.float32(0.5), 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=photometry.quality)
    return buffer.getvalue()
