"""Runners of independent tasks: in this process, or on Ray workers."""

from __future__ import annotations

from vg_gym.errors import unknown
from vg_gym.runtime.runners.local import LocalRunner as LocalRunner
from vg_gym.runtime.runners.protocol import Factory as Factory
from vg_gym.runtime.runners.protocol import Runner as Runner

RUNNERS = ("local", "ray")


def make_runner(name: str = "local", workers: int = 0) -> Runner:
    """Build the runner called ``name``: ``local``, or ``ray`` with ``workers`` processes (0: one per CPU).

    Raises:
        VGGymError: the name is unknown, or Ray is not installed.
    """
    if name == "local":
        return LocalRunner()
    if name == "ray":
        from vg_gym.runtime.runners.ray import RayRunner

        return RayRunner(workers)
    raise unknown("runner", name, RUNNERS)
