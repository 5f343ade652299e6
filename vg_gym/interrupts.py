"""Ctrl-C, and SIGTERM, which schedulers send before they kill: both raise ``KeyboardInterrupt``, and runs are saved."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from vg_gym.errors import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def sigterm_as_ctrl_c() -> Iterator[list[int]]:
    """Let SIGTERM raise ``KeyboardInterrupt``; gives a list that holds its number once it came.

    Only the main thread hears signals; in another one nothing changes.
    """
    received: list[int] = []

    def stop(number: int, _: object) -> None:
        received.append(number)
        raise KeyboardInterrupt

    heard = _in_main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    if heard:
        signal.signal(signal.SIGTERM, stop)
    try:
        yield received
    finally:
        if heard:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Put both signals off to the end of a block: of a step that is taken whole or not at all, or of saving."""
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
    """Around what may be interrupted: the error says what is kept, and how to go on.

    Raises:
        Interrupted: one of the signals came.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(message) from None


def ignore_signals() -> None:
    """For processes that a command starts: their parent hears the signals, and ends them."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
