"""What a step computes for every row of arrays, compiled: loops over rows that numpy could not fuse.

A step of one row is some two hundred numpy calls of a microsecond each, and of a thousand rows some two hundred passes
over arrays; here each of its parts is one. The functions below are for float32 arrays on a CPU, compiled when this
module is first imported and kept in a file beside it (where that can't be written: in numba's folder in the user's
cache). Tensors have the same arithmetic in torch, next to where these are called.

A row's numbers do not depend on how many rows there are. What works on rows takes those from ``first`` to ``last`` of
its arrays, so that :func:`over_rows` can share them out among threads.
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
from vg_gym.devices import torch_threads

MANY = 512
"""Rows above which threads share the work, if torch may use several."""
ZERO, HALF, ONE, TINY = (np.float32(number) for number in (0, 0.5, 1, 1e-8))
_real, _whole = numba.float32, numba.int64
_line, _table, _cube, _cubes = _real[::1], _real[:, ::1], _real[:, :, ::1], _real[:, :, :, ::1]
_slots, _numbers = numba.int32[::1], _whole[::1]
_places, _shares = _whole[:, :], numba.float64[:, :]
_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}


def _compiled(types: Any, **options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Compile a function of a signature."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        try:
            return numba.njit(types, cache=True, **_OPTIONS, **options)(function)
        except RuntimeError as error:  # no folder can be written: compile anew in every process
            if "no locator available" not in str(error):
                raise
            return numba.njit(types, **_OPTIONS, **options)(function)

    return decorate


def _rows(*arguments: Any, **options: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Compile a function of ``first``, ``last`` and arguments of these types."""
    return _compiled(numba.void(_whole, _whole, *arguments), **options)


def over_rows(kernel: Callable[..., None], count: int, *arguments: Any) -> None:
    """Call a kernel for all of ``count`` rows; many are shared out among as many threads as torch may use."""
    threads = torch_threads() if count > MANY else 1
    if threads == 1:
        return kernel(0, count, *arguments)
    ends = [count * part // threads for part in range(threads + 1)]
    others = _pool(os.getpid(), threads - 1)
    rest = [others.submit(kernel, *part, *arguments) for part in zip(ends[1:], ends[2:], strict=False)]
    kernel(ends[0], ends[1], *arguments)
    for part in rest:
        part.result()


@lru_cache(maxsize=4)
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    """Threads of this process: those of one that was forked are not in the fork."""
    return ThreadPoolExecutor(threads, thread_name_prefix="vg_gym-rows")


@numba.njit(**_OPTIONS)
def _pixel(coordinate, scale):
    """A normalised coordinate in pixels, as :func:`vg_gym.boxes.pixels` gives it."""
    value = numba.float64(coordinate) * scale
    near = np.rint(value * PIXEL_PARTS) / PIXEL_PARTS
    return near if abs(value - near) <= scale * ROUNDING else value


@_rows(_table, _table, _table, numba.float64[::1])
def pixel_ious(first, last, boxes, targets, scales, out):
    """IoUs of normalised boxes in pixels, to the bit :func:`vg_gym.boxes.pixel_iou` of :func:`vg_gym.boxes.pixels`.

    Args:
        first: row.
        last: row, not included.
        boxes: (B, 4).
        targets: (B, 4); NaN where there is none.
        scales: (W, H, W, H) of the images (B, 4).
        out: float64 (B,), written to; NaN where there is no target.
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
    """Boxes (B, 4) with edges moved; see :func:`vg_gym.envs.actions.shift_edges`.

    Args:
        first: row.
        last: row, not included.
        boxes: (B, 4).
        deltas: (B, 4), fractions of the sides.
        least: shortest side.
        most: 1 - ``least``.
        out: (B, 4), written to.
    """
    for b in range(first, last):
        for axis in range(2):
            low, high, delta, other = boxes[b, axis], boxes[b, axis + 2], deltas[b, axis], deltas[b, axis + 2]
            move, stretch = delta * (high - low), other * (high - low)
            if delta == other:  # both edges go the same way, and stop together
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
    """Sum of features (D,) over a box, from 16 places of a summed-area table (g+1, g+1, D): four at each corner."""
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
    """Sums of features over boxes; see :func:`vg_gym.clip.tables.table_sums`.

    Args:
        first: row.
        last: row, not included.
        tables: (T, g+1, g+1, D).
        slots: (B,).
        boxes: (B, K, 4).
        out: (B, K, D), written to.
    """
    for b in range(first, last):
        for k in range(boxes.shape[1]):
            _add_corners(tables[slots[b]], boxes[b, k], out[b, k])


@_rows(_cube, _places, _shares, _places, _shares, numba.float64[:, :, ::1])
def lattice_sums(first, last, table, columns, across, rows, down, out):
    """Sums of features over a lattice of boxes; see :func:`vg_gym.clip.dense.lattice_sums`, also for its bits.

    Args:
        first: row of the lattice.
        last: row, not included.
        table: of one image (g+1, g+1, C).
        columns: cells of the left and right edges (2, W).
        across: how far into the cells these are (2, W).
        rows: cells of the top and bottom edges (2, H).
        down: how far into the cells these are (2, H).
        out: float64 (H, W, C), written to.
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
    """Unit features of boxes and their cosines with texts; the arithmetic of :mod:`vg_gym.clip.scores` in one pass.

    Args:
        first: row.
        last: row, not included.
        tables: (T, g+1, g+1, D).
        slots: (B,).
        boxes: (B, 4).
        texts: unit embeddings (B, D).
        size: sides of the ring's outer edge over the box's.
        weight: what the ring's cosine counts; 0: there is no ring.
        regions: (B, D), written to: unit features of the boxes, in [-1, 1].
        scores: (B,), written to: the box's cosine less ``weight`` of the ring's.
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
                value = sums[k, d] - np.float32(k) * sums[0, d]  # the ring: the wider box without the box
                squares += value * value
                product += value * texts[b, d]
            length = max(np.sqrt(squares), TINY)
            scores[b] += product / length if k == 0 else -weight * (product / length)
            if k == 0:
                for d in range(dim):
                    regions[b, d] = min(max(sums[0, d] / length, -ONE), ONE)


@numba.njit(**_OPTIONS, fastmath={"contract"})
def _look(maps, box, offsets, out, inside, beyond, places, bands):
    """Averages of summed-area tables (M, g+1, g+1) in the cells of a window about a box, and its coverage, to ``out``.

    ``box`` are the eight numbers of an observation, ``offsets`` (G+1,) the lines of the window, ``out`` (M + 1, G, G);
    the rest is room for what is found on the way.
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
    """What some rows see; see :mod:`vg_gym.envs.observations`.

    Args:
        first: of the rows.
        last: of the rows, not included.
        rows: (R,) which rows of the arrays that follow.
        boxes: (B, 4).
        score: (B,).
        change: of the score (B,).
        steps: (B,).
        most: steps that an episode may have.
        history: (B, H, A).
        image: (B, D).
        region: (B, D).
        text: (B, D).
        maps: summed-area tables (B, M, g+1, g+1).
        overview: glimpses of the whole image (B, M + 1, G, G).
        offsets: lines of the K moving windows about the box's centre, in sides of the box (K, G+1).
        seen_box: (R, 8), written to, as are those that follow.
        seen_glimpses: (R, (K + 1) (M + 1) G G).
        seen_history: (R, H A).
        seen_image: (R, D).
        seen_region: (R, D).
        seen_score: (R, 2).
        seen_step: (R, 1).
        seen_text: (R, D).
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
