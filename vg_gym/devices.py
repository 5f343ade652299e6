"""Which device torch uses, and how many threads on a CPU.

Torch counts the machine's cores. In a container or a job of a cluster a process may often use fewer, and cores that
other processes keep busy are worse than none: threads that wait for each other spin, and PPO with two threads on two
cores, one of them busy, has a quarter of the speed that it has with one. More than a few help small networks no more.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

from vg_gym.errors import VGGymError

MOST = 8
"""Threads beyond which small networks get no faster."""
_QUOTA = Path("/sys/fs/cgroup/cpu.max")
_MEMORY_LIMIT = Path("/sys/fs/cgroup/memory.max")


def usable_cores() -> int:
    """Cores this process may use: by its affinity and, on Linux, its control group's quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = _QUOTA.read_text().split()
        return max(1, min(cores, int(quota) // int(period)))
    except (OSError, ValueError):  # no control groups, or "max": no limit
        return cores


def idle_cores() -> int:
    """Idle cores of the machine, by its load of the last minute; at least 1."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    return max(1, (os.cpu_count() or 1) - round(load))


def usable_memory() -> float:
    """Bytes of memory that this process may use: the machine's or, on Linux, its control group's; or infinity."""
    pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else math.inf
    try:
        return min(pages, float(_MEMORY_LIMIT.read_text()))
    except (OSError, ValueError):  # no control groups, or "max": no limit
        return pages


def check_memory(what: str, size: float, remedy: str) -> None:
    """Refuse what this machine cannot hold, before the kernel ends the process.

    Args:
        what: is to be kept in memory, with the option that decides its size.
        size: bytes of it.
        remedy: what to do.

    Raises:
        VGGymError: it is more than the machine's memory.
    """
    if size > (most := usable_memory()):
        raise VGGymError(
            f"{what} needs {size / 2**30:,.1f} GiB of memory, and this machine has {most / 2**30:,.1f}; {remedy}"
        )


def set_threads(asked: int = 0) -> int:
    """Make torch use ``asked`` threads, or as many as are good for it; returns how many."""
    import torch

    torch.set_num_threads(asked or min(usable_cores(), idle_cores(), MOST))
    return torch.get_num_threads()


def pick_device(name: str = "auto") -> str:
    """The torch device of a name: ``auto`` is ``cuda`` where there is one, else ``cpu``; others stay as they are."""
    import torch

    return ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name
