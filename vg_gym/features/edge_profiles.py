"""Edge profiles in the observation: strength of the changes of pixels across each edge of the box.

For each edge of the box, a strip slightly longer than the edge is cut into slices on both sides of the edge, and the
edge strength in each slice is averaged. Profiles show where an object ends; CLIP's patches are too coarse for that.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym.clip.region_features import table_sums
from vg_gym.runtime.lazy_imports import torch

SLICES = 24
"""Number of slices across each edge."""
REACH = 0.3
"""Distance that the slices reach to either side of an edge, in sides of the box."""
MARGIN = 0.1
"""Length that a strip extends beyond the edge at either end, in sides of the box."""
SCALE = 4.0
"""Factor of strengths in [0, 1], most of which are small."""
_OFFSETS = np.linspace(-REACH, REACH, SLICES + 1, dtype=np.float32)


def edge_profiles(tables: Any, slots: Any, boxes: Any) -> Any:
    """Return the mean edge strength in the slices across each edge.

    Args:
        tables: summed-area tables (S, side + 1, side + 1, 2) of edge maps in [0, 1].
        slots: slot of each box's table (B,).
        boxes: normalised (B, 4); all three are arrays, or all are tensors.

    Returns:
        Profiles (B, 4 * SLICES) of the left, top, right and bottom edge; slices go from left to right or from top to
        bottom.
    """
    xp = box_ops.namespace(boxes)
    offsets = _OFFSETS if xp is np else _on(boxes.device)
    low, high = boxes[:, :2], boxes[:, 2:]
    side = high - low
    start, end = low - MARGIN * side, high + MARGIN * side
    parts = []
    for edge in range(4):
        axis = edge % 2
        lines = boxes[:, edge : edge + 1] + offsets * side[:, axis : axis + 1]
        along = [xp.broadcast_to(ends[:, 1 - axis, None], (len(boxes), SLICES)) for ends in (start, end)]
        corners = (lines[:, :-1], along[0], lines[:, 1:], along[1])
        parts.append(xp.stack(corners if axis == 0 else (corners[1], corners[0], corners[3], corners[2]), axis=-1))
    slices = box_ops.clamp(xp.concatenate(parts, axis=1), 0, 1)
    cells = (tables.shape[1] - 1) ** 2 * box_ops.area(slices)
    sums = table_sums(tables, slots, slices)
    means = sums / box_ops.clamp(cells, 1e-3, 1e9)[..., None]
    across = means.reshape(len(boxes), 4, SLICES, 2)
    profiles = xp.stack([across[:, edge, :, edge % 2] for edge in range(4)], axis=1)
    return box_ops.clamp(SCALE * profiles, 0, SCALE).reshape(len(boxes), -1)


@lru_cache
def _on(device: torch.device) -> torch.Tensor:
    return torch.from_numpy(_OFFSETS).to(device)
