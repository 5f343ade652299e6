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

With ``answers`` (``targets="any"``) the Discrete sets have two more actions, and the last part of the MultiDiscrete
sets has two more choices: "this one, and on" records the box, "nothing more" ends the episode without it. With ``zoom``
they have one more, before those: "look closer" (:mod:`vg_gym.envs.closer_looks`). The engine acts on all three; here
they leave the box where it is.

`classic` is the published set (Caicedo & Lazebnik, ICCV 2015); its reach is poor, see ``experiments/action_reach.py``.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces

from vg_gym import boxes as box_ops
from vg_gym.boxes import EDGES
from vg_gym.envs.action_set import ActionSet
from vg_gym.envs.moves import OUT, changed, landings, shift_edges
from vg_gym.errors import VGGymError, unknown
from vg_gym.runtime.lazy_imports import torch

STEPS = 0.3, 0.08, 0.02
"""Default sizes of the coarse, fine and finest step, as fractions of the box's side."""
ANSWERS = "this one, and on", "nothing more"
"""Names of the two choices of action sets with answers."""
LOOK = "look closer"
"""Name of the choice of action sets with zoom."""


class TableActions(ActionSet):
    """Discrete set with a table of edge shifts; the trigger, "look closer" and the answers, if any, follow the moves.

    Args:
        name: name of the set.
        table: shifts of the A moves in fractions of the box's width and height, (A, 4).
        names: names of the A moves.
        answers: whether the set has "this one, and on" and "nothing more".
        zoom: whether the set has "look closer".
    """

    def __init__(self, name: str, table: np.ndarray, names: tuple[str, ...], answers: bool = False, zoom: bool = False):
        self.name, self.trigger = name, len(table)
        self.names = (*names, "trigger", *((LOOK,) if zoom else ()), *(ANSWERS if answers else ()))
        self.noop = self.trigger
        if zoom:
            self.look = self.trigger + 1
        if answers:
            self.record, self.nothing = len(self.names) - 2, len(self.names) - 1
        count = len(self.names)
        still = np.zeros((count - len(table), 4))  # the trigger, "look closer" and the answers do not move the box
        self.table = np.concatenate([table, still]).astype(np.float32)
        self._one_hot = np.eye(count, dtype=np.float32)
        self.space = spaces.Discrete(count)

    def _move(self, place: Callable[[Any], Any]) -> None:
        self.table, self._one_hot = place(self.table), place(self._one_hot)

    def menu(self) -> np.ndarray:
        """Return the indices (A,) of all moves."""
        return np.arange(self.trigger)

    def masks(self, boxes: np.ndarray, proposals: np.ndarray | None = None) -> np.ndarray:
        """Return which actions would change the box, bool (B, n); those that do not move it are always true."""
        changes = changed(boxes[:, None], self.outcomes(boxes))
        always_true = np.ones((len(boxes), len(self.names) - self.trigger), dtype=bool)
        return np.concatenate([changes, always_true], axis=1)

    def answers(self, actions: Any) -> tuple[Any, Any]:
        """See :meth:`ActionSet.answers`."""
        return actions == self.record, actions == self.nothing

    def looks(self, actions: Any) -> Any:
        """See :meth:`ActionSet.looks`."""
        return actions == self.look

    def encode(self, actions: np.ndarray) -> np.ndarray:
        """Return one-hot rows (B, n)."""
        return self._one_hot[actions]

    def _deltas(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.table[actions], actions == self.trigger

    def check(self, actions: np.ndarray) -> None:
        """Raise an error unless actions are integers of the space."""
        last = len(self.names) - 1
        good = (actions >= 0) & (actions <= last) & (actions.dtype.kind in "iu")
        if np.count_nonzero(good) < good.size:
            raise VGGymError(f"action {actions[~good][0]} is not an integer in [0, {last}]")


class MultiEdgeActions(ActionSet):
    """Set in which every edge moves at once, by one of a few steps or not at all; the last part triggers or jumps.

    The edge moves are ignored if the last part is the trigger (1), a jump to proposal k (2 + k), "look closer" (after
    the jumps) or an answer (the last two choices). A jump to an empty row of the proposals leaves the box as it is.

    Args:
        name: name of the set.
        steps: step sizes as fractions of the box's side, from the biggest to the smallest.
        jumps: number K of proposals that an action can jump to.
        answers: whether the set has "this one, and on" and "nothing more".
        zoom: whether the set has "look closer".
    """

    def __init__(self, name: str, steps: Sequence[float], jumps: int = 0, answers: bool = False, zoom: bool = False):
        self.name, self.jumps, self.stay = name, jumps, len(steps)
        """``stay`` is the choice that leaves an edge where it is."""
        count = 2 * len(steps) + 1
        self._first_answer = 2 + jumps + zoom
        self.space = spaces.MultiDiscrete([count] * 4 + [self._first_answer + (len(ANSWERS) if answers else 0)])
        self.levels = np.array([*steps, 0, *(-step for step in reversed(steps))], dtype=np.float32)
        self.trigger, self.noop = self._still(1), self._still(0)
        if zoom:
            self.look = self._still(2 + jumps)
        if answers:
            self.record, self.nothing = self._still(self._first_answer), self._still(self._first_answer + 1)
        self._places = count * np.arange(4)  # index in the tables at which the choices of each edge begin
        self._shifts = (OUT[:, None] * self.levels).reshape(-1)
        self._codes = self._shifts / self.levels[0]
        sizes = ("coarse", "fine", "finest")[: len(steps)]
        moves = [*(f"out {size}" for size in sizes), "stay", *(f"in {size}" for size in reversed(sizes))]
        jump_names = (f"jump to {k}" for k in range(jumps))
        last = ("go on", "trigger", *jump_names, *((LOOK,) if zoom else ()), *(ANSWERS if answers else ()))
        self.names = (*(f"{edge} {move}" for edge in EDGES for move in moves), *last)

    def _still(self, last: int) -> np.ndarray:
        """Return the action (5,) that moves no edge and has a choice of the last part."""
        return np.array([self.stay] * 4 + [last])

    def _move(self, place: Callable[[Any], Any]) -> None:
        self._places, self._shifts, self._codes = place(self._places), place(self._shifts), place(self._codes)

    def menu(self) -> np.ndarray:
        """Return all combinations of edge moves, (625, 5) with two steps."""
        return np.array([(*choice, 0) for choice in itertools.product(range(len(self.levels)), repeat=4)])

    def masks(self, boxes: np.ndarray, proposals: np.ndarray | None = None) -> np.ndarray:
        """Return masks, bool (B, n): for each edge the steps that change the box, then the last part.

        "Stay" is always allowed. In the last part the jumps that do not change the box are false, and all else is true.
        """
        singles = np.zeros((4, len(self.levels), 4), dtype=np.float32)
        for edge in range(4):
            singles[edge, :, edge] = self.levels * OUT[edge]
        moved = shift_edges(boxes[:, None, None], singles[None])
        changes = changed(boxes[:, None, None], moved)
        changes[:, :, self.stay] = True
        last = np.ones((len(boxes), len(self.names) - 4 * len(self.levels)), dtype=bool)
        if self.jumps:
            assert proposals is not None
            last[:, 2 : 2 + self.jumps] = changed(boxes[:, None], landings(proposals, boxes[:, None]))
        return np.concatenate([changes.reshape(len(boxes), -1), last], axis=1)

    @property
    def trigger_column(self) -> int:
        """Column of the trigger in the masks, after the columns of the edges and "go on"."""
        return 4 * len(self.levels) + 1

    def encode(self, actions: np.ndarray) -> np.ndarray:
        """Return edge shifts and the trigger, (B, 5); further columns mark jumps, looks and each answer, if any."""
        codes, last = self._codes.take(actions[:, :4] + self._places), actions[:, 4:]
        parts = [codes, last == 1]
        if self.jumps:
            parts.append((last > 1) & (last < 2 + self.jumps))
        if self.look is not None:
            parts.append(last == 2 + self.jumps)
        if self.record is not None:
            parts += [last == self._first_answer, last == self._first_answer + 1]
        return box_ops.namespace(codes).concatenate(parts, axis=1)

    def answers(self, actions: Any) -> tuple[Any, Any]:
        """See :meth:`ActionSet.answers`."""
        return actions[:, 4] == self._first_answer, actions[:, 4] == self._first_answer + 1

    def looks(self, actions: Any) -> Any:
        """See :meth:`ActionSet.looks`."""
        return actions[:, 4] == 2 + self.jumps

    def _deltas(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self._shifts.take(actions[:, :4] + self._places), actions[:, 4] == 1

    def _jump(self, moved: Any, boxes: Any, actions: Any, proposals: Any) -> Any:
        xp, jump = box_ops.namespace(boxes), actions[:, 4] - 2
        if self.record is not None or self.look is not None:
            moved = xp.where((jump >= self.jumps)[:, None], boxes, moved)
        if not self.jumps:
            return moved
        rows = np.arange(len(boxes)) if xp is np else torch.arange(len(boxes), device=boxes.device)
        chosen = proposals[rows, box_ops.clamp(jump, 0, self.jumps - 1)]
        return xp.where(((jump >= 0) & (jump < self.jumps))[:, None], landings(chosen, boxes), moved)

    def check(self, actions: np.ndarray) -> None:
        """Raise an error unless each action is five integers in the space."""
        sizes = self.space.nvec  # type: ignore[attr-defined]
        if actions.shape[1:] != (5,) or actions.dtype.kind not in "iu":
            raise VGGymError(f"action {actions} must be five integers, because the space is {self.space}")
        good = (actions >= 0) & (actions < sizes)
        if np.count_nonzero(good) < good.size:
            raise VGGymError(f"action {actions[~good.all(axis=1)][0].tolist()} is not in {self.space}")


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


def _classic(step: float, answers: bool, zoom: bool) -> TableActions:
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
    return TableActions("classic", np.array(list(moves.values())), tuple(moves), answers, zoom)


def _edges(coarse: float, fine: float, answers: bool, zoom: bool) -> TableActions:
    moves: dict[str, np.ndarray] = {}
    for size, step in (("coarse", coarse), ("fine", fine)):
        for way, sign in (("out", 1), ("in", -1)):
            for i, edge in enumerate(EDGES):
                moves[f"{edge} {way} {size}"] = np.eye(4)[i] * OUT * sign * step
            moves[f"all {way} {size}"] = OUT * sign * step / 2
    return TableActions("edges", np.array(list(moves.values())), tuple(moves), answers, zoom)


ACTIONS = ("classic", "edges", "multi-edges", "fine-edges", "jump-edges", "continuous")


def make_actions(
    name: str,
    coarse: float = STEPS[0],
    fine: float = STEPS[1],
    finest: float = STEPS[2],
    jumps: int = 0,
    answers: bool = False,
    zoom: bool = False,
) -> ActionSet:
    """Build an action set.

    Args:
        name: one of :data:`ACTIONS`.
        coarse: big step as a fraction of the box's side; the only step of ``classic``.
        fine: small step of ``edges`` and all ``...-edges``.
        finest: smallest step of ``fine-edges`` and ``jump-edges``.
        jumps: number K of proposals that ``jump-edges`` can jump to.
        answers: whether the set also has "this one, and on" and "nothing more".
        zoom: whether the set also has "look closer".

    Raises:
        VGGymError: the name is unknown, a step is not in (0, 1), ``jump-edges`` lacks proposals, or ``continuous``
            should have answers or zoom.

    >>> make_actions("classic").names[:5]
    ('left', 'right', 'up', 'down', 'bigger')
    >>> make_actions("multi-edges").space, make_actions("jump-edges", jumps=12).space
    (MultiDiscrete([5 5 5 5 2]), MultiDiscrete([ 7  7  7  7 14]))
    >>> make_actions("multi-edges", answers=True).space
    MultiDiscrete([5 5 5 5 4])
    """
    if not (0 < coarse < 1 and 0 < fine < 1 and 0 < finest < 1):
        raise VGGymError(f"coarse={coarse}, fine={fine} and finest={finest} must lie between 0 and 1")
    if name == "classic":
        return _classic(coarse, answers, zoom)
    if name == "edges":
        return _edges(coarse, fine, answers, zoom)
    if name == "multi-edges":
        return MultiEdgeActions(name, (coarse, fine), answers=answers, zoom=zoom)
    if name == "fine-edges":
        return MultiEdgeActions(name, (coarse, fine, finest), answers=answers, zoom=zoom)
    if name == "jump-edges":
        if jumps < 1:
            raise VGGymError("action=jump-edges jumps to proposals: name a proposer with proposals=, e.g. ssd")
        return MultiEdgeActions(name, (coarse, fine, finest), jumps, answers, zoom)
    if name == "continuous":
        others = ", ".join(other for other in ACTIONS if other != name)
        if answers:
            raise VGGymError(
                f"action=continuous cannot say several boxes or none; with targets=any use one of {others}"
            )
        if zoom:
            raise VGGymError(f"action=continuous cannot look closer; with zoom=true use one of {others}")
        return ContinuousActions()
    raise unknown("action set", name, ACTIONS)
