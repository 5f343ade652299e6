"""Base of the action sets: what the engine and its faces ask of any of them."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Self

import numpy as np
from gymnasium import spaces

from vg_gym import boxes as box_ops
from vg_gym.envs.moves import shift_edges
from vg_gym.errors import VGGymError
from vg_gym.runtime.lazy_imports import torch


class ActionSet(ABC):
    """Named set of moves with a trigger that ends the episode; every method takes a batch of B boxes (B, 4)."""

    name: str
    space: spaces.Space
    trigger: Any
    """Action that ends the episode and does not move the box."""
    noop: Any
    """Action that changes nothing; the trigger in sets without such an action."""
    record: Any = None
    """Action "this one, and on", which records the box; None in sets without answers."""
    nothing: Any = None
    """Action "nothing more", which ends the episode without the box; None in sets without answers."""
    look: Any = None
    """Action "look closer", which does not move the box; None in sets without it."""

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

    def answers(self, actions: Any) -> tuple[Any, Any]:
        """Return which actions say "this one, and on" and which say "nothing more", bool (B,) each."""
        raise NotImplementedError(f"action={self.name!r} was made without answers")

    def looks(self, actions: Any) -> Any:
        """Return which actions say "look closer", bool (B,)."""
        raise NotImplementedError(f"action={self.name!r} was made without zoom")

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

    @property
    def look_column(self) -> int:
        """Column of "look closer" in the masks, before those of the answers; only in sets with zoom."""
        return -1 - len(self.answer_columns)

    @property
    def answer_columns(self) -> tuple[int, ...]:
        """Columns of "this one, and on" and "nothing more" in the masks, the last two; none in sets without answers."""
        count = int(getattr(self.space, "n", 0)) or int(self.space.nvec.sum())  # type: ignore[attr-defined]
        return (count - 2, count - 1) if self.record is not None else ()

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
