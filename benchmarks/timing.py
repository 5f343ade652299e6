"""Measurements of the benchmarks: medians of five runs; compared runs alternate."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

REPEATS = 5
"""Number of runs of which the median is taken."""


def median_rate(step: Callable[[], Any], steps_per_call: int, seconds: float = 1.0) -> float:
    """Return the median steps per second of runs of about ``seconds`` each."""
    return median_rates({"": (step, steps_per_call)}, seconds)[""]


def median_rates(steps: Mapping[str, tuple[Callable[[], Any], int]], seconds: float = 1.0) -> dict[str, float]:
    """Return median steps per second of several functions. Runs alternate, so that other load affects all of them.

    Args:
        steps: name -> function to call, and number of steps per call.
        seconds: seconds of a run of one function.
    """
    calls = {name: max(1, int(seconds / _lasts(step))) for name, (step, _) in steps.items()}
    rates: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(REPEATS):
        for name, (step, count) in steps.items():
            start = time.perf_counter()
            for _ in range(calls[name]):
                step()
            rates[name].append(calls[name] * count / (time.perf_counter() - start))
    return {name: float(np.median(each)) for name, each in rates.items()}


def _lasts(step: Callable[[], Any]) -> float:
    step()
    start = time.perf_counter()
    step()
    return time.perf_counter() - start + 1e-9


def watch(seconds: dict[str, float], owner: Any, method: str, name: str) -> None:
    """Add the time that a method of an object takes to ``seconds[name]``."""
    original = getattr(owner, method)
    seconds.setdefault(name, 0.0)

    def timed(*arguments: Any, **options: Any) -> Any:
        start = time.perf_counter()
        try:
            return original(*arguments, **options)
        finally:
            seconds[name] += time.perf_counter() - start

    setattr(owner, method, timed)
