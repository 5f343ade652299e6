"""Choice of torch's device, and of the number of CPU threads.

By default torch uses all cores of the machine. In a container or a cluster job a process may often use fewer of them.
Threads on cores that other processes keep busy slow the others down, because waiting threads spin: PPO with two threads
on two cores, one of them busy, runs at a quarter of its speed with one thread. Small networks do not benefit from more
than a few threads.
"""

from __future__ import annotations

import math
import os
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from vg_gym.errors import VGGymError

Piece = TypeVar("Piece")
Result = TypeVar("Result")
MAX_THREADS = 8
"""Maximum number of threads; small networks are not faster with more."""
_QUOTA = Path("/sys/fs/cgroup/cpu.max")
_MEMORY_LIMIT = Path("/sys/fs/cgroup/memory.max")


def usable_cores() -> int:
    """Return the number of cores that this process may use, by its affinity and by its control group on Linux."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = _QUOTA.read_text().split()
        return max(1, min(cores, int(quota) // int(period)))
    except (OSError, ValueError):  # no control groups, or "max": no limit
        return cores


def usable_memory() -> float:
    """Return the bytes of memory of the machine, or the limit of the control group on Linux; infinity if unknown."""
    pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else math.inf
    try:
        return min(pages, float(_MEMORY_LIMIT.read_text()))
    except (OSError, ValueError):  # no control groups, or "max": no limit
        return pages


def check_memory(what: str, size: float, remedy: str) -> None:
    """Raise an error for data that do not fit in memory, before the kernel kills the process.

    Args:
        what: name of the data, with the option that determines their size.
        size: size of the data in bytes.
        remedy: advice at the end of the message.

    Raises:
        VGGymError: the size exceeds the machine's memory.
    """
    if size > (most := usable_memory()):
        raise VGGymError(
            f"{what} needs {size / 2**30:,.1f} GiB of memory, and this machine has {most / 2**30:,.1f}; {remedy}"
        )


def use_threads(count: int = 0) -> int:
    """Set torch's number of threads, and return it.

    Args:
        count: number of threads; 0: the number of usable cores, at most :data:`MAX_THREADS`.
    """
    import torch

    torch.set_num_threads(count or min(usable_cores(), MAX_THREADS))
    return torch.get_num_threads()


def _use_one_thread() -> None:
    """Let torch use one thread in a forked process: the others exist in its parent only, and it would wait for them."""
    torch: Any = sys.modules.get("torch")
    if hasattr(torch, "set_num_threads"):
        torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_use_one_thread)


def torch_threads() -> int:
    """Return torch's number of threads, or its likely number if torch is not imported."""
    torch: Any = sys.modules.get("torch")
    return torch.get_num_threads() if hasattr(torch, "get_num_threads") else min(usable_cores(), MAX_THREADS)


def single_threads(count: int = 0, name: str = "vg_gym") -> ThreadPoolExecutor:
    """Return a pool of threads in each of which torch uses one thread.

    Threads that work on separate tasks wait for each other only once, at the end. Threads that share every operation
    wait all the time, which is slower, and much slower if another process takes the core of one of them.

    Args:
        count: number of threads; 0: torch's number of threads.
        name: prefix of the threads' names.
    """
    return ThreadPoolExecutor(count or torch_threads(), name, _let_torch_use_one)


_THREAD_START = threading.Lock()


def _let_torch_use_one() -> None:
    """Let torch use one thread in this thread, and its usual number in others."""
    import torch

    with _THREAD_START:
        # The first call in a new thread adopts the number that any thread set last.
        usual = torch.get_num_threads()
        torch.set_num_threads(1)
        # The usual number is set last, so that later threads adopt it.
        other = threading.Thread(target=torch.set_num_threads, args=(usual,))
        other.start()
        other.join()


def share_out(work: Callable[[Piece], Result], pieces: Sequence[Piece], device: Any = None) -> list[Result]:
    """Apply a function to each item, and return the results in order.

    On a CPU, :func:`single_threads` share the items; otherwise they are processed one after the other. After an error
    or a signal, items that are not yet started are skipped.

    Args:
        work: thread-safe function.
        pieces: inputs of the function.
        device: torch device of the function's network; None: a CPU.
    """
    if device is not None and device.type != "cpu" or len(pieces) < 2:
        return [work(piece) for piece in pieces]
    pool = single_threads()
    try:
        return [*pool.map(work, pieces)]
    finally:
        pool.shutdown(cancel_futures=True)


def pick_device(name: str = "auto") -> str:
    """Return the torch device of a name: ``auto`` is ``cuda`` if available, else ``cpu``; others are unchanged.

    Raises:
        VGGymError: the name is a GPU of NVIDIA, and there is none that PyTorch can use.
    """
    import torch

    if name.partition(":")[0] == "cuda" and not torch.cuda.is_available():
        raise VGGymError(f"device={name}: PyTorch finds no GPU that it can use; take device=cpu or device=auto")
    return ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name


def computes_bfloat16(device: str) -> bool:
    """Return True if a type of device has instructions for bfloat16; without them autocast is slower on a CPU.

    Args:
        device: type of the device, ``cuda`` or ``cpu``; other types count as True.
    """
    import torch

    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device != "cpu" or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
