"""How strongly the pixels of an image change from left to right and from top to bottom: where things end.

CLIP's patches know what there is, and less well where it ends. The maps are absolute differences of neighbouring
pixels, the largest of the three colours, on the image squashed to :data:`SIDE` pixels a side.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vg_gym.clip.crops import resize
from vg_gym.devices import share_out
from vg_gym.features.image_arrays import ImageArrays
from vg_gym.types import ImageRef

SIDE = 128
"""Pixels a side of the maps."""


def edge_maps(image: np.ndarray) -> np.ndarray:
    """Edge strengths uint8 (SIDE, SIDE, 2) of an image (H, W, 3) uint8: across columns, and across rows.

    >>> image = np.zeros((128, 128, 3), np.uint8); image[:, 64:] = 200
    >>> maps = edge_maps(image)
    >>> int(maps[..., 0].argmax(axis=1)[0]), int(maps[..., 1].max())
    (64, 0)
    """
    pixels = resize(image, SIDE).astype(np.int16)
    maps = np.zeros((SIDE, SIDE, 2), dtype=np.uint8)
    maps[:, 1:, 0] = _largest(np.abs(pixels[:, 1:] - pixels[:, :-1]))
    maps[1:, :, 1] = _largest(np.abs(pixels[1:] - pixels[:-1]))
    return maps


def _largest(colors: np.ndarray) -> np.ndarray:
    """The largest (h, w) of three colours (h, w, 3); numpy's reduction of so short an axis takes many times as long."""
    return np.maximum(np.maximum(colors[..., 0], colors[..., 1]), colors[..., 2])


def edge_map_arrays() -> ImageArrays:
    """Edge maps of images, cached."""
    return ImageArrays("edge-maps", "1", (SIDE, SIDE, 2), np.uint8, _make)


def _make(images: Sequence[ImageRef]) -> np.ndarray:
    return np.stack(share_out(lambda image: edge_maps(image.array()), images))
