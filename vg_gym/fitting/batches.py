"""Preparation of a learner's batches by worker processes."""

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

from vg_gym.runtime.interrupts import ignore_signals


class _Numbered(Dataset):
    """Dataset of the batches with the given numbers, for torch's loader."""

    def __init__(self, batch: Callable[[int], Any], numbers: range):
        self.batch, self.numbers = batch, numbers

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int) -> Any:
        return self.batch(self.numbers[index])


def prepared(batch: Callable[[int], Any], numbers: range, workers: int) -> Iterator[Any]:
    """Return an iterator over ``batch(number)`` of every number, in order.

    Args:
        batch: a pure function, which must be picklable for ``workers``.
        numbers: numbers of the batches.
        workers: number of processes that prepare batches ahead (0: prepare each batch when it is needed).

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
    sys.excepthook = _print_error
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()


def _print_error(kind: type[BaseException], error: BaseException, where: TracebackType | None) -> None:
    """Print an error, except for the broken connection to a learner that was killed."""
    if not issubclass(kind, (ConnectionError, EOFError)):
        sys.__excepthook__(kind, error, where)


def _end_with(parent: int) -> None:
    """Exit when the parent process ends; torch's own check blocks forever while a batch waits for the parent."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
