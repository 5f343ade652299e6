import torch

from vg_gym import devices


def test_a_quota_bounds_the_cores(monkeypatch, tmp_path):
    quota = tmp_path / "cpu.max"
    monkeypatch.setattr(devices, "_QUOTA", quota)
    monkeypatch.setattr(devices.os, "sched_getaffinity", lambda _: set(range(12)), raising=False)
    assert devices.usable_cores() == 12
    for text, cores in (("max 100000", 12), ("300000 100000", 3), ("50000 100000", 1), ("9900000 100000", 12)):
        quota.write_text(text)
        assert devices.usable_cores() == cores, text


def test_busy_cores_are_left_alone(monkeypatch):
    monkeypatch.setattr(devices.os, "cpu_count", lambda: 4)
    for load, idle in ((0.2, 4), (0.9, 3), (3.6, 1), (40.0, 1)):
        monkeypatch.setattr(devices.os, "getloadavg", lambda load=load: (load, 9.0, 9.0), raising=False)
        assert devices.idle_cores() == idle, load


def test_threads_are_set_and_told(monkeypatch):
    monkeypatch.setattr(devices, "idle_cores", lambda: 100)
    before = torch.get_num_threads()
    try:
        monkeypatch.setattr(devices, "usable_cores", lambda: 3)
        assert devices.set_threads(2) == torch.get_num_threads() == 2
        assert devices.set_threads() == 3
        monkeypatch.setattr(devices, "usable_cores", lambda: 64)
        assert devices.set_threads() == devices.MOST
        monkeypatch.setattr(devices, "idle_cores", lambda: 1)
        assert devices.set_threads() == 1
    finally:
        torch.set_num_threads(before)
