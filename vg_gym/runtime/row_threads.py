"""Threads that share the rows of a compiled loop (:mod:`vg_gym.clip.kernels`)."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

from vg_gym.runtime.devices import torch_threads

MIN_THREADED_ROWS = 512
"""Number of rows above which several threads share them, if torch may use several."""


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
