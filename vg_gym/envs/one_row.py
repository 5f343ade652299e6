"""A row that is alone: the score of its box and what it sees of it, in as few operations as there can be.

What a lone environment pays for is the number of its numpy calls, hardly their size: made as for many rows, a step has
some two hundred. Here edges of the box, of its ring and of the moving windows are one array, nothing is allocated but
what is handed out, and the observation is one copy. The arithmetic is, operation by operation, that of
:func:`vg_gym.clip.tables.table_sums`, :mod:`vg_gym.clip.scores` and :func:`vg_gym.envs.observations.glimpses`, and so
are the numbers, to the bit: ``tests/envs/test_one_row.py`` compares.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces

from vg_gym.clip.scores import RING, RING_WEIGHT
from vg_gym.clip.tables import constants
from vg_gym.envs.feature_bank import FeatureBank
from vg_gym.envs.observations import GLIMPSE, OFFSETS, WINDOWS
from vg_gym.envs.options import EnvOptions

SCORES = {"cosine": 1, "context": 2}
"""Scores that are known here -> boxes that they read: the box itself and, for ``context``, the wider one."""
PARTS = ("box", "score", "step", "history", "region", "glimpses", "image", "text")
"""Parts of every observation, in the order in which they are kept."""
_HALF, _ONE, _ZERO, _TINY = (np.array(number, dtype=np.float32) for number in (0.5, 1, 0, 1e-8))


class OneRow:
    """The only row of an engine whose scoring is dense and whose state are arrays.

    Args:
        options: of the environment; see :meth:`knows`.
        bank: where the tables of images are.
        space: of observations.
        maps: M, score maps of a query.
    """

    def __init__(self, options: EnvOptions, bank: FeatureBank, space: spaces.Dict, maps: int):
        self._arguments, self.bank, self.options = (options, bank, space, maps), bank, options
        self._places: dict[str, slice] = {}
        end = 0
        for name in PARTS:
            begin, end = end, end + int(np.prod(space[name].shape or ()))
            self._places[name] = slice(begin, end)
        self.seen = np.zeros(end, dtype=np.float32)
        """The observation."""
        self._view_seen(maps)
        self._make_lines()
        self._make_sums(SCORES[options.score])

    @staticmethod
    def knows(options: EnvOptions) -> bool:
        """Whether the score and the precision of an environment are among those that are computed here."""
        return options.scoring == "dense" and options.score in SCORES and options.precision == "float32"

    def __getstate__(self) -> Any:
        return self._arguments, [self.seen, self.lines, self.inside, self.boxes, self.first]  # the rest: views, room

    def __setstate__(self, state: Any) -> None:
        arguments, arrays = state
        self.__init__(*arguments)  # type: ignore[misc]
        for mine, kept in zip(self.__getstate__()[1], arrays, strict=True):
            mine[...] = kept

    def _part(self, name: str, *shape: int) -> np.ndarray:
        return self.seen[self._places[name]].reshape(shape)

    def _view_seen(self, maps: int) -> None:
        """Where the parts of the observation are written."""
        box, windows = self._part("box", 8), self._part("glimpses", len(WINDOWS) + 1, maps + 1, GLIMPSE, GLIMPSE)
        self._corners, self._middle, self._side = box[:4], box[4:6, None], box[6:, None]
        self._averages, self._coverage = windows[:-1, :-1].swapaxes(0, 1), windows[:-1, -1]
        self._region, self._history = self._part("region", -1), self._part("history", -1)
        self._at_score, self._at_step = self._places["score"].start, self._places["step"].start
        self._fixed = {"text": self._part("text", -1), "image": self._part("image", -1), "glimpses": windows[-1]}

    def _make_lines(self) -> None:
        """Columns and rows (2, 29): those of the moving windows, then the edges of the wider box."""
        ring = np.array([-RING / 2, RING / 2], dtype=np.float32)
        self._offsets = np.concatenate([OFFSETS.ravel(), ring])
        self.lines, self.inside = (np.zeros((2, len(self._offsets)), dtype=np.float32) for _ in range(2))
        shape = (2, len(WINDOWS), GLIMPSE + 1)
        lines, self._inside = (part[:, :-2].reshape(shape) for part in (self.lines, self.inside))
        self._first_lines, self._last_lines = lines[..., :1], lines[..., -1:]
        self._starts, self._ends = self._inside[..., :-1], self._inside[..., 1:]
        self._cell = np.empty((2, len(WINDOWS), 1), dtype=np.float32)
        self._share = np.empty((2, len(WINDOWS), GLIMPSE), dtype=np.float32)
        self._across, self._down = self._share[0, :, None, :], self._share[1, :, :, None]
        self._cells = np.empty((len(WINDOWS), 1), dtype=np.float32)
        self._at = np.empty(shape, dtype=np.float32)
        self._columns, self._rows = self._at[0, :, None, :], self._at[1, :, :, None]
        points = np.empty((len(WINDOWS), GLIMPSE + 1, GLIMPSE + 1, 2), dtype=np.float32)
        self._points_across, self._points_down = points[..., 0], points[..., 1]
        self._points = torch.from_numpy(points).view(1, -1, GLIMPSE + 1, 2)

    def _make_sums(self, count: int) -> None:
        """The box and, if the score has one, the wider box (count, 4), and from which rows of the table sums are."""
        lines, dim = self.bank.clip.grid + 1, self.bank.clip.dim
        self._constants = c = constants(lines, None)
        self.boxes = np.zeros((count, 4), dtype=np.float32)
        self._wider, self._ring = self.boxes[1:].reshape(-1, 2, 2), self.inside[:, -2:].T[None]
        self._edges, self._below, self._whole = (np.empty((count, 4), dtype=kind) for kind in "ffi")
        self._weights = np.empty((count, 4, 2), dtype=np.float32)
        self._weights_down = self._weights[:, 1::2, :, None, None]
        self._weights_across = self._weights[:, None, None, 0::2, :]
        weights, index = (np.empty((count, 2, 2, 2, 2), dtype=kind) for kind in "fi")
        self._products, self._index, self._from = weights, index, np.empty((count, 2, 1, 2, 1), dtype=np.int32)
        self._from_down = self._whole[:, 1::2, None, None, None]
        self._from_across = self._whole[:, None, None, 0::2, None]
        self.first = c.steps.copy()
        """Rows of the table beside a corner (2, 1, 2), counted from those of the first image."""
        self._bags = torch.arange(0, 16 * count, 16, dtype=torch.int32)
        self._bag_rows, self._bag_weights = (torch.from_numpy(part.reshape(-1)) for part in (index, weights))
        self._squares, self._lengths = (np.empty(count, dtype=np.float32) for _ in range(2))
        self._features = np.empty((count, dim), dtype=np.float32)
        self._lengths_of_each = self._lengths[:, None]

    def begin(self, slot: int, fixed: dict[str, np.ndarray]) -> None:
        """Another episode: the slot of its image, and what of its observation does not change (1, ...) by name."""
        np.add(self._constants.steps, slot * (self.bank.clip.grid + 1) ** 2, out=self.first)
        for name, values in self._fixed.items():
            values[...] = fixed[name][0]

    def score(self, boxes: np.ndarray, playing: Any) -> tuple[np.ndarray, np.ndarray]:
        """See :meth:`vg_gym.envs.scoring.protocol.Scorer.score`; also draws the lines of the windows of the box."""
        box = self.boxes[0]
        box[...] = boxes[0]
        np.add(box[:2, None], box[2:, None], out=self._middle)
        np.multiply(self._middle, _HALF, out=self._middle)
        np.subtract(box[2:, None], box[:2, None], out=self._side)
        np.multiply(self._side, self._offsets, out=self.lines)
        np.add(self._middle, self.lines, out=self.lines)
        np.maximum(self.lines, _ZERO, out=self.inside)
        np.minimum(self.inside, _ONE, out=self.inside)
        if len(self.boxes) > 1:
            self._wider[...] = self._ring
        sums = self._sums()
        if len(sums) > 1:
            np.subtract(sums[1], sums[0], out=sums[1])  # the ring: the wider box without the box
        np.vecdot(sums, sums, out=self._squares)
        np.sqrt(self._squares, out=self._lengths)
        np.maximum(self._lengths, _TINY, out=self._lengths)
        np.divide(sums, self._lengths_of_each, out=self._features)
        cosines = np.vecdot(self._features, playing.text)
        np.maximum(self._features[0], -_ONE, out=self._region)
        np.minimum(self._region, _ONE, out=self._region)
        if len(cosines) > 1:
            cosines = cosines[:1] - RING_WEIGHT * cosines[1:]
        return self._region[None], cosines

    def _sums(self) -> np.ndarray:
        """Sums of features over the boxes (count, D); see :func:`vg_gym.clip.tables.table_sums`."""
        c, tables = self._constants, self.bank.images.tables
        np.multiply(self.boxes, c.grid, out=self._edges)
        np.floor(self._edges, out=self._below)
        np.minimum(self._below, c.last, out=self._below)
        self._whole[...] = self._below
        np.subtract(self._edges, self._below, out=self._edges)
        np.multiply(self._edges[..., None], c.slopes, out=self._weights)
        np.add(self._weights, c.starts, out=self._weights)
        np.multiply(self._weights_down, self._weights_across, out=self._products)
        np.multiply(self._whole, c.strides, out=self._whole)
        np.add(self._from_down, self._from_across, out=self._from)
        np.add(self._from, self.first, out=self._index)
        rows = tables.view(-1, tables.shape[-1])
        bags = torch.embedding_bag(rows, self._bag_rows, self._bags, False, 0, False, self._bag_weights)
        return bags[0].numpy()

    def observe(self, maps: np.ndarray, score: Any, change: Any, history: np.ndarray, step: float) -> dict[str, Any]:
        """The observation of the box that was scored last, each part (1, ...), the caller's to keep.

        Args:
            maps: tables of score maps (1, M, g+1, g+1).
            score: of the box.
            change: of the score.
            history: encoded actions (1, H, A).
            step: share of the steps.
        """
        self._corners[...] = self.boxes[0]
        self._glimpse(maps)
        self.seen[self._at_score], self.seen[self._at_score + 1], self.seen[self._at_step] = score, change, step
        self._history[...] = history.reshape(-1)
        seen = self.seen.copy()[None]
        return {name: seen[:, place] for name, place in self._places.items()}

    def _glimpse(self, maps: np.ndarray) -> None:
        """Write glimpses; see :func:`vg_gym.envs.observations.glimpses`."""
        np.subtract(self._last_lines, self._first_lines, out=self._cell)
        np.divide(self._cell, GLIMPSE, out=self._cell)
        np.subtract(self._ends, self._starts, out=self._share)
        np.divide(self._share, self._cell, out=self._share)
        np.multiply(self._down, self._across, out=self._coverage)
        np.add(self._inside, self._inside, out=self._at)
        np.subtract(self._at, _ONE, out=self._at)
        self._points_across[...], self._points_down[...] = self._columns, self._rows
        values = torch.grid_sampler(torch.from_numpy(maps), self._points, 0, 1, True).numpy()
        values = values.reshape(-1, len(WINDOWS), GLIMPSE + 1, GLIMPSE + 1)
        sums = values[..., 1:, :] - values[..., :-1, :]
        sums = sums[..., 1:] - sums[..., :-1]
        np.multiply(self._cell[0], self._cell[1], out=self._cells)
        np.multiply(self._cells, (maps.shape[-1] - 1) ** 2, out=self._cells)
        np.divide(sums, self._cells[..., None], out=self._averages)
