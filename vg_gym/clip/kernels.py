"""Compiled kernels of an environment step: loops over rows that numpy cannot fuse.

In numpy, a step of one row takes about two hundred calls of a microsecond each, and a step of a thousand rows about two
hundred passes over arrays. Here each part of a step is one pass. The functions are for float32 arrays on a CPU. They
are compiled when this module is first imported, and cached in a file beside it, or in numba's cache folder of the user
if that folder is read-only. The same arithmetic for tensors, in torch, is next to the callers of these functions.

The results of a row do not depend on the number of rows. Kernels over rows process the rows from ``first`` to ``last``,
so that :func:`over_rows` can distribute the rows over threads.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import numba
import numpy as np

from vg_gym.boxes import PIXEL_PARTS, ROUNDING
from vg_gym.runtime.devices import torch_threads

MIN_THREADED_ROWS = 512
"""Number of rows above which several threads share them, if torch may use several."""
ZERO, HALF, ONE, TINY = (np.float32(number) for number in (0, 0.5, 1, 1e-8))
_real, _whole = numba.float32, numba.int64
_line, _table, _cube, _cubes = _real[::1], _real[:, ::1], _real[:, :, ::1], _real[:, :, :, ::1]
_slots, _numbers = numba.int32[::1], _whole[::1]
_places, _shares = _whole[:, :], numba.float64[:, :]
_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}


def _compiled(types: Any, **options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator that compiles a function for a signature."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        try:
            return numba.njit(types, cache=True, **_OPTIONS, **options)(function)
        except RuntimeError as error:  # no cache folder is writable: compile in every process
            if "no locator available" not in str(error):
                raise
            return numba.njit(types, **_OPTIONS, **options)(function)

    return decorate


def _rows(*arguments: Any, **options: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that compiles a function of ``first``, ``last`` and arguments of these types."""
    return _compiled(numba.void(_whole, _whole, *arguments), **options)


