"""Compilation of loops over rows that numpy cannot fuse.

In numpy, a step of one row takes about two hundred calls of a microsecond each, and a step of a thousand rows about two
hundred passes over arrays. In a kernel each part of a step is one pass. Kernels are for arrays on a CPU; the same
arithmetic for tensors is in the function that calls each of them. They are compiled when their module is first
imported, and cached in a file beside it, or in numba's cache folder of the user if that folder is read-only. The cache
knows only the file of a kernel, so functions that a kernel calls are in the same file. A function imports the module of
its kernel when it is first called with arrays, since numba takes a second to import and kernels seconds to compile.

The results of a row do not depend on the number of rows. Kernels process the rows from ``first`` to ``last``, so that
:func:`~vg_gym.runtime.row_threads.over_rows` can distribute the rows over threads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np

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
