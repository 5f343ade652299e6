"""Which keys of a keyboard act, for people who play: ``vg-gym play`` and :func:`gymnasium.utils.play.play`.

``w a s d`` stretch the box up, left, down, right; ``i j k l`` shrink it towards those sides. Held together they act
together, where the action set can: ``d`` and ``l`` move the box to the right.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

from vg_gym.envs.actions import EDGES, ActionSet, ContinuousActions, MultiEdgeActions, TableActions

OUT_KEYS = {"left": "a", "top": "w", "right": "d", "bottom": "s"}
"""The key that moves an edge out of the box."""
IN_KEYS = {"left": "l", "top": "k", "right": "j", "bottom": "i"}
"""The key that moves it into the box."""
SIZE_KEYS = {"coarse": "", "fine": "f", "finest": "v"}
"""The key that is held for steps of a size."""
TRIGGER_KEY = " "
CLASSIC_KEYS = {"left": "a", "right": "d", "up": "w", "down": "s", "bigger": "e", "smaller": "q", "fatter": "f",
                "taller": "t"}  # fmt: skip
CONTINUOUS_KEYS = {"a": (-1, 0, 0, 0), "d": (1, 0, 0, 0), "w": (0, -1, 0, 0), "s": (0, 1, 0, 0), "l": (0, 0, 1, 0),
                   "j": (0, 0, -1, 0), "i": (0, 0, 0, 1), "k": (0, 0, 0, -1), "e": (0, 0, 1, 1),
                   "q": (0, 0, -1, -1)}  # fmt: skip


def keys_to_action(actions: ActionSet) -> dict[tuple[int, ...], Any]:
    """Keys that are held, as sorted character codes, and the action that they stand for.

    >>> from vg_gym.envs.actions import make_actions
    >>> keys = keys_to_action(make_actions("edges"))
    >>> keys[ord(" "),], keys[ord("d"),], keys[ord("d"), ord("f")]
    (20, 2, 12)
    """
    if isinstance(actions, MultiEdgeActions):
        found: Mapping[str, Any] = _multi_edge_keys(actions)
    elif isinstance(actions, ContinuousActions):
        found = {key: np.array([*move, -1], dtype=np.float32) for key, move in CONTINUOUS_KEYS.items()}
    else:
        assert isinstance(actions, TableActions)
        found = _table_keys(actions)
    found = {**found, TRIGGER_KEY: actions.trigger}
    return {tuple(sorted(map(ord, keys))): action for keys, action in found.items()}


def _table_keys(actions: TableActions) -> dict[str, int]:
    """Of ``classic``, by name; of ``edges``, by edge, way and size."""
    if actions.name == "classic":
        return {key: actions.names.index(name) for name, key in CLASSIC_KEYS.items()}
    found = {}
    for number, name in enumerate(actions.names[:-1]):
        edge, way, size = name.split()
        keys = {**(OUT_KEYS if way == "out" else IN_KEYS), "all": "e" if way == "out" else "q"}
        found[keys[edge] + SIZE_KEYS[size]] = number
    return found


def _multi_edge_keys(actions: MultiEdgeActions) -> dict[str, np.ndarray]:
    """All ways of moving some edges by steps of one size, and jumps to the first nine proposals."""
    found = {}
    ways = [[("", 0), (OUT_KEYS[edge], 1), (IN_KEYS[edge], -1)] for edge in EDGES]
    for choice in itertools.product(*ways):
        for number, size in enumerate(list(SIZE_KEYS.values())[: actions.stay]):
            keys, signs = "".join(key for key, _ in choice), [sign for _, sign in choice]
            levels = [actions.stay - sign * (actions.stay - number) for sign in signs]
            if keys:
                found[keys + size] = np.array([*levels, 0])
    nothing = [actions.stay] * 4
    return found | {str(k + 1): np.array([*nothing, 2 + k]) for k in range(min(actions.jumps, 9))}


def describe(actions: ActionSet) -> list[str]:
    """What the keys do, in lines for a person."""
    lines = {
        "classic": ["w a s d: move the box", "e bigger, q smaller, f fatter, t taller"],
        "continuous": ["w a s d: move the box", "e bigger, q smaller, l wider, j narrower, i taller, k flatter"],
    }
    stretch = ["w a s d: stretch the box up, left, down, right", "i j k l: shrink it up, left, down, right"]
    both = "e, q: all edges out, in" if actions.name == "edges" else "two at once, as d and l: both"
    finest = ", with v still smaller" if actions.name in ("fine-edges", "jump-edges") else ""
    jumps = ["1 to 9: jump to a proposal"] if actions.jumps else []
    moves = lines.get(actions.name, [*stretch, f"with f held: small steps{finest}; {both}", *jumps])
    return [*moves, "space: this is it    enter: next    esc: leave"]


class HeldKeys:
    """Keys that are held make one action together: at the first release after a press.

    Nothing repeats while a key is held, and ``f`` held with ``d`` pressed twice is two fine steps.

    Args:
        keys: from :func:`keys_to_action`.

    >>> held = HeldKeys({(100,): "out", (100, 102): "out a little"})
    >>> held.press(102), held.press(100), held.release(100), held.release(102)
    (None, None, 'out a little', None)
    """

    def __init__(self, keys: Mapping[tuple[int, ...], Any]):
        self._keys, self._known = keys, {code for codes in keys for code in codes}
        self._held: set[int] = set()
        self._pressed = False

    def press(self, code: int) -> None:
        """A key goes down."""
        if code in self._known:
            self._held.add(code)
            self._pressed = True

    def release(self, code: int) -> Any:
        """A key goes up; the action that this makes, or None."""
        if code not in self._held:
            return None
        together, pressed = tuple(sorted(self._held)), self._pressed
        self._held.remove(code)
        self._pressed = False
        return self._keys.get(together) if pressed else None
