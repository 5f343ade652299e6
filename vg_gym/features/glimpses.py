"""Glimpses: score maps and features averaged on small grids inside windows around a box.

Windows of 1x, 2x and 4x the box and the whole image move with the box, so that "the object is to my upper right" looks
the same wherever the box is. Score maps are standardised per image, because raw cosines have a small range, and limited
to +-MAX_MAP_SCORE.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym.clip.region_features import l2_normalize, table_sums
from vg_gym.features.glimpse_parts import Parts, State
from vg_gym.runtime.lazy_imports import torch
from vg_gym.runtime.row_threads import over_rows

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
_BILINEAR, _BORDER = 0, 1
"""Codes of these modes in torch."""
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
    sums = _crossings(maps, inside).diff(dim=-2).diff(dim=-1)
    cells = cell[:, 0] * cell[:, 1] * (maps.shape[-1] - 1) ** 2
    torch.div(sums, cells[:, None, ..., None], out=windows[:, :, :-1].swapaxes(1, 2))


def _crossings(maps: torch.Tensor, lines: torch.Tensor) -> torch.Tensor:
    """Sample tables (B, M, g+1, g+1) bilinearly at the crossings (B, M, K, P, P) of lines (B, 2, K, P)."""
    batch, _, count, number = lines.shape
    across, down = torch.broadcast_tensors(2 * lines[:, 0, :, None] - 1, 2 * lines[:, 1, :, :, None] - 1)
    points = torch.stack([across, down], dim=-1).view(batch, count * number, number, 2)
    return torch.grid_sampler(maps, points, _BILINEAR, _BORDER, True).view(batch, -1, count, number, number)


def seen_tensors(state: State, max_steps: int) -> Parts:
    """Return the parts of observations of B rows as tensors; some of them are views of the state.

    Args:
        state: state of the rows, tensors.
        max_steps: maximum number of steps of an episode.
    """
    boxes, overview = state.boxes, state.overview
    low, high = boxes[:, :2], boxes[:, 2:]
    windows = overview.new_empty((len(boxes), len(WINDOWS) + 1, *overview.shape[1:]))
    glimpses(state.maps, window_lines(boxes), windows)
    windows[:, -1] = overview
    return Parts(
        box=torch.cat([boxes, (low + high) / 2, high - low], dim=1),
        glimpses=windows.flatten(1),
        history=state.history.flatten(1),
        image=state.image,
        region=state.region,
        score=torch.stack([state.score, state.score_change], dim=1),
        step=(state.steps[:, None] / max_steps).clip(0, 1),
        text=state.text,
    )


def seen_arrays(state: State, max_steps: int, rows: np.ndarray, half: bool = False) -> Parts:
    """Return the parts of observations of some rows as new arrays; see :func:`seen_tensors`.

    Args:
        state: state of all rows, float32 arrays.
        max_steps: maximum number of steps of an episode.
        rows: indices of the rows (R,).
        half: whether the parts are float16 instead of float32.
    """
    from vg_gym.features import glimpse_loops as loops

    dim, (_, history, code), (_, *cells) = state.text.shape[1], state.history.shape, state.overview.shape
    sizes = 8, (len(WINDOWS) + 1) * math.prod(cells), history * code, dim, dim, 2, 1, dim
    values = np.empty(len(rows) * sum(sizes), dtype=np.float32)
    parts = _views(values, len(rows), sizes)
    over_rows(loops.see, len(rows), rows, State(*map(np.ascontiguousarray, state)), max_steps, OFFSETS, parts)
    if half:  # torch uses the processor's instruction for half precision; numpy takes twenty times as long
        return _views(torch.from_numpy(values).half().numpy(), len(rows), sizes)
    return parts


def _views(values: np.ndarray, count: int, sizes: Sequence[int]) -> Parts:
    """Return contiguous parts (count, size) that follow each other in one array."""
    views, end = [], 0
    for size in sizes:
        begin, end = end, end + count * size
        views.append(values[begin:end].reshape(count, size))
    return Parts(*views)


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
