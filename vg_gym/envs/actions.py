"""Action sets by name. They act on batches of boxes: arrays, or tensors after ``to``.

A move shifts the four edges by fractions of the box's own width and height. Boxes are normalised ``xyxy``.

| name          | space                        | moves                                                              |
|---------------|------------------------------|--------------------------------------------------------------------|
| `classic`     | Discrete(9)                  | left, right, up, down, bigger, smaller, fatter, taller, trigger    |
| `edges`       | Discrete(21)                 | one edge, or all four, out or in, coarse or fine; trigger          |
| `multi-edges` | MultiDiscrete([5,5,5,5,2])   | every edge at once: out/in, coarse/fine, or stay; trigger flag     |
| `fine-edges`  | MultiDiscrete([7,7,7,7,2])   | `multi-edges` with a third, finest step                            |
| `jump-edges`  | MultiDiscrete([7,7,7,7,2+K]) | `fine-edges`; the last part also jumps to one of K proposals       |
| `continuous`  | Box(-1, 1, (5,))             | dx, dy, dw, dh, trigger if the last is > 0                         |

`classic` is the published set (Caicedo & Lazebnik, ICCV 2015); its reach is poor, see ``experiments/action_reach.py``.
"""

from __future__ import annotations

import copy
import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
from gymnasium import spaces

from vg_gym import boxes as box_ops
from vg_gym.boxes import EDGES
from vg_gym.clip.kernels import HALF, ONE, REAL, ZERO, kernel, over_rows
from vg_gym.errors import VGGymError, unknown
from vg_gym.runtime.lazy_imports import torch

MIN_SIDE = 0.04
"""Shortest side of a box, as a fraction of the side of the image."""
CHANGE = 1e-6
"""Smallest change of a coordinate that counts in masks, as a fraction of the side of the image."""
OUT = np.array([-1, -1, 1, 1], dtype=np.float32)
"""Sign of the direction out of the box, for each edge."""
_SIDES = np.float32(MIN_SIDE), np.float32(1 - MIN_SIDE)
"""Shortest side of a box, and the largest coordinate at which a box of that side begins."""


@kernel(REAL[:, ::1], REAL[:, ::1], REAL, REAL, REAL[:, ::1])
def _shift_edges(first, last, boxes, deltas, shortest, end, out):
    """Compute :func:`shift_edges` of some boxes (B, 4) in ``out`` (B, 4); see :data:`_SIDES`."""
    for b in range(first, last):
        for axis in range(2):
            low, high, delta, other = boxes[b, axis], boxes[b, axis + 2], deltas[b, axis], deltas[b, axis + 2]
            move, stretch = delta * (high - low), other * (high - low)
            if delta == other:  # both edges move by the same amount, and stop together at the border
                move = stretch = min(max(move, -low), ONE - high)
            low, high = min(max(low + move, ZERO), ONE), min(max(high + stretch, ZERO), ONE)
            if high - low < shortest:
                low, high = min(low, high), max(low, high)
                if high - low < shortest:
                    low = min(max((low + high - shortest) * HALF, ZERO), end)
                    high = low + shortest
            out[b, axis], out[b, axis + 2] = low, high


