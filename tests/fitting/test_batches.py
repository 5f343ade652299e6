"""Preparing batches in other processes."""

import os
import subprocess
import sys
import time
from pathlib import Path

import torch

from vg_gym.fitting.batches import prepared


def whose(number):
    return number, os.getpid(), torch.get_num_threads()


def test_other_processes_prepare_them_in_order_with_one_thread_each():
    found = list(prepared(whose, range(3, 11, 2), workers=2))
    assert [number for number, _, _ in found] == [3, 5, 7, 9]
    assert len({process for _, process, _ in found} - {os.getpid()}) == 2
    assert {threads for _, _, threads in found} == {1}


def test_without_workers_a_batch_is_made_when_it_is_asked_for():
    asked = []
    batches = prepared(asked.append, range(9), workers=0)
    next(batches)
    assert asked == [0]


def large(number):
    """Whose it is, and more than a pipe holds."""
    return os.getpid(), bytes(10**7)


KILLED = """
import os, signal, time
from tests.fitting.test_batches import large, prepared
batches = prepared(large, range(9), workers=1)
print(next(batches)[0], flush=True)
time.sleep(1)  # until then the process is about to hand over the next
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_process_whose_parent_is_killed_ends():
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", KILLED], cwd=root, stdout=subprocess.PIPE, text=True, timeout=60)
    worker, end = Path("/proc", done.stdout.strip()), time.monotonic() + 60
    while worker.exists() and worker.joinpath("stat").read_text().split()[2] != "Z":
        assert time.monotonic() < end
        time.sleep(0.1)


def thread_that_fails(number):
    """What torch's thread that hands over batches meets where its reader was killed, and another error."""
    for error in (ConnectionResetError("gone"), EOFError("gone"), OSError("no room")):
        sys.excepthook(type(error), error, None)
    return number


def test_that_the_reader_was_killed_is_no_news(capfd):
    assert list(prepared(thread_that_fails, range(1), workers=1)) == [0]
    said = capfd.readouterr().err
    assert "no room" in said and "gone" not in said
