"""Exact search for the best box of a heat map.

The search maximises ``sum inside / sum of the map - alpha * area / area of the map`` over all boxes of whole cells (the
objective of Li et al., "Adapting CLIP For Phrase Localization", 2022). The solution is the maximum-sum rectangle of a
shifted map. Kadane's scan over all pairs of rows (Bentley, CACM 1984) on a summed-area table finds it in O(H^2 W) time
and O(H W) memory per map. Four nested loops would read the table O(H^2 W^2) times, and a coarse-to-fine search can miss
the optimum.

Ties are broken by the topmost upper edge, then the topmost lower edge, then the leftmost right edge, then the narrowest
box.
"""

from __future__ import annotations

import numpy as np

Side = int | tuple[int, int]
"""Size in cells: one number for both sides, or (width, height)."""
CHUNK_CELLS = 2**16
"""Number of cells of the maps in one chunk. Larger chunks do not fit in the processor's cache and are slower."""


def best_box(
    heat: np.ndarray, alpha: float, min_side: Side = 2, max_side: Side | None = None
) -> tuple[np.ndarray, float]:
    """Return the best box of one map; see :func:`best_boxes`.

    Args:
        heat: non-negative map (H, W).
        alpha: price of area; larger values give smaller boxes.
        min_side: minimum width and height, in cells.
        max_side: maximum width and height, in cells; default: the size of the map.

    Returns:
        ``xyxy`` box (4,) float32 in cells, right and bottom exclusive, and its value.

    >>> heat = np.zeros((4, 6)); heat[1:3, 2:5] = 1
    >>> box, value = best_box(heat, alpha=1.0)
    >>> box.tolist(), round(value, 3)
    ([2.0, 1.0, 5.0, 3.0], 0.75)
    """
    boxes, values = best_boxes(np.asarray(heat)[None], alpha, min_side, max_side)
    return boxes[0], float(values[0])


