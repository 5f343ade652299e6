"""How long a run may take."""

from __future__ import annotations

import time


class Budget:
    """Wall-clock minutes and environment steps, whichever is used up first.

    Args:
        minutes: from :meth:`start` on.
        total_timesteps: environment steps; who takes them sets :attr:`timesteps`.

    >>> budget = Budget(minutes=60, total_timesteps=1000)
    >>> budget.start()
    >>> budget.timesteps = 500
    >>> budget.progress()
    0.5
    """

    def __init__(self, minutes: float, total_timesteps: int):
        self.seconds, self.total_timesteps, self.timesteps = 60 * minutes, total_timesteps, 0
        self._started: float | None = None

    def start(self) -> None:
        """Begin to count the minutes."""
        self._started = time.monotonic()

    def progress(self) -> float:
        """The share that is used, in [0, 1]; no time passes before the start."""
        spent = 0.0 if self._started is None else time.monotonic() - self._started
        return min(1.0, max(spent / max(self.seconds, 1e-9), self.timesteps / self.total_timesteps))
