"""Stages of a long command: what it will do, and in its progress bars, which stage runs and how long the rest takes."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """Part of a command."""

    name: str
    """Short name."""
    about: str
    """Description of a few words."""
    minutes: float | None
    """Expected minutes; None if they are unknown."""


class Stages:
    r"""Stages of a command in their order.

    Args:
        stages: the stages.

    >>> stages = Stages([Stage("features", "of 400 expressions", 0.5), Stage("PPO", "reward=iou", 2.0)])
    >>> print("\n".join(stages.lines()))
      1 features  0.5 min  of 400 expressions
      2 PPO       2.0 min  reward=iou
    >>> with stages.running("PPO"):
    ...     print(label("PPO", share=0.5))
    stage 2 of 2, 1.0 min left: PPO
    >>> print(label("PPO"), "-", stages.report())
    PPO - 0.0 min: PPO 0.0
    """

    def __init__(self, stages: Sequence[Stage]):
        self.stages = list(stages)
        self.spent: dict[str, float] = {}
        """Minutes that each finished stage took, by name."""

    @property
    def minutes(self) -> float | None:
        """Expected minutes of all stages; None if those of one are unknown."""
        return self.minutes_left(0, 0.0)

    def minutes_left(self, number: int, share: float) -> float | None:
        """Return the expected minutes to the end; None if those of a stage are unknown.

        Args:
            number: index of the stage that runs.
            share: share of it that is done, in [0, 1].
        """
        minutes = [stage.minutes for stage in self.stages[number:]]
        known = [value for value in minutes if value is not None]
        return sum(known) - share * known[0] if known and len(known) == len(minutes) else None

    def lines(self) -> list[str]:
        """Return one line per stage: number, name, minutes, description."""
        width = max(len(stage.name) for stage in self.stages)
        times = ["   ?   " if s.minutes is None else f"{s.minutes:.1f} min" for s in self.stages]
        return [
            f"  {number} {stage.name:{width}}  {time}  {stage.about}"
            for number, (stage, time) in enumerate(zip(self.stages, times, strict=True), 1)
        ]

    @contextmanager
    def running(self, name: str) -> Iterator[None]:
        """Let the progress bars that are made meanwhile show a stage; without a stage of this name, nothing changes."""
        numbers = [number for number, stage in enumerate(self.stages) if stage.name == name]
        _running.append((self, numbers[0] if numbers else None))
        start = time.monotonic()
        try:
            yield
            self.spent[name] = self.spent.get(name, 0.0) + (time.monotonic() - start) / 60
        finally:
            _running.pop()

    def report(self) -> str:
        """Return a line with the minutes that the finished stages took."""
        parts = ", ".join(f"{name} {minutes:.1f}" for name, minutes in self.spent.items())
        return f"{sum(self.spent.values()):.1f} min: {parts}"


WIDE = 110
"""Columns of a terminal that has room for a bar beside its figures."""
_running: list[tuple[Stages, int | None]] = []


def label(what: str, share: float = 0.0) -> str:
    """Return the description of a progress bar: the running stage and the minutes left, if there are any, and ``what``.

    Args:
        what: what the bar counts.
        share: share of the stage that is done, in [0, 1].
    """
    stages, number = _running[-1] if _running else (None, None)
    if stages is None or number is None:
        return what
    left = stages.minutes_left(number, share)
    return f"stage {number + 1} of {len(stages.stages)}{'' if left is None else f', {left:.1f} min left'}: {what}"


def percent_bar() -> str:
    """Return tqdm's format of a bar in percent; a narrow terminal has room for its figures, not for the bar itself."""
    wide = shutil.get_terminal_size().columns >= WIDE
    return "{l_bar}{bar}| {elapsed}<{remaining}{postfix}" if wide else "{desc}{percentage:4.0f}%{postfix}"