def best_boxes(
    heats: np.ndarray, alpha: float | np.ndarray, min_side: Side = 2, max_side: Side | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the best boxes of several maps of one size; each box is the same as that of :func:`best_box`.

    Args:
        heats: non-negative maps (B, H, W).
        alpha: price of area, one number for all maps or (B,).
        min_side: minimum width and height, in cells; published: 2.
        max_side: maximum width and height, in cells; default: the size of the maps.

    Returns:
        ``xyxy`` boxes (B, 4) float32 in cells, right and bottom exclusive, and their values (B,) float64.

    Raises:
        ValueError: no box of a permitted size fits in the maps, or a map is not finite.
    """
    boxes, values = max_sum_boxes(shifted(heats, alpha), min_side, max_side)
    return boxes.astype(np.float32), values


def shifted(heats: np.ndarray, alpha: float | np.ndarray) -> np.ndarray:
    """Return float64 maps (..., H, W) whose sum over a box is the value of the box; ``alpha`` is a number or (...)."""
    heats = np.asarray(heats, dtype=np.float64)
    price = np.asarray(alpha, dtype=np.float64)[..., None, None] / (heats.shape[-2] * heats.shape[-1])
    return heats / (heats.sum(axis=(-2, -1), keepdims=True) + 1e-8) - price


def box_values(heat: np.ndarray, boxes: np.ndarray, alpha: float) -> np.ndarray:
    """Return the values (N,) float64 of boxes on a map (H, W).

    The boxes (N, 4) are ``xyxy`` in whole cells, right and bottom exclusive.
    """
    x1, y1, x2, y2 = np.asarray(boxes).astype(int).T
    table = _table(shifted(heat, alpha)[None])[0]
    return table[y2, x2] + table[y1, x1] - table[y1, x2] - table[y2, x1]


def max_sum_boxes(maps: np.ndarray, min_side: Side = 1, max_side: Side | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return the boxes with the largest sums in maps (B, H, W) of any sign.

    Sums of integers are exact, so that equal boxes tie.

    Args:
        maps: finite maps (B, H, W).
        min_side: minimum width and height, in cells.
        max_side: maximum width and height, in cells; default: the size of the maps.

    Returns:
        ``xyxy`` boxes (B, 4) int64 in cells, right and bottom exclusive, and their sums (B,) float64.

    Raises:
        ValueError: no box of a permitted size fits in the maps, or a map is not finite.
    """
    batch, height, width = maps.shape
    least, most = _sides(min_side), _sides(max_side or (width, height))
    most = min(most[0], width), min(most[1], height)
    if min(least) < 1 or most[0] < least[0] or most[1] < least[1]:
        raise ValueError(f"no box of at least {least} and at most {most} cells (width, height) in {width} x {height}")
    if not np.isfinite(maps).all():
        raise ValueError("a map to be searched has numbers that are not finite")
    if not batch:
        return np.zeros((0, 4), dtype=np.int64), np.zeros(0)
    chunk = max(1, CHUNK_CELLS // (height * width))
    parts = [_search(maps[start : start + chunk], least, most) for start in range(0, batch, chunk)]
    return np.concatenate([boxes for boxes, _ in parts]), np.concatenate([sums for _, sums in parts])


def _search(maps: np.ndarray, least: tuple[int, int], most: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Search one chunk of maps, see :func:`max_sum_boxes`; sizes are (width, height)."""
    table = _table(maps)
    best, edges = np.full(len(maps), -np.inf), np.zeros((len(maps), 3), dtype=np.int64)
    for top in range(maps.shape[1] - least[1] + 1):
        values, bottoms, rights = _best_below(table, top, least, most)
        better = values > best
        best[better] = values[better]
        edges[better] = np.stack([np.full(len(maps), top), bottoms, rights], axis=1)[better]
    boxes = [_with_left(table[i], edge, least[0], most[0]) for i, edge in enumerate(edges.tolist())]
    return np.array(boxes, dtype=np.int64), best


def _sides(side: Side) -> tuple[int, int]:
    return (side, side) if isinstance(side, int) else side


def _table(maps: np.ndarray) -> np.ndarray:
    """Return summed-area tables (B, H+1, W+1) float64."""
    return np.pad(np.cumsum(np.cumsum(maps, axis=1, dtype=np.float64), axis=2), [(0, 0), (1, 0), (1, 0)])


def _best_below(
    table: np.ndarray, top: int, least: tuple[int, int], most: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return values, lower edges and right edges, each (B,), of the best boxes with a given upper edge."""
    # prefix[., b, x]: sum left of x, between the upper edge and lower edge top + least + b.
    prefix = table[:, top + least[1] : top + most[1] + 1] - table[:, top : top + 1]
    starts = prefix[..., : prefix.shape[-1] - least[0]]
    gains = prefix[..., least[0] :] - _trailing_min(starts, most[0] - least[0] + 1)
    flat = gains.reshape(len(gains), -1)
    first = flat.argmax(axis=1)
    rows, columns = np.divmod(first, gains.shape[-1])
    return flat[np.arange(len(flat)), first], top + least[1] + rows, least[0] + columns


def _trailing_min(x: np.ndarray, length: int) -> np.ndarray:
    """Return the minimum over each entry of the last axis and the ``length`` - 1 before it, in O(1) per entry.

    Short windows use van Herk's (1992) running minima, forwards and backwards in blocks of the window's length.
    """
    count = x.shape[-1]
    if length >= count:
        return np.minimum.accumulate(x, axis=-1)
    around = (length - 1, -(count + length - 1) % length)
    padded = np.pad(x, [(0, 0)] * (x.ndim - 1) + [around], constant_values=np.inf)
    blocks = padded.reshape(*x.shape[:-1], -1, length)
    ahead = np.minimum.accumulate(blocks, axis=-1).reshape(padded.shape)
    behind = np.minimum.accumulate(blocks[..., ::-1], axis=-1)[..., ::-1].reshape(padded.shape)
    return np.minimum(behind[..., :count], ahead[..., length - 1 : length - 1 + count])


def _with_left(table: np.ndarray, edges: list[int], least: int, most: int) -> tuple[int, int, int, int]:
    """Return the ``xyxy`` box with the given (top, bottom, right) edges and the rightmost of its best left edges."""
    top, bottom, right = edges
    first = max(0, right - most)
    starts = (table[bottom] - table[top])[first : right - least + 1]
    return first + len(starts) - 1 - int(starts[::-1].argmin()), top, right, bottom