def over_rows(kernel: Callable[..., None], count: int, *arguments: Any) -> None:
    """Call a kernel for all of ``count`` rows; as many threads as torch may use share a large number of rows."""
    threads = torch_threads() if count > MIN_THREADED_ROWS else 1
    if threads == 1:
        return kernel(0, count, *arguments)
    ends = [count * part // threads for part in range(threads + 1)]
    others = _pool(os.getpid(), threads - 1)
    futures = [others.submit(kernel, *part, *arguments) for part in zip(ends[1:], ends[2:], strict=False)]
    kernel(ends[0], ends[1], *arguments)
    for future in futures:
        future.result()


@lru_cache(maxsize=4)
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    """Return the thread pool of a process; a forked process does not inherit the threads of its parent."""
    return ThreadPoolExecutor(threads, thread_name_prefix="vg_gym-rows")


@numba.njit(**_OPTIONS)
def _pixel(coordinate, scale):
    """Convert a normalised coordinate to pixels; see :func:`vg_gym.boxes.pixels`."""
    value = numba.float64(coordinate) * scale
    near = np.rint(value * PIXEL_PARTS) / PIXEL_PARTS
    return near if abs(value - near) <= scale * ROUNDING else value


@_rows(_table, _table, _table, numba.float64[::1])
def pixel_ious(first, last, boxes, targets, scales, out):
    """Compute IoUs of normalised boxes in pixels.

    The result equals :func:`vg_gym.boxes.pixel_iou` of :func:`vg_gym.boxes.pixels` to the bit.

    Args:
        first: first row.
        last: end of the rows, exclusive.
        boxes: normalised boxes (B, 4).
        targets: normalised boxes (B, 4); NaN for rows without a target.
        scales: (W, H, W, H) of the images (B, 4).
        out: IoUs float64 (B,), written; NaN for rows without a target.
    """
    for b in range(first, last):
        if np.isnan(targets[b, 0]):
            out[b] = np.nan
            continue
        overlap, size, other = 1.0, 1.0, 1.0
        for axis in range(2):
            scale = numba.float64(scales[b, axis])
            low, high = _pixel(boxes[b, axis], scale), _pixel(boxes[b, axis + 2], scale)
            start, end = _pixel(targets[b, axis], scale), _pixel(targets[b, axis + 2], scale)
            overlap *= max(min(high, end) - max(low, start), 0.0)
            size *= max(high - low, 0.0)
            other *= max(end - start, 0.0)
        union = size + other - overlap
        out[b] = overlap / union if union > 0 else 0.0


@_rows(_table, _table, _real, _real, _table)
def shift_edges(first, last, boxes, deltas, least, most, out):
    """Move the edges of boxes; see :func:`vg_gym.envs.actions.shift_edges`.

    Args:
        first: first row.
        last: end of the rows, exclusive.
        boxes: normalised boxes (B, 4).
        deltas: shifts of the edges (B, 4), as fractions of the sides.
        least: minimum side.
        most: 1 - ``least``.
        out: moved boxes (B, 4), written.
    """
    for b in range(first, last):
        for axis in range(2):
            low, high, delta, other = boxes[b, axis], boxes[b, axis + 2], deltas[b, axis], deltas[b, axis + 2]
            move, stretch = delta * (high - low), other * (high - low)
            if delta == other:  # both edges move by the same amount, and stop together at the border
                move = stretch = min(max(move, -low), ONE - high)
            low, high = min(max(low + move, ZERO), ONE), min(max(high + stretch, ZERO), ONE)
            if high - low < least:
                low, high = min(low, high), max(low, high)
                if high - low < least:
                    low = min(max((low + high - least) * HALF, ZERO), most)
                    high = low + least
            out[b, axis], out[b, axis + 2] = low, high


@numba.njit(**_OPTIONS, fastmath={"contract"})
def _add_corners(table, edges, total):
    """Sum features (D,) over a box from 16 entries of a summed-area table (g+1, g+1, D), four at each corner."""
    cells, dim = table.shape[0] - 1, table.shape[2]
    for d in range(dim):
        total[d] = ZERO
    for down in range(2):
        y = edges[1 + 2 * down] * np.float32(cells)
        row = max(min(int(y), cells - 1), 0)
        below = y - np.float32(row)
        for across in range(2):
            x = edges[2 * across] * np.float32(cells)
            column = max(min(int(x), cells - 1), 0)
            beyond = x - np.float32(column)
            sign = ONE if down == across else -ONE
            above_left, above_right = sign * (ONE - below) * (ONE - beyond), sign * (ONE - below) * beyond
            below_left, below_right = sign * below * (ONE - beyond), sign * below * beyond
            for d in range(dim):
                total[d] += (
                    above_left * table[row, column, d]
                    + above_right * table[row, column + 1, d]
                    + below_left * table[row + 1, column, d]
                    + below_right * table[row + 1, column + 1, d]
                )


@_rows(_cubes, _slots, _cube, _cube, fastmath={"contract"})
def sum_boxes(first, last, tables, slots, boxes, out):
    """Sum features over boxes; see :func:`vg_gym.clip.tables.table_sums`.

    Args:
        first: first row.
        last: end of the rows, exclusive.
        tables: summed-area tables (T, g+1, g+1, D).
        slots: index of each row's table (B,).
        boxes: normalised boxes (B, K, 4).
        out: sums (B, K, D), written.
    """
    for b in range(first, last):
        for k in range(boxes.shape[1]):
            _add_corners(tables[slots[b]], boxes[b, k], out[b, k])


@_rows(_cube, _places, _shares, _places, _shares, numba.float64[:, :, ::1])
def lattice_sums(first, last, table, columns, across, rows, down, out):
    """Sum features over a lattice of boxes, bit for bit as :func:`vg_gym.clip.dense.lattice_sums` describes.

    Args:
        first: first row of the lattice.
        last: end of the rows, exclusive.
        table: summed-area table of one image (g+1, g+1, C).
        columns: cells of the left and right edges (2, W).
        across: positions of these edges within their cells, in [0, 1] (2, W).
        rows: cells of the top and bottom edges (2, H).
        down: positions of these edges within their cells, in [0, 1] (2, H).
        out: sums float64 (H, W, C), written.
    """
    lines, dim = np.empty((2, table.shape[0], table.shape[2])), table.shape[2]
    for x in range(columns.shape[1]):
        for side in range(2):  # integrals from the left border to the left, or the right, edge
            column, near, far = columns[side, x], 1 - across[side, x], across[side, x]
            for line in range(table.shape[0]):
                for d in range(dim):
                    lines[side, line, d] = table[line, column, d] * near + table[line, column + 1, d] * far
        for y in range(first, last):
            top, bottom = rows[0, y], rows[1, y]
            above, below, before, after = 1 - down[0, y], down[0, y], 1 - down[1, y], down[1, y]
            for d in range(dim):
                top_left = lines[0, top, d] * above + lines[0, top + 1, d] * below
                top_right = lines[1, top, d] * above + lines[1, top + 1, d] * below
                bottom_left = lines[0, bottom, d] * before + lines[0, bottom + 1, d] * after
                bottom_right = lines[1, bottom, d] * before + lines[1, bottom + 1, d] * after
                out[y, x, d] = bottom_right + top_left - bottom_left - top_right


@_rows(_cubes, _slots, _table, _table, _real, _real, _table, _line, fastmath={"contract", "reassoc"})
def score_boxes(first, last, tables, slots, boxes, texts, size, weight, regions, scores):
    """Compute unit features of boxes and their scores for texts: :mod:`vg_gym.clip.scores` in one pass.

    Args:
        first: first row.
        last: end of the rows, exclusive.
        tables: summed-area tables (T, g+1, g+1, D).
        slots: index of each row's table (B,).
        boxes: normalised boxes (B, 4).
        texts: unit embeddings (B, D).
        size: ratio of the outer sides of the ring to the sides of the box.
        weight: weight of the ring's cosine; 0: scores without a ring.
        regions: unit features of the boxes in [-1, 1], (B, D), written.
        scores: cosine of the box minus ``weight`` times that of the ring, (B,), written.
    """
    dim, both = tables.shape[3], 2 if weight > ZERO else 1
    sums, edges = np.empty((2, dim), np.float32), np.empty(4, np.float32)
    for b in range(first, last):
        scores[b] = ZERO
        for edge in range(4):
            edges[edge] = boxes[b, edge]
        for k in range(both):
            if k == 1:
                for axis in range(2):
                    middle = (boxes[b, axis] + boxes[b, axis + 2]) * HALF
                    half = (boxes[b, axis + 2] - boxes[b, axis]) * (size * HALF)
                    edges[axis], edges[axis + 2] = max(middle - half, ZERO), min(middle + half, ONE)
            _add_corners(tables[slots[b]], edges, sums[k])
            squares, product = ZERO, ZERO
            for d in range(dim):
                value = sums[k, d] - np.float32(k) * sums[0, d]  # the ring is the wider box minus the box
                squares += value * value
                product += value * texts[b, d]
            length = max(np.sqrt(squares), TINY)
            scores[b] += product / length if k == 0 else -weight * (product / length)
            if k == 0:
                for d in range(dim):
                    regions[b, d] = min(max(sums[0, d] / length, -ONE), ONE)


@numba.njit(**_OPTIONS, fastmath={"contract"})
def _look(maps, box, offsets, out, inside, beyond, places, bands):
    """Average maps over the cells of a window around a box, and compute the share of each cell inside the image.

    Args:
        maps: summed-area tables (M, g+1, g+1).
        box: the eight numbers of a box in an observation.
        offsets: lines of the window (G+1,).
        out: averages and shares (M + 1, G, G), written.
        inside: work space (2, G+1).
        beyond: work space (2, G+1).
        places: work space (2, G+1).
        bands: work space (3, g+1).
    """
    count, across, cells = maps.shape[0], maps.shape[2], offsets.shape[0] - 1
    grid, size = np.float32(across - 1), (offsets[cells] - offsets[0]) / np.float32(cells)
    width, height = box[6] * size, box[7] * size
    for axis in range(2):
        for s in range(cells + 1):
            line = min(max(box[4 + axis] + box[6 + axis] * offsets[s], ZERO), ONE)
            place = max(min(int(line * grid), across - 2), 0)
            inside[axis, s], places[axis, s], beyond[axis, s] = line, place, line * grid - np.float32(place)
    for y in range(cells):
        share = (inside[1, y + 1] - inside[1, y]) / height
        for x in range(cells):
            out[count, y, x] = share * ((inside[0, x + 1] - inside[0, x]) / width)
    scale = ONE / (width * height * grid * grid)
    for m in range(count):
        for y in range(cells + 1):
            row, share, now, before = places[1, y], beyond[1, y], y % 2, (y + 1) % 2
            for x in range(across):
                bands[now, x] = maps[m, row, x] + share * (maps[m, row + 1, x] - maps[m, row, x])
            if y > 0:
                for x in range(across):
                    bands[2, x] = (bands[now, x] - bands[before, x]) * scale
                left = ZERO
                for x in range(cells + 1):
                    place = places[0, x]
                    right = bands[2, place] + beyond[0, x] * (bands[2, place + 1] - bands[2, place])
                    if x > 0:
                        out[m, y - 1, x - 1] = right - left
                    left = right


@_rows(
    _numbers, _table, _line, _line, _numbers, _whole, _cube, _table, _table, _table, _cubes, _cubes, _table,
    *8 * [_table],
    fastmath={"contract"},
)  # fmt: skip
def observe(
    first, last, rows, boxes, score, change, steps, most, history, image, region, text, maps, overview, offsets,
    seen_box, seen_glimpses, seen_history, seen_image, seen_region, seen_score, seen_step, seen_text,
):  # fmt: skip
    """Write the observations of some rows; see :mod:`vg_gym.envs.observations`.

    Args:
        first: first of the R rows.
        last: end of the rows, exclusive.
        rows: indices of the rows in the arrays that follow (R,).
        boxes: normalised boxes (B, 4).
        score: scores (B,).
        change: changes of the scores (B,).
        steps: numbers of steps (B,).
        most: maximum number of steps of an episode.
        history: last actions (B, H, A).
        image: features of the images (B, D).
        region: features of the boxes (B, D).
        text: features of the expressions (B, D).
        maps: summed-area tables (B, M, g+1, g+1).
        overview: glimpses of the whole image (B, M + 1, G, G).
        offsets: lines of the K moving windows around the box's centre, in sides of the box (K, G+1).
        seen_box: box of the observation (R, 8), written, as are all arrays that follow.
        seen_glimpses: glimpses (R, (K + 1) (M + 1) G G).
        seen_history: last actions (R, H A).
        seen_image: features of the images (R, D).
        seen_region: features of the boxes (R, D).
        seen_score: scores and their changes (R, 2).
        seen_step: share of the steps taken (R, 1).
        seen_text: features of the expressions (R, D).
    """
    (windows, lines), across = offsets.shape, maps.shape[3]
    inside, beyond = np.empty((2, lines), np.float32), np.empty((2, lines), np.float32)
    places, bands = np.empty((2, lines), np.int64), np.empty((3, across), np.float32)
    for i in range(first, last):
        b = rows[i]
        for axis in range(2):
            low, high = boxes[b, axis], boxes[b, axis + 2]
            seen_box[i, axis], seen_box[i, axis + 2] = low, high
            seen_box[i, axis + 4], seen_box[i, axis + 6] = (low + high) * HALF, high - low
        seen_score[i, 0], seen_score[i, 1] = score[b], change[b]
        seen_step[i, 0] = min(np.float32(steps[b] / most), ONE)
        for h in range(history.shape[1]):
            for a in range(history.shape[2]):
                seen_history[i, h * history.shape[2] + a] = history[b, h, a]
        for d in range(text.shape[1]):
            seen_image[i, d], seen_region[i, d], seen_text[i, d] = image[b, d], region[b, d], text[b, d]
        glimpses = seen_glimpses[i].reshape((windows + 1, *overview.shape[1:]))
        for w in range(windows):
            _look(maps[b], seen_box[i], offsets[w], glimpses[w], inside, beyond, places, bands)
        for m in range(overview.shape[1]):
            for y in range(lines - 1):
                for x in range(lines - 1):
                    glimpses[windows, m, y, x] = overview[b, m, y, x]
