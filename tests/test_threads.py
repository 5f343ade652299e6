import torch

from vg_gym import threads


def test_a_quota_bounds_the_cores(monkeypatch, tmp_path):
    quota = tmp_path / "cpu.max"
    monkeypatch.setattr(threads, "_QUOTA", quota)
    monkeypatch.setattr(threads.os, "sched_getaffinity", lambda _: set(range(12)), raising=False)
    assert threads.usable_cores() == 12
    for text, cores in (("max 100000", 12), ("300000 100000", 3), ("50000 100000", 1), ("9900000 100000", 12)):
        quota.write_text(text)
        assert threads.usable_cores() == cores, text


def test_threads_are_set_and_told(monkeypatch):
    before = torch.get_num_threads()
    try:
        monkeypatch.setattr(threads, "usable_cores", lambda: 3)
        assert threads.set_threads(2) == torch.get_num_threads() == 2
        assert threads.set_threads() == 3
        monkeypatch.setattr(threads, "usable_cores", lambda: 64)
        assert threads.set_threads() == threads.MOST
    finally:
        torch.set_num_threads(before)
