"""Protocol of runners, which execute independent tasks in this process or in others.

A *worker factory* builds the state of a worker once (a data set, a CLIP, a grounder) and returns the function that
executes a task. Each result comes with the number of its item, in any order, and the caller writes results as they
arrive.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
Factory = Callable[[], Callable[[Item], Result]]


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
