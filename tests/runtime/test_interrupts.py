"""Ctrl-C and SIGTERM raise one error; blocks that must not be interrupted end first."""

import os
import signal
import threading

import pytest

from vg_gym.errors import Interrupted
from vg_gym.runtime.interrupts import (
    SIGNALS,
    ignore_signals,
    interrupted_with,
    sigterm_as_ctrl_c,
    uninterrupted,
)


@pytest.fixture(autouse=True)
def usual_handlers():
    """Python's own handlers before a test, and the same ones after it."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    for number, handler in before.items():
        signal.signal(number, handler)


def test_sigterm_raises_what_ctrl_c_raises():
    with pytest.raises(KeyboardInterrupt), sigterm_as_ctrl_c() as received:
        signal.raise_signal(signal.SIGTERM)
    assert received == [signal.SIGTERM]
    with pytest.raises(KeyboardInterrupt), sigterm_as_ctrl_c() as received:
        signal.raise_signal(signal.SIGINT)
    assert received == []


def test_a_handler_of_the_user_stays():
    own = []
    signal.signal(signal.SIGTERM, lambda number, _: own.append(number))
    try:
        with sigterm_as_ctrl_c() as received:
            signal.raise_signal(signal.SIGTERM)
        assert (own, received) == ([signal.SIGTERM], [])
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_in_a_block_comes_at_its_end_and_once(number):
    done = []
    with pytest.raises(KeyboardInterrupt), sigterm_as_ctrl_c():
        with uninterrupted():
            signal.raise_signal(number)
            signal.raise_signal(number)
            done.append("the block")
        done.append("after it")
    assert done == ["the block"]


def test_nested_blocks_end_before_the_signal():
    done = []
    with pytest.raises(KeyboardInterrupt), uninterrupted():
        with uninterrupted():
            signal.raise_signal(signal.SIGINT)
        done.append("the outer block")
    assert done == ["the outer block"]


def test_an_error_of_the_block_is_not_lost_with_the_signal():
    with pytest.raises(KeyboardInterrupt) as caught, uninterrupted():
        signal.raise_signal(signal.SIGINT)
        raise ZeroDivisionError
    assert isinstance(caught.value.__context__, ZeroDivisionError)


def test_an_interrupted_block_says_how_to_resume():
    with pytest.raises(Interrupted, match="^saved; resume=true resumes$") as caught:
        with interrupted_with("saved; resume=true resumes"):
            signal.raise_signal(signal.SIGINT)
    assert caught.value.__suppress_context__
    with pytest.raises(ZeroDivisionError), interrupted_with("saved"):
        raise ZeroDivisionError


def test_other_threads_leave_the_handlers_alone():
    handlers = []

    def work():
        with sigterm_as_ctrl_c() as received, uninterrupted():
            handlers.extend([received, *map(signal.getsignal, SIGNALS)])

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert handlers == [[], signal.default_int_handler, signal.SIG_DFL]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_that_ignores_signals_ends_by_itself():
    child = os.fork()
    if not child:  # pragma: no cover
        ignore_signals()
        for number in SIGNALS:
            signal.raise_signal(number)
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
