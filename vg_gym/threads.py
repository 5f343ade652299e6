"""How many threads torch is to use on a CPU.

Torch counts the machine's cores. In a container or a job of a cluster a process may often use fewer, and then its
threads wait for each other; and for networks as small as an agent's more than a few help no more.
"""

from __future__ import annotations

import os
from pathlib import Path

MOST = 8
"""Threads beyond which small networks get no faster."""
_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def usable_cores() -> int:
    """Cores this process may use: by its affinity and, on Linux, its control group's quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = _QUOTA.read_text().split()
        return max(1, min(cores, int(quota) // int(period)))
    except (OSError, ValueError):  # no control groups, or "max": no limit
        return cores


def set_threads(asked: int = 0) -> int:
    """Make torch use ``asked`` threads, or as many as are good for it; returns how many."""
    import torch

    torch.set_num_threads(asked or min(usable_cores(), MOST))
    return torch.get_num_threads()
