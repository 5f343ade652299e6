"""Runner of tasks in this process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vg_gym.runtime.runners.protocol import Factory, Item, Result


class LocalRunner:
    """Runner that executes tasks in this process, one after the other."""

    def map(self, factory: Factory[Item, Result], items: Sequence[Item]) -> Iterator[tuple[int, Result]]:
        """Yield (number of the item, result) in order."""
        if not items:
            return
        work = factory()
        for number, item in enumerate(items):
            yield number, work(item)

    def close(self) -> None:
        """Do nothing; this runner starts no processes."""
