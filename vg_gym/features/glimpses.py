"""Glimpses: score maps and features averaged on small grids inside windows around a box.

Windows of 1x, 2x and 4x the box and the whole image move with the box, so that "the object is to my upper right" looks
the same wherever the box is. Score maps are standardised per image, because raw cosines have a small range, and limited
to +-MAX_MAP_SCORE.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym.clip.dense import l2_normalize
from vg_gym.clip.tables import lattice_values, table_sums
from vg_gym.runtime.lazy_imports import torch

WINDOWS = (1.0, 2.0, 4.0)
"""Sizes of the moving windows, in sides of the box; a fourth window is the whole image."""
GLIMPSE = 8
"""Cells per side of a glimpse of score maps."""
FEATURE_GLIMPSE = 4
"""Cells per side of a glimpse of features."""
MAX_MAP_SCORE = 10.0
"""Largest absolute value in a score map; the space is slightly wider, so that rounded averages stay inside."""
MIN_FEATURE_NORM = 1e-3
"""Norm below which a sum of features counts as zero: it covers almost no pixels, and rounding gives its direction."""
_STEPS = np.linspace(0, 1, GLIMPSE + 1, dtype=np.float32)
OFFSETS = np.array(WINDOWS, dtype=np.float32)[:, None] * (_STEPS - 0.5)
"""Lines of the moving windows (3, G+1) relative to the centre of the box, in sides of the box."""


def window_lines(boxes: Any) -> Any:
    """Return columns and rows (B, 2, 3, G+1) that divide the windows of normalised boxes (B, 4) into G x G cells."""
    low, high = boxes[:, :2, None, None], boxes[:, 2:, None, None]
    offsets = OFFSETS if isinstance(boxes, np.ndarray) else _on(boxes.device)[0]
    return (low + high) / 2 + (high - low) * offsets


def whole_lines(like: Any) -> Any:
    """Return the lines (B, 2, 1, G+1) of the whole image, with the length and type of an array or tensor (B, ...)."""
    steps = _STEPS if isinstance(like, np.ndarray) else _on(like.device)[1]
    return box_ops.namespace(like).broadcast_to(steps, (len(like), 2, 1, GLIMPSE + 1))


@lru_cache
def _on(device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(OFFSETS).to(device), torch.from_numpy(_STEPS).to(device)


def glimpses(maps: torch.Tensor, lines: torch.Tensor, out: torch.Tensor) -> None:
    """Average score maps in the cells of windows, and compute the share of each cell inside the image.

    Args:
        maps: summed-area tables (B, M, g+1, g+1).
        lines: normalised columns and rows of K windows (B, 2, K, G+1). They may lie outside the image, where scores
            are 0.
        out: output (B, K or more, M + 1, G, G): for each window its M maps, then its coverage.
    """
    inside, cell = lines.clip(0, 1), (lines[..., -1:] - lines[..., :1]) / GLIMPSE
    share = (inside[..., 1:] - inside[..., :-1]) / cell
    windows = out[:, : lines.shape[2]]
    torch.mul(share[:, 1, :, :, None], share[:, 0, :, None, :], out=windows[:, :, -1])
    values = lattice_values(maps, inside)
    sums = values[..., 1:, :] - values[..., :-1, :]
    sums = sums[..., 1:] - sums[..., :-1]
    cells = cell[:, 0] * cell[:, 1] * (maps.shape[-1] - 1) ** 2
    torch.div(sums, cells[:, None, ..., None], out=windows[:, :, :-1].swapaxes(1, 2))


def feature_glimpses(tables: Any, slots: Any, boxes: Any) -> Any:
    """Return unit dense features averaged in the cells of all four windows.

    Args:
        tables: summed-area tables (S, g+1, g+1, D).
        slots: slot of each box's table (B,).
        boxes: normalised (B, 4).

    Returns:
        Features (B, 4 * G' * G' * D).
    """
    xp, stride, cells = box_ops.namespace(boxes), GLIMPSE // FEATURE_GLIMPSE, FEATURE_GLIMPSE
    lines = xp.concatenate([window_lines(boxes), whole_lines(boxes)], axis=2)
    lines = box_ops.clamp(lines[..., ::stride], 0, 1)
    columns, rows = lines[:, 0, :, None, :], lines[:, 1, :, :, None]
    edges = (columns[..., :-1], rows[..., :-1, :], columns[..., 1:], rows[..., 1:, :])
    shape = (len(boxes), len(WINDOWS) + 1, cells, cells, 1)
    places = xp.concatenate([xp.broadcast_to(edge[..., None], shape) for edge in edges], axis=-1)
    sums = table_sums(tables, slots, places.reshape(len(boxes), -1, 4))
    return l2_normalize(sums, MIN_FEATURE_NORM).reshape(len(boxes), -1)
