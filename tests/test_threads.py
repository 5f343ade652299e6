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


def test_busy_cores_are_left_alone(monkeypatch):
    monkeypatch.setattr(threads.os, "cpu_count", lambda: 4)
    for load, idle in ((0.2, 4), (0.9, 3), (3.6, 1), (40.0, 1)):
        monkeypatch.setattr(threads.os, "getloadavg", lambda load=load: (load, 9.0, 9.0), raising=False)
        assert threads.idle_cores() == idle, load


def test_threads_are_set_and_told(monkeypatch):
    monkeypatch.setattr(threads, "idle_cores", lambda: 100)
    before = torch.get_num_threads()
    try:
        monkeypatch.setattr(threads, "usable_cores", lambda: 3)
        assert threads.set_threads(2) == torch.get_num_threads() == 2
        assert threads.set_threads() == 3
        monkeypatch.setattr(threads, "usable_cores", lambda: 64)
        assert threads.set_threads() == threads.MOST
        monkeypatch.setattr(threads, "idle_cores", lambda: 1)
        assert threads.set_threads() == 1
    finally:
        torch.set_num_threads(before)
