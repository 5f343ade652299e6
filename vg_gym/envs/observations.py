"""Observations of all rows at once: a flat Dict of vectors, because SB3 takes arrays with more axes for images.

*Glimpses* are the main part: the score map of the expression, averaged on a small grid inside windows of 1x, 2x and 4x
the box and over the whole image. They move with the box, so that "the object is to my upper right" looks the same
wherever the box is. Score maps are standardised per image, because raw cosines have a small range, and limited to
+-MAX_MAP_SCORE.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from gymnasium import spaces

from vg_gym import boxes as box_ops
from vg_gym import kernels
from vg_gym.clip.crops import crop, resize
from vg_gym.clip.dense import l2_normalize
from vg_gym.clip.encoder import ClipEncoder
from vg_gym.clip.tables import lattice_values, table_sums
from vg_gym.envs import edge_profiles, proposals
from vg_gym.envs.actions import ActionSet
from vg_gym.envs.options import EnvOptions
from vg_gym.errors import unknown
from vg_gym.lazily import torch

OBSERVATIONS = ("features", "pixels")
PRECISIONS = ("float32", "float16")
WINDOWS = (1.0, 2.0, 4.0)
"""Sizes of the moving windows, in sides of the box; a fourth window is the whole image."""
GLIMPSE = 8
"""Cells per side of a glimpse of score maps."""
FEATURE_GLIMPSE = 4
"""Cells per side of a glimpse of features."""
MAX_MAP_SCORE = 10.0
"""Largest absolute value in a score map; the space is slightly wider, so that rounded averages stay inside."""
VIEW_SIDE = 84
"""Side of the images of ``observation="pixels"`` in pixels."""
HISTORY = 3
"""Number of actions in the history."""
MIN_FEATURE_NORM = 1e-3
"""Norm below which a sum of features counts as zero: it covers almost no pixels, and rounding gives its direction."""
_STEPS = np.linspace(0, 1, GLIMPSE + 1, dtype=np.float32)
OFFSETS = np.array(WINDOWS, dtype=np.float32)[:, None] * (_STEPS - 0.5)
"""Lines of the moving windows (3, G+1) relative to the centre of the box, in sides of the box."""


def observation_space(options: EnvOptions, clip: ClipEncoder, maps: int, actions: ActionSet) -> spaces.Dict:
    """Return the Dict space of one environment.

    Args:
        options: options that select the parts and their precision.
        clip: encoder, for the width of features and the number of tokens.
        maps: number of score maps per query, M.
        actions: action set, for the length of an encoded action.

    Raises:
        VGGymError: the observation or precision is unknown.
    """
    if options.observation not in OBSERVATIONS:
        raise unknown("observation", options.observation, OBSERVATIONS)
    if options.precision not in PRECISIONS:
        raise unknown("precision", options.precision, PRECISIONS)
    windows = len(WINDOWS) + 1

    def box(low: float, high: float, *shape: int) -> spaces.Box:
        return spaces.Box(low, high, shape, np.dtype(options.precision).type)

    parts: dict[str, spaces.Space] = {
        "box": box(0, 1, 8),
        "glimpses": box(-1.01 * MAX_MAP_SCORE, 1.01 * MAX_MAP_SCORE, windows * (maps + 1) * GLIMPSE**2),
        "history": box(-1, 1, HISTORY * actions.encoding),
        "image": box(-1, 1, clip.dim),
        "region": box(-1, 1, clip.dim),
        "score": box(-4, 4, 2),
        "step": box(0, 1, 1),
        "text": box(-1, 1, clip.dim),
    }
    if options.needs_tokens:
        parts["tokens"] = box(-1, 1, clip.num_tokens * clip.dim)
    if options.glimpse_features:
        parts["glimpse_features"] = box(-1, 1, windows * FEATURE_GLIMPSE**2 * clip.dim)
    if options.proposals:
        parts["proposals"] = box(-proposals.MAX_OFFSET, proposals.MAX_OFFSET, options.num_proposals * proposals.WIDTH)
    if options.edge_profiles:
        parts["edge_profiles"] = box(0, edge_profiles.SCALE, 4 * edge_profiles.SLICES)
    if options.observation == "pixels":
        for name in ("pixels_image", "pixels_crop"):
            parts[name] = spaces.Box(0, 255, (VIEW_SIDE, VIEW_SIDE, 3), np.uint8)
    return spaces.Dict(parts)


class BasicParts:
    """Computes the parts that every observation has, for arrays, in one pass.

    For tensors :func:`glimpses` and the engine compute them.

    Args:
        space: space of one environment.
    """

    NAMES = ("box", "glimpses", "history", "image", "region", "score", "step", "text")

    def __init__(self, space: spaces.Dict):
        self._sizes = [math.prod(space[name].shape or ()) for name in self.NAMES]
        self._size, self._half = sum(self._sizes), space["box"].dtype == np.float16

    def __call__(self, rows: np.ndarray, *state: Any) -> dict[str, np.ndarray]:
        """Return parts (R, ...) of the observations of R rows; the caller may keep them.

        Args:
            rows: indices of the rows (R,).
            *state: arrays of all rows that :func:`vg_gym.kernels.observe` reads, in its order.
        """
        values = np.empty(len(rows) * self._size, dtype=np.float32)
        parts = self._parts(values, len(rows))
        kernels.over_rows(kernels.observe, len(rows), rows, *state, OFFSETS, *parts)
        if self._half:  # torch uses the processor's instruction for half precision; numpy takes twenty times as long
            parts = self._parts(torch.from_numpy(values).half().numpy(), len(rows))
        return dict(zip(self.NAMES, parts, strict=True))

    def _parts(self, values: np.ndarray, count: int) -> list[np.ndarray]:
        """Return views (R, ...) of one array, in which the parts follow each other; each part is contiguous."""
        parts, begin = [], 0
        for size in self._sizes:
            end = begin + count * size
            parts.append(values[begin:end].reshape(count, size))
            begin = end
        return parts


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


def pixel_views(image: np.ndarray, box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the image, and its crop inside a pixel box, both uint8 (84, 84, 3)."""
    return resize(image, VIEW_SIDE), resize(crop(image, box), VIEW_SIDE)


def empty_observations(space: spaces.Dict, count: int, device: torch.device | None) -> dict[str, Any]:
    """Return uninitialised observations: arrays, or tensors on a device, each of shape (count, ...)."""
    shapes = {name: (count, *(part.shape or ())) for name, part in space.items()}
    if device is None:
        return {name: np.empty(shape, space[name].dtype) for name, shape in shapes.items()}
    dtypes = {name: getattr(torch, np.dtype(part.dtype).name) for name, part in space.items()}
    return {name: torch.empty(shape, dtype=dtypes[name], device=device) for name, shape in shapes.items()}
