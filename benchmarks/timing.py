"""How the benchmarks measure: medians of five, and what is compared is measured in turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

REPEATS = 5
"""Figures are medians of so many."""


def median_rate(step: Callable[[], Any], steps_per_call: int, seconds: float = 1.0) -> float:
    """Median rate, steps per second, of runs of about ``seconds`` each."""
    return median_rates({"": (step, steps_per_call)}, seconds)[""]


def median_rates(steps: Mapping[str, tuple[Callable[[], Any], int]], seconds: float = 1.0) -> dict[str, float]:
    """Median rates, steps per second, of several things in turns: what slows the machine down slows all of them.

    Args:
        steps: name -> what to call, and the steps that a call takes.
        seconds: of a run of one of them.
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
