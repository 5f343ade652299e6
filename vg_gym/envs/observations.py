"""What the agent sees: a flat Dict of vectors (SB3 takes anything with more axes for a picture), for all rows at once.

*Glimpses* are the heart: the score map of the expression, averaged on a small grid inside windows of 1x, 2x and 4x the
box and over the whole image. They move with the box, so that "the object is to my upper right" looks the same wherever
the box is. Score maps are standardised per image, because raw cosines have a small range; averages are clipped to
[-LIMIT, LIMIT].
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from gymnasium import spaces

from vg_gym import boxes as box_ops
from vg_gym.clip.dense import grid_mean, unit
from vg_gym.clip.encoder import ClipEncoder, crop, resize
from vg_gym.envs.actions import ActionSet
from vg_gym.registry import unknown

OBSERVATIONS = ("features", "pixels")
WINDOWS = (1.0, 2.0, 4.0)
"""Sizes of the moving windows, in sides of the box; a fourth window is the whole image."""
GLIMPSE = 8
"""Cells per side of a glimpse of score maps."""
FEATURE_GLIMPSE = 4
"""Cells per side of a glimpse of features."""
LIMIT = 10.0
PIXELS = 84
"""Side of the pictures of ``observation="pixels"``."""
HISTORY = 3
"""Actions remembered."""


@dataclass(frozen=True)
class ObservationOptions:
    """Which parts the observation has.

    Args:
        mode: ``features``, or ``pixels`` which adds the image and the crop under the box, uint8 (84, 84, 3) each.
        tokens: the unit features of the expression's tokens (L, D).
        glimpse_features: dense features averaged on a 4 x 4 grid in the same windows (4, 4, 4, D); implies ``tokens``.

    Raises:
        VGGymError: the mode is unknown.
    """

    mode: str = "features"
    tokens: bool = False
    glimpse_features: bool = False

    def __post_init__(self):
        if self.mode not in OBSERVATIONS:
            raise unknown("observation", self.mode, OBSERVATIONS)


def observation_space(options: ObservationOptions, clip: ClipEncoder, maps: int, actions: ActionSet) -> spaces.Dict:
    """The Dict space of one environment."""
    windows = len(WINDOWS) + 1

    def box(low: float, high: float, *shape: int) -> spaces.Box:
        return spaces.Box(low, high, shape, np.float32)

    parts: dict[str, spaces.Space] = {
        "box": box(0, 1, 8),
        "glimpses": box(-LIMIT, LIMIT, windows * (maps + 1) * GLIMPSE**2),
        "history": box(-1, 1, HISTORY * actions.encoding),
        "image": box(-1, 1, clip.dim),
        "region": box(-1, 1, clip.dim),
        "score": box(-4, 4, 2),
        "step": box(0, 1, 1),
        "text": box(-1, 1, clip.dim),
    }
    if options.tokens or options.glimpse_features:
        parts["tokens"] = box(-1, 1, clip.num_tokens * clip.dim)
    if options.glimpse_features:
        parts["glimpse_features"] = box(-1, 1, windows * FEATURE_GLIMPSE**2 * clip.dim)
    if options.mode == "pixels":
        for name in ("pixels_image", "pixels_crop"):
            parts[name] = spaces.Box(0, 255, (PIXELS, PIXELS, 3), np.uint8)
    return spaces.Dict(parts)


def windows_of(boxes: np.ndarray) -> np.ndarray:
    """The windows (B, 4, 4) of normalised boxes (B, 4): the box grown 1x, 2x, 4x, and the whole image."""
    grown = [box_ops.scale(boxes, factor) for factor in WINDOWS]
    return np.stack([*grown, np.broadcast_to(box_ops.FULL, boxes.shape)], axis=1).astype(np.float32)


def glimpses(maps: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Averages of score maps in the windows, and the share of each cell that lies inside the image.

    Args:
        maps: summed-area tables (B, g+1, g+1, M).
        boxes: (B, 4) normalised.

    Returns:
        (B, 4 * (M + 1) * G * G) float32: for each window its M maps, then its coverage, each a flattened grid.
    """
    windows = windows_of(boxes)
    seen = np.moveaxis(grid_mean(maps, windows, GLIMPSE), -1, 2)
    both = np.concatenate([np.clip(seen, -LIMIT, LIMIT), _coverage(windows)[:, :, None]], axis=2)
    return both.reshape(len(boxes), -1).astype(np.float32)


def _coverage(windows: np.ndarray) -> np.ndarray:
    """Shares (B, K, G, G) of the cells of windows (B, K, 4) inside the image."""
    steps = np.linspace(0, 1, GLIMPSE + 1, dtype=np.float32)
    low, extent = windows[..., :2, None], (windows[..., 2:] - windows[..., :2])[..., None]
    lines = np.clip(low + extent * steps, 0, 1)
    share = np.diff(lines, axis=-1) / np.maximum(extent / GLIMPSE, 1e-6)
    return np.clip(share[..., 1, :, None] * share[..., 0, None, :], 0, 1)


def feature_glimpses(table: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Unit dense features averaged in the windows, (B, 4 * G' * G' * D), from tables (B, g+1, g+1, D)."""
    seen = unit(grid_mean(table, windows_of(boxes), FEATURE_GLIMPSE))
    return np.clip(seen, -1, 1).reshape(len(boxes), -1).astype(np.float32)


def box_coordinates(boxes: np.ndarray) -> np.ndarray:
    """x1, y1, x2, y2, centre x, centre y, width, height of normalised boxes: (B, 8)."""
    return np.clip(np.concatenate([boxes, box_ops.to_cxcywh(boxes)], axis=1), 0, 1).astype(np.float32)


def pixel_views(image: np.ndarray, box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The image, and its crop under a pixel box, both uint8 (84, 84, 3)."""
    return resize(image, PIXELS), resize(crop(image, box), PIXELS)
