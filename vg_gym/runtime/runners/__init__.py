"""Runners of independent tasks, in this process or on Ray workers.

A *worker factory* builds the state of a worker once (a data set, a CLIP, a grounder) and returns the function that
executes a task. Each result comes with the number of its item, in any order, and the caller writes results as they
arrive.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

from vg_gym.errors import unknown

Item = TypeVar("Item")
Result = TypeVar("Result")
Factory = Callable[[], Callable[[Item], Result]]
RUNNERS = ("local", "ray")


class Runner(Protocol):
    """Executor of independent tasks, in this process or in others."""

    def map(self, factory: Factory[Item, Result], items: Sequence[Item]) -> Iterator[tuple[int, Result]]:
        """Execute one task per item; an error of a worker is raised here.

        Args:
            factory: builds, once in each process, the function that executes a task.
            items: inputs of the tasks.

        Yields:
            (number of the item, result), as tasks complete.
        """
        ...

    def close(self) -> None:
        """Stop the processes that the runner started."""


class LocalRunner:
    """Runner that executes tasks in this process, one after the other."""

    def map(self, factory: Factory[Item, Result], items: Sequence[Item]) -> Iterator[tuple[int, Result]]:
        """Yield (number of the item, result) in order."""
        if items:
            yield from enumerate(map(factory(), items))

    def close(self) -> None:
        """Do nothing; this runner starts no processes."""


def make_runner(name: str = "local", workers: int = 0) -> Runner:
    """Build the runner called ``name``: ``local``, or ``ray`` with ``workers`` processes (0: one per CPU).

    Raises:
        VGGymError: the name is unknown, or Ray is not installed.
    """
    if name == "local":
        return LocalRunner()
    if name == "ray":
        from vg_gym.runtime.runners.ray import RayRunner

        return RayRunner(workers)
    raise unknown("runner", name, RUNNERS)
