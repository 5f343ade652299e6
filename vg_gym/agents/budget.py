"""How long a run may take."""

from __future__ import annotations

import time


class Budget:
    """Steps where their number is given, else wall-clock minutes.

    What follows a budget of steps does not depend on the machine's speed.

    Args:
        minutes: from :meth:`start` on.
        steps: how many; who takes them counts them in :attr:`taken`.
        spent: minutes that an earlier part of the run took.

    >>> budget = Budget(minutes=60, steps=1000)
    >>> budget.taken = 500
    >>> budget.progress()
    0.5
    """

    def __init__(self, minutes: float, steps: int | None = None, spent: float = 0.0):
        self.minutes, self.steps, self.taken, self.spent = minutes, steps, 0, spent
        self._started: float | None = None

    def start(self) -> None:
        """Begin to count the minutes."""
        self._started = time.monotonic()

    def progress(self) -> float:
        """The share that is used, in [0, 1]; no time passes before the start."""
        if self.steps is not None:
            return min(1.0, self.taken / self.steps) if self.steps else 1.0
        return min(1.0, self.spent_minutes() / self.minutes) if self.minutes > 0 else 1.0

    def spent_minutes(self) -> float:
        """Minutes since the start, and those of an earlier part."""
        return self.spent + (0.0 if self._started is None else (time.monotonic() - self._started) / 60)

    def part(self, share: float) -> Budget:
        """A budget of its own, of a share of this one's."""
        return Budget(share * self.minutes, None if self.steps is None else round(share * self.steps))
