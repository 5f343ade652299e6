"""Batches of a learner, prepared by other processes while it learns."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from vg_gym.interrupts import ignore_signals


class _Numbered(Dataset):
    """The batches of given numbers, as torch's loader wants them."""

    def __init__(self, batch: Callable[[int], Any], numbers: range):
        self.batch, self.numbers = batch, numbers

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int) -> Any:
        return self.batch(self.numbers[index])


def prepared(batch: Callable[[int], Any], numbers: range, workers: int) -> Iterator[Any]:
    """``batch(number)`` of every number, in order.

    Args:
        batch: a pure function, which can be pickled where ``workers`` are used.
        numbers: of the batches.
        workers: processes that prepare them ahead (0: each is made when it is asked for).

    >>> list(prepared(lambda number: number ** 2, range(2, 6, 2), workers=0))
    [4, 16]
    """
    if not workers:
        return map(batch, numbers)
    loader = DataLoader(_Numbered(batch, numbers), batch_size=None, num_workers=workers, worker_init_fn=_begin)
    return iter(loader)


def _begin(_: int) -> None:
    torch.set_num_threads(1)
    ignore_signals()
    sys.excepthook = _say
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()


def _say(kind: type[BaseException], error: BaseException, where: TracebackType | None) -> None:
    """Say what went wrong, but not that a learner which was killed takes no more batches."""
    if not issubclass(kind, (ConnectionError, EOFError)):
        sys.__excepthook__(kind, error, where)


def _end_with(parent: int) -> None:
    """End this process with its parent: torch's own watch waits for ever to hand over a batch that nobody takes."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
