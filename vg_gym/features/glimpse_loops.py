"""Compiled loops of :mod:`vg_gym.features.glimpses`."""

from __future__ import annotations

import numba
import numpy as np

from vg_gym.clip.kernels import HALF, ONE, OPTIONS, REAL, WHOLE, ZERO, kernel
from vg_gym.features.glimpse_parts import Parts, State


@numba.njit(**OPTIONS, fastmath={"contract"})
def _look(maps, box, offsets, out, inside, beyond, places, bands):
    """Average maps over the cells of a window around a box, and compute the share of each cell inside the image.

    Args:
        maps: summed-area tables (M, g+1, g+1).
        box: normalised box (4,).
        offsets: lines of the window (G+1,).
        out: averages and shares (M + 1, G, G), written.
        inside: work space (2, G+1).
        beyond: work space (2, G+1).
        places: work space (2, G+1).
        bands: work space (3, g+1).
    """
    count, across, cells = maps.shape[0], maps.shape[2], offsets.shape[0] - 1
    grid, size = np.float32(across - 1), (offsets[cells] - offsets[0]) / np.float32(cells)
    width, height = (box[2] - box[0]) * size, (box[3] - box[1]) * size
    for axis in range(2):
        middle, side = (box[axis] + box[axis + 2]) * HALF, box[axis + 2] - box[axis]
        for s in range(cells + 1):
            line = min(max(middle + side * offsets[s], ZERO), ONE)
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
                left_sum = ZERO
                for x in range(cells + 1):
                    place = places[0, x]
                    right = bands[2, place] + beyond[0, x] * (bands[2, place + 1] - bands[2, place])
                    if x > 0:
                        out[m, y - 1, x - 1] = right - left_sum
                    left_sum = right


_ROWS, _NUMBERS, _MAPS = REAL[:, ::1], REAL[::1], REAL[:, :, :, ::1]
_STATE = numba.types.NamedTuple(
    (_ROWS, _MAPS, _MAPS, REAL[:, :, ::1], _ROWS, _ROWS, _NUMBERS, _NUMBERS, WHOLE[::1], _ROWS), State
)
_PARTS = numba.types.NamedUniTuple(_ROWS, len(Parts._fields), Parts)


@kernel(WHOLE[::1], _STATE, WHOLE, _ROWS, _PARTS, fastmath={"contract"})
def see(first, last, rows, state, max_steps, offsets, parts):
    """Compute what some rows see.

    Args:
        first: first of the rows.
        last: end of the rows, exclusive.
        rows: indices of the rows of the state (R,).
        state: state of all rows.
        max_steps: maximum number of steps of an episode.
        offsets: lines of the moving windows (K, G+1).
        parts: parts of the observations (R, ...), written.
    """
    (windows, lines), across = offsets.shape, state.maps.shape[3]
    inside, beyond = np.empty((2, lines), np.float32), np.empty((2, lines), np.float32)
    places, bands = np.empty((2, lines), np.int64), np.empty((3, across), np.float32)
    for i in range(first, last):
        b = rows[i]
        for axis in range(2):
            low, high = state.boxes[b, axis], state.boxes[b, axis + 2]
            parts.box[i, axis], parts.box[i, axis + 2] = low, high
            parts.box[i, axis + 4], parts.box[i, axis + 6] = (low + high) * HALF, high - low
        parts.score[i, 0], parts.score[i, 1] = state.score[b], state.score_change[b]
        parts.step[i, 0] = min(np.float32(state.steps[b] / max_steps), ONE)
        for h in range(state.history.shape[1]):
            for a in range(state.history.shape[2]):
                parts.history[i, h * state.history.shape[2] + a] = state.history[b, h, a]
        for d in range(state.text.shape[1]):
            parts.image[i, d], parts.region[i, d] = state.image[b, d], state.region[b, d]
            parts.text[i, d] = state.text[b, d]
        seen = parts.glimpses[i].reshape((windows + 1, *state.overview.shape[1:]))
        for w in range(windows):
            _look(state.maps[b], state.boxes[b], offsets[w], seen[w], inside, beyond, places, bands)
        for m in range(state.overview.shape[1]):
            for y in range(lines - 1):
                for x in range(lines - 1):
                    seen[windows, m, y, x] = state.overview[b, m, y, x]
