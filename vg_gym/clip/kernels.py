"""Compilation of loops over rows that numpy cannot fuse, and threads that share the rows.

In numpy, a step of one row takes about two hundred calls of a microsecond each, and a step of a thousand rows about two
hundred passes over arrays. In a kernel each part of a step is one pass. Kernels are for arrays on a CPU; the same
arithmetic for tensors is beside each of them. They are compiled when their module is first imported, and cached in a
file beside it, or in numba's cache folder of the user if that folder is read-only. The cache knows only the file of a
kernel, so functions that a kernel calls are in the same file.

The results of a row do not depend on the number of rows. Kernels process the rows from ``first`` to ``last``, so that
:func:`over_rows` can distribute the rows over threads.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import numba
import numpy as np

from vg_gym.runtime.devices import torch_threads

MIN_THREADED_ROWS = 512
"""Number of rows above which several threads share them, if torch may use several."""
ZERO, HALF, ONE, TINY = (np.float32(number) for number in (0, 0.5, 1, 1e-8))
REAL, DOUBLE, WHOLE = numba.float32, numba.float64, numba.int64
"""Types of numbers; ``REAL[:, ::1]`` is the type of a contiguous float32 array of two axes."""
OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
"""Options of functions that kernels call."""


def kernel(*types: Any, **options: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that compiles a function of ``first``, ``last`` and arguments of these types."""
    signature = numba.void(WHOLE, WHOLE, *types)

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        try:
            return numba.njit(signature, cache=True, **OPTIONS, **options)(function)
        except RuntimeError as error:  # no cache folder is writable: compile in every process
            if "no locator available" not in str(error):
                raise
            return numba.njit(signature, **OPTIONS, **options)(function)

    return decorate


def over_rows(function: Callable[..., None], count: int, *arguments: Any) -> None:
    """Call a kernel for all of ``count`` rows; as many threads as torch may use share a large number of rows."""
    threads = torch_threads() if count > MIN_THREADED_ROWS else 1
    if threads == 1:
        return function(0, count, *arguments)
    ends = [count * part // threads for part in range(threads + 1)]
    others = _pool(os.getpid(), threads - 1)
    futures = [others.submit(function, *part, *arguments) for part in zip(ends[1:], ends[2:], strict=False)]
    function(ends[0], ends[1], *arguments)
    for future in futures:
        future.result()


@lru_cache(maxsize=4)
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    """Return the thread pool of a process; a forked process does not inherit the threads of its parent."""
    return ThreadPoolExecutor(threads, thread_name_prefix="vg_gym-rows")
