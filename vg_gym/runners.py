"""Where independent pieces of work are done: in this process, or by Ray workers on this machine or a cluster.

A *worker factory* builds what a worker keeps (a data set, a CLIP, a grounder) once and returns the function that does a
piece of work. Results come with the number of their piece, in any order; the caller writes them as they come.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

from vg_gym.registry import unknown

Item = TypeVar("Item")
Result = TypeVar("Result")
Factory = Callable[[], Callable[[Item], Result]]

RUNNERS = ("local", "ray")


class Runner(Protocol):
    """Does pieces of work."""

    def map(self, factory: Factory[Item, Result], items: Sequence[Item]) -> Iterator[tuple[int, Result]]:
        """Yield (number of the item, result), as they are done; an error of a worker is raised here."""
        ...

    def close(self) -> None:
        """End what was started for it."""


class LocalRunner:
    """Everything in this process, one after the other."""

    def map(self, factory: Factory[Item, Result], items: Sequence[Item]) -> Iterator[tuple[int, Result]]:
        """Yield in order."""
        if not items:
            return
        work = factory()
        for number, item in enumerate(items):
            yield number, work(item)

    def close(self) -> None:
        """Nothing was started."""


def make_runner(name: str = "local", workers: int = 0) -> Runner:
    """The runner called ``name``: ``local``, or ``ray`` with so many ``workers`` (0: one for each CPU).

    Raises:
        VGGymError: the name is unknown, or Ray is not installed.
    """
    if name == "local":
        return LocalRunner()
    if name == "ray":
        from vg_gym.ray_runner import RayRunner

        return RayRunner(workers)
    raise unknown("runner", name, RUNNERS)
