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


def test_the_number_of_threads_is_set_at_the_start(monkeypatch):
    monkeypatch.setattr(devices, "usable_cores", lambda: 100)
    assert devices.use_threads() == torch.get_num_threads() == devices.MAX_THREADS
    monkeypatch.setattr(devices, "usable_cores", lambda: 3)
    assert devices.use_threads() == torch.get_num_threads() == 3
    assert devices.use_threads(2) == torch.get_num_threads() == 2


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
