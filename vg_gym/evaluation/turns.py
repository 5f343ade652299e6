"""Rows of methods that are asked again with their own last box: ``evaluate.py --iterate N``.

The protocol is that of "Iterative Visual Thinking" (Tripathy & Krishnan, arXiv:2606.13156, 2026): a model sees its box
drawn on the image and answers again. A query without a box in the last turn starts from the whole image. An answer
without a box scores 0 in its turn, whatever the turn before said.
"""

from __future__ import annotations

from dataclasses import replace

from vg_gym import registry
from vg_gym.errors import VGGymError
from vg_gym.evaluation.methods import TableRow

FLOORS = ("no-op", "full", "center", "constant")
"""Baselines of every table; ``no-op`` is an agent that never moves its box."""


def is_iterated(name: str) -> bool:
    """Return whether a method is asked again: it takes initial boxes, and it does not stand among the floors.

    >>> is_iterated("vlm"), is_iterated("clip-window"), is_iterated("no-op")
    (True, False, False)
    """
    return name not in (*FLOORS, *registry.CEILINGS) and registry.grounder_spec(name).refines


def check_turns(turns: int, names: list[str]) -> None:
    """Raise an error if no method is asked again.

    Args:
        turns: number of times that methods are asked again.
        names: names of the methods.

    Raises:
        VGGymError: the number is negative, or no method takes initial boxes.
    """
    if turns < 0:
        raise VGGymError(f"--iterate {turns} is not a number of turns: give 0 or more")
    if turns and not any(map(is_iterated, names)):
        known = ", ".join(filter(is_iterated, registry.list_grounders()))
        raise VGGymError(f"--iterate {turns}: none of the methods takes initial boxes; those that do: {known}")


def turn_rows(first: TableRow, turns: int) -> list[TableRow]:
    """Return the rows of the turns after the first; each starts from the boxes of the row before.

    Args:
        first: row of the method.
        turns: number of times that it is asked again.
    """
    rows = [first]
    for turn in range(2, turns + 2):
        columns = {**first.columns, "refines": rows[-1].name, "turn": turn}
        name, saved_as = (f"{label} turn {turn}" for label in (first.name, first.saved_as))
        rows.append(replace(first, name=name, saved_as=saved_as, role="refined", columns=columns))
    return rows[1:]
