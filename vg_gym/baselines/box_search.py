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


def best_box(
    heat: np.ndarray, alpha: float, min_side: Side = 2, max_side: Side | None = None
) -> tuple[np.ndarray, float]:
    """Return the box with the highest value on a map.

    Args:
        heat: non-negative map (H, W).
        alpha: price of area; larger values give smaller boxes.
        min_side: minimum width and height, in cells; published: 2.
        max_side: maximum width and height, in cells; default: the size of the map.

    Returns:
        ``xyxy`` box (4,) float32 in cells, right and bottom exclusive, and its value.

    Raises:
        ValueError: no box of a permitted size fits in the map, or the map is not finite.

    >>> heat = np.zeros((4, 6)); heat[1:3, 2:5] = 1
    >>> box, value = best_box(heat, alpha=1.0)
    >>> box.tolist(), round(value, 3)
    ([2.0, 1.0, 5.0, 3.0], 0.75)
    """
    box, value = max_sum_box(shifted(heat, alpha), min_side, max_side)
    return box.astype(np.float32), value


def shifted(heat: np.ndarray, alpha: float) -> np.ndarray:
    """Return a float64 map (H, W) whose sum over a box is the value of the box."""
    heat = np.asarray(heat, dtype=np.float64)
    return heat / (heat.sum() + 1e-8) - alpha / heat.size


def max_sum_box(values: np.ndarray, min_side: Side = 1, max_side: Side | None = None) -> tuple[np.ndarray, float]:
    """Return the box with the largest sum in a map of any sign.

    Sums of integers are exact, so that equal boxes tie.

    Args:
        values: finite map (H, W).
        min_side: minimum width and height, in cells.
        max_side: maximum width and height, in cells; default: the size of the map.

    Returns:
        ``xyxy`` box (4,) int64 in cells, right and bottom exclusive, and its sum.

    Raises:
        ValueError: no box of a permitted size fits in the map, or the map is not finite.
    """
    height, width = values.shape
    least, most = _sides(min_side), _sides(max_side or (width, height))
    most = min(most[0], width), min(most[1], height)
    if min(least) < 1 or most[0] < least[0] or most[1] < least[1]:
        raise ValueError(f"no box of at least {least} and at most {most} cells (width, height) in {width} x {height}")
    if not np.isfinite(values).all():
        raise ValueError("a map to be searched has numbers that are not finite")
    table = np.pad(values.cumsum(axis=0, dtype=np.float64).cumsum(axis=1), (1, 0))
    best, edges = -np.inf, (0, 0, 0)
    for top in range(height - least[1] + 1):
        value, bottom, right = _best_below(table, top, least, most)
        if value > best:
            best, edges = value, (top, bottom, right)
    return np.array(_with_left(table, edges, least[0], most[0]), dtype=np.int64), best


def _sides(side: Side) -> tuple[int, int]:
    return (side, side) if isinstance(side, int) else side


def _best_below(table: np.ndarray, top: int, least: tuple[int, int], most: tuple[int, int]) -> tuple[float, int, int]:
    """Return value, lower edge and right edge of the best box with a given upper edge; sizes are (width, height)."""
    # prefix[b, x]: sum left of x, between the upper edge and lower edge top + least + b.
    prefix = table[top + least[1] : top + most[1] + 1] - table[top]
    starts = prefix[:, : prefix.shape[1] - least[0]]
    gains = prefix[:, least[0] :] - _trailing_min(starts, most[0] - least[0] + 1)
    row, column = divmod(int(gains.argmax()), gains.shape[1])
    return float(gains[row, column]), top + least[1] + row, least[0] + column


def _trailing_min(x: np.ndarray, length: int) -> np.ndarray:
    """Return the minimum over each entry of a row and the ``length`` - 1 before it (R, W), in O(1) per entry.

    Short windows use van Herk's (1992) running minima, forwards and backwards in blocks of the window's length.
    """
    count = x.shape[1]
    if length >= count:
        return np.minimum.accumulate(x, axis=1)
    padded = np.pad(x, [(0, 0), (length - 1, -(count + length - 1) % length)], constant_values=np.inf)
    blocks = padded.reshape(len(x), -1, length)
    ahead = np.minimum.accumulate(blocks, axis=-1).reshape(padded.shape)
    behind = np.minimum.accumulate(blocks[..., ::-1], axis=-1)[..., ::-1].reshape(padded.shape)
    return np.minimum(behind[:, :count], ahead[:, length - 1 : length - 1 + count])


def _with_left(table: np.ndarray, edges: tuple[int, int, int], least: int, most: int) -> tuple[int, int, int, int]:
    """Return the ``xyxy`` box with the given (top, bottom, right) edges and the rightmost of its best left edges."""
    top, bottom, right = edges
    first = max(0, right - most)
    starts = (table[bottom] - table[top])[first : right - least + 1]
    return first + len(starts) - 1 - int(starts[::-1].argmin()), top, right, bottom