def shift_edges(boxes: np.ndarray, deltas: np.ndarray) -> np.ndarray:
    """Move edges by ``deltas`` (..., 4), fractions of width and height; the result lies inside the image.

    A pure translation stops at the border, so that the box does not shrink.

    >>> box = np.array([0.25, 0.25, 0.75, 0.75], dtype=np.float32)
    >>> shift_edges(box, np.array([0.5, 0, 0, 0], dtype=np.float32)).tolist()
    [0.5, 0.25, 0.75, 0.75]
    """
    if isinstance(boxes, np.ndarray):
        if boxes.shape != deltas.shape:
            boxes, deltas = np.broadcast_arrays(boxes, deltas)
        flat = (np.ascontiguousarray(array, dtype=np.float32).reshape(-1, 4) for array in (boxes, deltas))
        moved = np.empty((boxes.size // 4, 4), dtype=np.float32)
        over_rows(_shift_edges, len(moved), *flat, *_SIDES, moved)
        return moved.reshape(boxes.shape)
    low, high, first, second = boxes[..., :2], boxes[..., 2:], deltas[..., :2], deltas[..., 2:]
    extent = high - low
    move, other, together = first * extent, second * extent, first == second
    stopped = torch.minimum(torch.maximum(move, -low), 1 - high)
    move, other = torch.where(together, stopped, move), torch.where(together, stopped, other)
    return box_ops.fit_edges(low + move, high + other, min_side=MIN_SIDE)


class ActionSet(ABC):
    """Named set of moves with a trigger that ends the episode; every method takes a batch of B boxes (B, 4)."""

    name: str
    space: spaces.Space
    trigger: Any
    """Action that ends the episode and does not move the box."""
    noop: Any
    """Action that changes nothing; the trigger in sets without such an action."""

    def apply(self, boxes: np.ndarray, actions: np.ndarray, proposals: Any = None) -> tuple[np.ndarray, np.ndarray]:
        """Return new boxes (B, 4), and whether the trigger was pulled, bool (B,); the trigger does not move a box.

        Args:
            boxes: normalised (B, 4).
            actions: (B, ...) in :attr:`space`.
            proposals: (B, K, 5 or more), normalised corners and a confidence, which is 0 in empty rows; needed by sets
                that jump.

        Raises:
            VGGymError: an action is NaN or outside the space.
        """
        if isinstance(actions, np.ndarray):  # tensors stay unchecked: reading one waits for its device
            self.check(actions)
            actions = actions.astype(self.space.dtype, copy=False)
        deltas, stop = self._deltas(actions)
        moved = self._jump(shift_edges(boxes, deltas), boxes, actions, proposals)
        return box_ops.namespace(boxes).where(stop[:, None], boxes, moved), stop

    def _jump(self, moved: Any, boxes: Any, actions: Any, proposals: Any) -> Any:
        """Return the boxes (B, 4) after jumps; in sets without jumps they are the moved boxes."""
        return moved

    jumps: int = 0
    """Number K of proposals that an action can jump to."""

    def to(self, device: torch.device) -> Self:
        """Return a copy for tensors on a device. Tensor actions out of range raise torch's errors, or are undefined."""
        moved = copy.copy(self)
        moved._move(lambda constant: torch.from_numpy(constant).to(device))
        return moved

    @abstractmethod
    def _move(self, place: Callable[[Any], Any]) -> None:
        """Replace the arrays that :meth:`apply` and :meth:`encode` read by what ``place`` returns for them."""

    @abstractmethod
    def menu(self) -> np.ndarray:
        """Return all moves except the trigger, (A, ...); a greedy oracle chooses among them."""

    def outcomes(self, boxes: np.ndarray) -> np.ndarray:
        """Return the boxes (B, A, 4) that the moves of :meth:`menu` lead to."""
        deltas, _ = self._deltas(self.menu())
        return shift_edges(boxes[:, None], deltas[None])

    def masks(self, boxes: np.ndarray, proposals: np.ndarray | None = None) -> np.ndarray:
        """Return which choices would change the box, bool (B, n); the trigger is always allowed.

        In Discrete spaces n is the number of actions. In MultiDiscrete spaces the choices of all parts follow each
        other, as sb3-contrib's MaskablePPO expects.

        Args:
            boxes: normalised (B, 4).
            proposals: (B, K, 5 or more) as in :meth:`apply`, for sets that jump.

        Raises:
            VGGymError: the space is continuous.
        """
        raise VGGymError(f"action={self.name!r} does not support masks: its space is {self.space}")

    @property
    def trigger_column(self) -> int:
        """Column of the trigger in the masks."""
        return int(self.trigger)

    @abstractmethod
    def encode(self, actions: np.ndarray) -> np.ndarray:
        """Encode actions as float32 (B, ``encoding``) for the history in the observation."""

    @property
    def encoding(self) -> int:
        """Length of an encoded action."""
        return self.encode(np.asarray(self.trigger)[None]).shape[1]

    @abstractmethod
    def _deltas(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return edge shifts (B, 4) in fractions of the sides, and whether the trigger was pulled, bool (B,)."""

    @abstractmethod
    def check(self, actions: np.ndarray) -> None:
        """Raise an error unless all actions lie in the space.

        Raises:
            VGGymError: an action lies outside the space.
        """


class TableActions(ActionSet):
    """Discrete set with a table of edge shifts; the trigger is the last action.

    Args:
        name: name of the set.
        table: shifts of the A moves in fractions of the box's width and height, (A, 4).
        names: names of the A moves.
    """

    def __init__(self, name: str, table: np.ndarray, names: tuple[str, ...]):
        self.name, self.names, self.trigger = name, (*names, "trigger"), len(table)
        self.noop = self.trigger
        self.table = np.concatenate([table, np.zeros((1, 4))]).astype(np.float32)  # the trigger does not move the box
        self._one_hot = np.eye(self.trigger + 1, dtype=np.float32)
        self.space = spaces.Discrete(len(table) + 1)

    def _move(self, place: Callable[[Any], Any]) -> None:
        self.table, self._one_hot = place(self.table), place(self._one_hot)

    def menu(self) -> np.ndarray:
        """Return the indices (A,) of all moves."""
        return np.arange(self.trigger)

    def masks(self, boxes: np.ndarray, proposals: np.ndarray | None = None) -> np.ndarray:
        """Return which actions would change the box, bool (B, A + 1)."""
        changes = _changes(boxes[:, None], self.outcomes(boxes))
        return np.concatenate([changes, np.ones((len(boxes), 1), dtype=bool)], axis=1)

    def encode(self, actions: np.ndarray) -> np.ndarray:
        """Return one-hot rows (B, A + 1)."""
        return self._one_hot[actions]

    def _deltas(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.table[actions], actions == self.trigger

    def check(self, actions: np.ndarray) -> None:
        """Raise an error unless actions are integers in [0, A]."""
        good = (actions >= 0) & (actions <= self.trigger) & (actions.dtype.kind in "iu")
        if np.count_nonzero(good) < good.size:
            raise VGGymError(f"action {actions[~good][0]} is not an integer in [0, {self.trigger}]")


class MultiEdgeActions(ActionSet):
    """Set in which every edge moves at once, by one of a few steps or not at all; the last part triggers or jumps.

    The edge moves are ignored if the last part is the trigger (1) or a jump to proposal k (2 + k). A jump to an empty
    row of the proposals leaves the box as it is.

    Args:
        name: name of the set.
        steps: step sizes as fractions of the box's side, from the biggest to the smallest.
        jumps: number K of proposals that an action can jump to.
    """

    def __init__(self, name: str, steps: Sequence[float], jumps: int = 0):
        self.name, self.jumps, self.stay = name, jumps, len(steps)
        """``stay`` is the choice that leaves an edge where it is."""
        count = 2 * len(steps) + 1
        self.space = spaces.MultiDiscrete([count] * 4 + [2 + jumps])
        self.levels = np.array([*steps, 0, *(-step for step in reversed(steps))], dtype=np.float32)
        self.trigger, self.noop = np.array([self.stay] * 4 + [1]), np.array([self.stay] * 4 + [0])
        self._places = count * np.arange(4)  # index in the tables at which the choices of each edge begin
        self._shifts = (OUT[:, None] * self.levels).reshape(-1)
        self._codes = self._shifts / self.levels[0]
        sizes = ("coarse", "fine", "finest")[: len(steps)]
        moves = [*(f"out {size}" for size in sizes), "stay", *(f"in {size}" for size in reversed(sizes))]
        last = ("go on", "trigger", *(f"jump to {k}" for k in range(jumps)))
        self.names = (*(f"{edge} {move}" for edge in EDGES for move in moves), *last)

    def _move(self, place: Callable[[Any], Any]) -> None:
        self._places, self._shifts, self._codes = place(self._places), place(self._shifts), place(self._codes)

    def menu(self) -> np.ndarray:
        """Return all combinations of edge moves, (625, 5) with two steps."""
        return np.array([(*choice, 0) for choice in itertools.product(range(len(self.levels)), repeat=4)])

    def masks(self, boxes: np.ndarray, proposals: np.ndarray | None = None) -> np.ndarray:
        """Return masks, bool (B, n): for each edge the steps that change the box, then the last part.

        "Stay" is always allowed. In the last part "go on" and the trigger are true, and so are the jumps that change
        the box.
        """
        singles = np.zeros((4, len(self.levels), 4), dtype=np.float32)
        for edge in range(4):
            singles[edge, :, edge] = self.levels * OUT[edge]
        moved = shift_edges(boxes[:, None, None], singles[None])
        changes = _changes(boxes[:, None, None], moved)
        changes[:, :, self.stay] = True
        last = np.ones((len(boxes), 2 + self.jumps), dtype=bool)
        if self.jumps:
            assert proposals is not None
            last[:, 2:] = _changes(boxes[:, None], _landings(proposals, boxes[:, None]))
        return np.concatenate([changes.reshape(len(boxes), -1), last], axis=1)

    @property
    def trigger_column(self) -> int:
        """Column of the trigger in the masks, after the columns of the edges and "go on"."""
        return 4 * len(self.levels) + 1

    def encode(self, actions: np.ndarray) -> np.ndarray:
        """Return edge shifts and the trigger, (B, 5); sets that jump have a sixth column that marks jumps."""
        codes, last = self._codes.take(actions[:, :4] + self._places), actions[:, 4:]
        parts = (codes, last == 1, last > 1) if self.jumps else (codes, last == 1)
        return box_ops.namespace(codes).concatenate(parts, axis=1)

    def _deltas(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self._shifts.take(actions[:, :4] + self._places), actions[:, 4] == 1

    def _jump(self, moved: Any, boxes: Any, actions: Any, proposals: Any) -> Any:
        if not self.jumps:
            return moved
        xp, jump = box_ops.namespace(boxes), actions[:, 4] - 2
        rows = np.arange(len(boxes)) if xp is np else torch.arange(len(boxes), device=boxes.device)
        chosen = proposals[rows, box_ops.clamp(jump, 0, self.jumps - 1)]
        return xp.where((jump >= 0)[:, None], _landings(chosen, boxes), moved)

    def check(self, actions: np.ndarray) -> None:
        """Raise an error unless each action is five integers in the space."""
        sizes = self.space.nvec  # type: ignore[attr-defined]
        if actions.shape[1:] != (5,) or actions.dtype.kind not in "iu":
            raise VGGymError(f"action {actions} must be five integers, because the space is {self.space}")
        good = (actions >= 0) & (actions < sizes)
        if np.count_nonzero(good) < good.size:
            raise VGGymError(f"action {actions[~good.all(axis=1)][0].tolist()} is not in {self.space}")


def _landings(proposals: Any, boxes: Any) -> Any:
    """Return the boxes after jumps from ``boxes`` (..., 4) to proposals (..., 5 or more); empty rows do nothing."""
    targets = box_ops.namespace(boxes).where(proposals[..., 4:5] > 0, proposals[..., :4], boxes)
    return box_ops.fit_edges(targets[..., :2], targets[..., 2:], min_side=MIN_SIDE)


def _changes(boxes: np.ndarray, outcomes: np.ndarray) -> np.ndarray:
    """Return which ``outcomes`` (..., 4) differ from ``boxes``, bool (...)."""
    return np.abs(outcomes - boxes).max(axis=-1) > CHANGE


class ContinuousActions(ActionSet):
    """Set of real numbers: dx, dy shift the box by up to half its side, dw, dh stretch it up to 2 times.

    A fifth number above 0 pulls the trigger.
    """

    name = "continuous"

    def __init__(self) -> None:
        self.space = spaces.Box(-1, 1, (5,), np.float32)
        self.trigger, self.noop = np.array([[0, 0, 0, 0, 1], [0, 0, 0, 0, -1]], dtype=np.float32)
        self.names = ("dx", "dy", "dw", "dh", "trigger")

    def _move(self, place: Callable[[Any], Any]) -> None:
        pass  # its arithmetic reads no arrays

    def menu(self) -> np.ndarray:
        """Return a grid over the first four dimensions, (625, 5)."""
        levels = (-1.0, -0.25, 0.0, 0.25, 1.0)
        return np.array([(*c, -1.0) for c in itertools.product(levels, repeat=4)], dtype=np.float32)

    def encode(self, actions: np.ndarray) -> np.ndarray:
        """Return the actions unchanged."""
        return actions

    def _deltas(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        xp = box_ops.namespace(actions)
        shift, grow = 0.5 * actions[:, :2], (xp.exp2(actions[:, 2:4]) - 1) / 2
        return xp.concatenate([shift - grow, shift + grow], axis=1), actions[:, 4] > 0

    def check(self, actions: np.ndarray) -> None:
        """Raise an error unless each action is five finite numbers in [-1, 1]."""
        if np.shape(actions)[1:] != (5,) or not np.isfinite(actions).all() or np.abs(actions).max() > 1 + 1e-6:
            raise VGGymError(f"action {np.asarray(actions).tolist()} must be five finite numbers in [-1, 1]")


def _classic(step: float) -> TableActions:
    half = step / 2
    moves = {
        "left": (-step, 0, -step, 0),
        "right": (step, 0, step, 0),
        "up": (0, -step, 0, -step),
        "down": (0, step, 0, step),
        "bigger": (-half, -half, half, half),
        "smaller": (half, half, -half, -half),
        "fatter": (0, half, 0, -half),
        "taller": (half, 0, -half, 0),
    }
    return TableActions("classic", np.array(list(moves.values())), tuple(moves))


def _edges(coarse: float, fine: float) -> TableActions:
    moves: dict[str, np.ndarray] = {}
    for size, step in (("coarse", coarse), ("fine", fine)):
        for way, sign in (("out", 1), ("in", -1)):
            for i, edge in enumerate(EDGES):
                moves[f"{edge} {way} {size}"] = np.eye(4)[i] * OUT * sign * step
            moves[f"all {way} {size}"] = OUT * sign * step / 2
    return TableActions("edges", np.array(list(moves.values())), tuple(moves))


ACTIONS = ("classic", "edges", "multi-edges", "fine-edges", "jump-edges", "continuous")


def make_actions(name: str, coarse: float = 0.3, fine: float = 0.08, finest: float = 0.02, jumps: int = 0) -> ActionSet:
    """Build an action set.

    Args:
        name: one of :data:`ACTIONS`.
        coarse: big step as a fraction of the box's side; the only step of ``classic``.
        fine: small step of ``edges`` and all ``...-edges``.
        finest: smallest step of ``fine-edges`` and ``jump-edges``.
        jumps: number K of proposals that ``jump-edges`` can jump to.

    Raises:
        VGGymError: the name is unknown, a step is not in (0, 1), or ``jump-edges`` lacks proposals.

    >>> make_actions("classic").names[:5]
    ('left', 'right', 'up', 'down', 'bigger')
    >>> make_actions("multi-edges").space, make_actions("jump-edges", jumps=12).space
    (MultiDiscrete([5 5 5 5 2]), MultiDiscrete([ 7  7  7  7 14]))
    """
    if not (0 < coarse < 1 and 0 < fine < 1 and 0 < finest < 1):
        raise VGGymError(f"coarse={coarse}, fine={fine} and finest={finest} must lie between 0 and 1")
    if name == "classic":
        return _classic(coarse)
    if name == "edges":
        return _edges(coarse, fine)
    if name == "multi-edges":
        return MultiEdgeActions(name, (coarse, fine))
    if name == "fine-edges":
        return MultiEdgeActions(name, (coarse, fine, finest))
    if name == "jump-edges":
        if jumps < 1:
            raise VGGymError("action=jump-edges jumps to proposals: name a proposer with proposals=, e.g. ssd")
        return MultiEdgeActions(name, (coarse, fine, finest), jumps)
    if name == "continuous":
        return ContinuousActions()
    raise unknown("action set", name, ACTIONS)
