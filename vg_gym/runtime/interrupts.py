"""Handling of Ctrl-C and of SIGTERM, which schedulers send first: both raise ``KeyboardInterrupt``, and runs save."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from vg_gym.errors import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def sigterm_as_ctrl_c() -> Iterator[list[int]]:
    """Let SIGTERM raise ``KeyboardInterrupt``, and yield a list that contains its number once it arrives.

    Only the main thread receives signals; in other threads this context does nothing.
    """
    received: list[int] = []

    def stop(number: int, _: object) -> None:
        received.append(number)
        raise KeyboardInterrupt

    replaced = _in_main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    if replaced:
        signal.signal(signal.SIGTERM, stop)
    try:
        yield received
    finally:
        if replaced:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Delay both signals to the end of a block that must not be interrupted, such as an optimiser step or saving."""
    if not _in_main_thread():
        yield
        return
    late: list[int] = []
    before = {number: signal.signal(number, lambda got, _: late.append(got)) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        if late:
            signal.raise_signal(late[0])


@contextmanager
def interrupted_with(message: str) -> Iterator[None]:
    """Raise an error with a message if a block is interrupted.

    Args:
        message: states what is saved and how to resume.

    Raises:
        Interrupted: one of the signals arrived.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(message) from None


def ignore_signals() -> None:
    """Ignore both signals in a child process, whose parent receives them and stops its children."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
