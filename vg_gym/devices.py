"""Which device torch uses, and how many threads on a CPU.

Torch counts the machine's cores. In a container or a job of a cluster a process may often use fewer, and cores that
other processes keep busy are worse than none: threads that wait for each other spin, and PPO with two threads on two
cores, one of them busy, has a quarter of the speed that it has with one. More than a few help small networks no more.
"""

from __future__ import annotations

import math
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from vg_gym.errors import VGGymError

Piece = TypeVar("Piece")
Result = TypeVar("Result")
MOST = 8
"""Threads beyond which small networks get no faster."""
LOOK = 0.25
"""Seconds of the first look at what other processes use."""
EVERY = 10.0
"""Seconds between later looks."""
_STAT = Path("/proc/stat")
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


class Threads:
    """How many threads torch uses: as many as asked for, or as the cores that other processes leave idle.

    The latter is looked at again while a program runs, so that it neither waits for what was started after it, nor
    leaves a core idle for what has ended.

    Args:
        asked: how many; 0: the usable cores that are idle, at most :data:`MOST`.
    """

    def __init__(self, asked: int = 0):
        self.asked, self.count = asked, asked
        self._seen = _seconds()
        if not asked:
            time.sleep(LOOK)
        self._use(asked or self._idle())

    def look(self) -> int:
        """Follow what other processes use, if the last look is long enough ago; returns the threads in use."""
        if not self.asked and time.monotonic() - self._seen[0] >= EVERY:
            self._use(self._idle())
        return self.count

    def _use(self, count: int) -> None:
        import torch

        if count != self.count or count != torch.get_num_threads():
            torch.set_num_threads(count)
        self.count = count

    def _idle(self) -> int:
        """Threads that are good for torch, by what others used since the last look; at least 1."""
        before, self._seen = self._seen, _seconds()
        passed, busy, own = (now - then for now, then in zip(self._seen, before, strict=True))
        others = max(0.0, busy - own) / passed
        return max(1, min(usable_cores(), (os.cpu_count() or 1) - round(others), MOST))


def torch_threads() -> int:
    """How many threads torch uses, or as many as it would, where nothing has imported it."""
    torch: Any = sys.modules.get("torch")
    return torch.get_num_threads() if hasattr(torch, "get_num_threads") else min(usable_cores(), MOST)


def single_threads(count: int = 0, name: str = "vg_gym") -> ThreadPoolExecutor:
    """So many threads, each of which lets torch use one; 0: as many as torch is to use.

    Pieces of work that are shared out wait for each other once, and threads that share every operation all the time:
    they are slower, and far slower where another process takes a core from one of them.
    """
    return ThreadPoolExecutor(count or torch_threads(), name, _let_torch_use_one)


_BEGINNING = threading.Lock()


def _let_torch_use_one() -> None:
    """Let torch use one thread in this one, and as many as before in others."""
    import torch

    with _BEGINNING:
        # At a thread's first question its number becomes the one that was set last in any thread.
        usual = torch.get_num_threads()
        torch.set_num_threads(1)
        # So that later threads have the usual number, it is set last.
        other = threading.Thread(target=torch.set_num_threads, args=(usual,))
        other.start()
        other.join()


def share_out(work: Callable[[Piece], Result], pieces: Sequence[Piece], device: Any = None) -> list[Result]:
    """What is made of each piece, in order: on a CPU by :func:`single_threads`, else one after the other.

    After an error or a signal, pieces that are not begun are left.

    Args:
        work: done by several threads at a time.
        pieces: of the work.
        device: the torch device of the network that does it; None: a CPU.
    """
    if device is not None and device.type != "cpu" or len(pieces) < 2:
        return [work(piece) for piece in pieces]
    pool = single_threads()
    try:
        return [*pool.map(work, pieces)]
    finally:
        pool.shutdown(cancel_futures=True)


def _seconds() -> tuple[float, float, float]:
    """Of the clock; that all processes of the machine were at work, without those that yield (nice); of this one.

    Where the system does not tell (it is no Linux), others count as idle.
    """
    own = time.process_time()
    try:
        user, _, system = (int(ticks) for ticks in _STAT.read_text().split()[1:4])
    except (OSError, ValueError):
        return time.monotonic(), own, own
    return time.monotonic(), (user + system) / os.sysconf("SC_CLK_TCK"), own


def pick_device(name: str = "auto") -> str:
    """The torch device of a name: ``auto`` is ``cuda`` where there is one, else ``cpu``; others stay as they are."""
    import torch

    return ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name


def computes_bfloat16(device: str) -> bool:
    """Whether a kind of device has instructions for bfloat16; on a CPU without them autocast is slower, not faster.

    Args:
        device: its type, ``cuda`` or ``cpu``; others are taken to have them.
    """
    import torch

    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device != "cpu" or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
