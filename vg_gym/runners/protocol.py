"""What a runner is: it does independent pieces of work, in this process or in others.

A *worker factory* builds what a worker keeps (a data set, a CLIP, a grounder) once and returns the function that does a
piece of work. Results come with the number of their piece, in any order; the caller writes them as they come.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
Factory = Callable[[], Callable[[Item], Result]]


class Runner(Protocol):
    """Does pieces of work, in this process or in others."""

    def map(self, factory: Factory[Item, Result], items: Sequence[Item]) -> Iterator[tuple[int, Result]]:
        """Do all pieces; an error of a worker is raised here.

        Args:
            factory: builds, once in each process, the function that does a piece.
            items: the pieces.

        Yields:
            (number of the item, result), as they are done.
        """
        ...

    def close(self) -> None:
        """End what was started for it."""
