"""Budget of a run: environment steps or minutes."""

from __future__ import annotations

import time


class Budget:
    """Budget in steps if their number is known, otherwise in wall-clock minutes.

    The result of a run with a budget of steps does not depend on the speed of the machine.

    Args:
        minutes: minutes from :meth:`start` on.
        steps: number of steps; the caller counts them in :attr:`taken`.
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
        """Start the clock."""
        self._started = time.monotonic()

    def progress(self) -> float:
        """Return the share that is used, in [0, 1]; the clock stands still before the start."""
        if self.steps is not None:
            return min(1.0, self.taken / self.steps) if self.steps else 1.0
        return min(1.0, self.spent_minutes() / self.minutes) if self.minutes > 0 else 1.0

    def spent_minutes(self) -> float:
        """Return the minutes since the start plus those of an earlier part."""
        return self.spent + (0.0 if self._started is None else (time.monotonic() - self._started) / 60)

    def part(self, share: float) -> Budget:
        """Return a separate budget that is a share of this one."""
        return Budget(share * self.minutes, None if self.steps is None else round(share * self.steps))
