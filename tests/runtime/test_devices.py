import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from vg_gym.runtime import devices


def test_a_quota_bounds_the_cores(monkeypatch, tmp_path):
    quota = tmp_path / "cpu.max"
    monkeypatch.setattr(devices, "_QUOTA", quota)
    monkeypatch.setattr(devices.os, "sched_getaffinity", lambda _: set(range(12)), raising=False)
    assert devices.usable_cores() == 12
    for text, cores in (("max 100000", 12), ("300000 100000", 3), ("50000 100000", 1), ("9900000 100000", 12)):
        quota.write_text(text)
        assert devices.usable_cores() == cores, text


@pytest.fixture(autouse=True)
def threads_as_before():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def machine(monkeypatch, cores=4, usable=64):
    """A machine whose clock and use the test moves; returns [seconds, seconds at work, of them this process]."""
    now = [100.0, 1000.0, 10.0]
    monkeypatch.setattr(devices.os, "cpu_count", lambda: cores)
    monkeypatch.setattr(devices, "usable_cores", lambda: usable)
    monkeypatch.setattr(devices, "_seconds", lambda: tuple(now))
    monkeypatch.setattr(devices.time, "monotonic", lambda: now[0])
    return now


def pass_time(now, seconds, others, own):
    for at, rate in enumerate((1, others + own, own)):
        now[at] += rate * seconds


def test_threads_follow_what_other_processes_use(monkeypatch):
    now = machine(monkeypatch)
    monkeypatch.setattr(devices.time, "sleep", lambda s: pass_time(now, s, others=1.1, own=0))
    threads = devices.Threads()
    assert threads.count == torch.get_num_threads() == 3
    pass_time(now, devices.MEASUREMENT_INTERVAL_S, others=0.1, own=3)
    assert threads.look() == torch.get_num_threads() == 4
    pass_time(now, devices.MEASUREMENT_INTERVAL_S / 2, others=9, own=1)
    assert threads.look() == 4, "not yet"
    pass_time(now, devices.MEASUREMENT_INTERVAL_S, others=9, own=1)
    assert threads.look() == torch.get_num_threads() == 1


def test_threads_have_bounds_and_those_asked_for_stay(monkeypatch):
    now = machine(monkeypatch, cores=100)
    monkeypatch.setattr(devices.time, "sleep", lambda s: pass_time(now, s, others=0, own=0))
    assert devices.Threads().count == devices.MAX_THREADS
    monkeypatch.setattr(devices, "usable_cores", lambda: 3)
    assert devices.Threads().count == 3
    threads = devices.Threads(2)
    pass_time(now, devices.MEASUREMENT_INTERVAL_S, others=99, own=1)
    assert threads.look() == torch.get_num_threads() == 2


def test_seconds_of_the_machine(monkeypatch, tmp_path):
    monkeypatch.setattr(devices, "_STAT", tmp_path / "stat")
    monkeypatch.setattr(devices.os, "sysconf", lambda _: 100)
    _, busy, own = devices._seconds()
    assert busy == own, "nothing is known of others"
    (tmp_path / "stat").write_text("cpu  4705 500 1295 1000 0 0 0 0 0 0\ncpu0 1 1 1 1\n")
    assert devices._seconds()[1] == 60


def test_threads_that_share_out_work_use_one_each():
    torch.set_num_threads(2)
    begun = threading.Barrier(2)  # the first two pieces are with two threads

    def work(piece):
        if piece < 2:
            begun.wait(10)
        return piece, torch.get_num_threads(), threading.current_thread().name

    found = devices.share_out(work, range(8))
    assert [(piece, count) for piece, count, _ in found] == [(piece, 1) for piece in range(8)]
    assert len({name for *_, name in found}) == 2
    with devices.single_threads() as pool:  # while they live, others have as many as before
        pool.submit(work, 5).result()
        later = ThreadPoolExecutor(1)
        assert torch.get_num_threads() == later.submit(torch.get_num_threads).result() == 2
        later.shutdown()


def test_work_of_another_device_is_not_shared_out():
    assert (
        devices.share_out(lambda _: threading.current_thread(), range(3), torch.device("meta"))
        == [threading.main_thread()] * 3
    )


def test_pieces_after_an_error_are_left():
    torch.set_num_threads(1)
    done = []

    def work(piece):
        done.append(piece)
        time.sleep(0.01)
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        devices.share_out(work, range(500))
    assert len(done) < 500
