"""Keys of the keyboard and their actions, for ``vg-gym play`` and :func:`gymnasium.utils.play.play`.

``w a s d`` stretch the box up, left, down, right; ``i j k l`` shrink it towards those sides. Keys held together act
together if the action set allows it: ``d`` and ``l`` move the box to the right.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

from vg_gym.boxes import EDGES
from vg_gym.envs.actions import ActionSet, ContinuousActions, MultiEdgeActions, TableActions

OUT_KEYS = {"left": "a", "top": "w", "right": "d", "bottom": "s"}
"""Keys that move an edge out of the box."""
IN_KEYS = {"left": "l", "top": "k", "right": "j", "bottom": "i"}
"""Keys that move an edge into the box."""
SIZE_KEYS = {"coarse": "", "fine": "f", "finest": "v"}
"""Keys that are held for steps of a size."""
TRIGGER_KEY, RECORD_KEY, NOTHING_KEY, LOOK_KEY = " ", "o", "n", "z"
"""Keys of the trigger, of "this one, and on", of "nothing more" and of "look closer"."""
CLASSIC_KEYS = {"left": "a", "right": "d", "up": "w", "down": "s", "bigger": "e", "smaller": "q", "fatter": "f",
                "taller": "t"}  # fmt: skip
CONTINUOUS_KEYS = {"a": (-1, 0, 0, 0), "d": (1, 0, 0, 0), "w": (0, -1, 0, 0), "s": (0, 1, 0, 0), "l": (0, 0, 1, 0),
                   "j": (0, 0, -1, 0), "i": (0, 0, 0, 1), "k": (0, 0, 0, -1), "e": (0, 0, 1, 1),
                   "q": (0, 0, -1, -1)}  # fmt: skip


def keys_to_action(actions: ActionSet) -> dict[tuple[int, ...], Any]:
    """Return the action for each combination of held keys, a tuple of sorted character codes.

    >>> from vg_gym.envs.actions import make_actions
    >>> keys = keys_to_action(make_actions("edges"))
    >>> keys[ord(" "),], keys[ord("d"),], keys[ord("d"), ord("f")]
    (20, 2, 12)
    """
    if isinstance(actions, MultiEdgeActions):
        actions_by_keys: Mapping[str, Any] = _multi_edge_keys(actions)
    elif isinstance(actions, ContinuousActions):
        actions_by_keys = {key: np.array([*move, -1], dtype=np.float32) for key, move in CONTINUOUS_KEYS.items()}
    else:
        assert isinstance(actions, TableActions)
        actions_by_keys = _table_keys(actions)
    actions_by_keys = {**actions_by_keys, TRIGGER_KEY: actions.trigger}
    if actions.record is not None:
        actions_by_keys |= {RECORD_KEY: actions.record, NOTHING_KEY: actions.nothing}
    if actions.look is not None:
        actions_by_keys |= {LOOK_KEY: actions.look}
    return {tuple(sorted(map(ord, keys))): action for keys, action in actions_by_keys.items()}


def _table_keys(actions: TableActions) -> dict[str, int]:
    """Return the actions of ``classic`` by key, or those of ``edges`` by the keys of edge, direction and size."""
    if actions.name == "classic":
        return {key: actions.names.index(name) for name, key in CLASSIC_KEYS.items()}
    actions_by_keys = {}
    for number, name in enumerate(actions.names[: actions.trigger]):
        edge, way, size = name.split()
        keys = {**(OUT_KEYS if way == "out" else IN_KEYS), "all": "e" if way == "out" else "q"}
        actions_by_keys[keys[edge] + SIZE_KEYS[size]] = number
    return actions_by_keys


def _multi_edge_keys(actions: MultiEdgeActions) -> dict[str, np.ndarray]:
    """Return all moves of some edges by steps of one size, and jumps to the first nine proposals."""
    actions_by_keys = {}
    ways = [[("", 0), (OUT_KEYS[edge], 1), (IN_KEYS[edge], -1)] for edge in EDGES]
    for choice in itertools.product(*ways):
        for number, size in enumerate(list(SIZE_KEYS.values())[: actions.stay]):
            keys, signs = "".join(key for key, _ in choice), [sign for _, sign in choice]
            levels = [actions.stay - sign * (actions.stay - number) for sign in signs]
            if keys:
                actions_by_keys[keys + size] = np.array([*levels, 0])
    nothing = [actions.stay] * 4
    return actions_by_keys | {str(k + 1): np.array([*nothing, 2 + k]) for k in range(min(actions.jumps, 9))}


def describe(actions: ActionSet) -> list[str]:
    """Describe the keys in lines of text."""
    lines = {
        "classic": ["w a s d: move the box", "e bigger, q smaller, f fatter, t taller"],
        "continuous": ["w a s d: move the box", "e bigger, q smaller, l wider, j narrower, i taller, k flatter"],
    }
    stretch = ["w a s d: stretch the box up, left, down, right", "i j k l: shrink it up, left, down, right"]
    both = "e, q: all edges out, in" if actions.name == "edges" else "two at once, as d and l: both"
    finest = ", with v still smaller" if actions.name in ("fine-edges", "jump-edges") else ""
    jumps = ["1 to 9: jump to a proposal"] if actions.jumps else []
    moves = lines.get(actions.name, [*stretch, f"with f held: small steps{finest}; {both}", *jumps])
    more = ["o: this one, and on    n: nothing more"] if actions.record is not None else []
    look = ["z: look closer"] if actions.look is not None else []
    return [*moves, *look, *more, "space: this is it    enter: next    esc: leave"]


class HeldKeys:
    """Combines keys that are held together into one action, at the first release after a press.

    A held key does not repeat: ``f`` held while ``d`` is pressed twice makes two fine steps.

    Args:
        keys: actions by keys, from :func:`keys_to_action`.

    >>> held = HeldKeys({(100,): "out", (100, 102): "out a little"})
    >>> held.press(102), held.press(100), held.release(100), held.release(102)
    (None, None, 'out a little', None)
    """

    def __init__(self, keys: Mapping[tuple[int, ...], Any]):
        self._keys, self._known = keys, {code for codes in keys for code in codes}
        self._held: set[int] = set()
        self._pressed = False

    def press(self, code: int) -> None:
        """Handle a key that goes down."""
        if code in self._known:
            self._held.add(code)
            self._pressed = True

    def release(self, code: int) -> Any:
        """Handle a key that goes up, and return the action that it completes, or None."""
        if code not in self._held:
            return None
        together, pressed = tuple(sorted(self._held)), self._pressed
        self._held.remove(code)
        self._pressed = False
        return self._keys.get(together) if pressed else None
