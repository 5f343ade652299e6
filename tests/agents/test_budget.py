import pytest

from vg_gym.agents import budget
from vg_gym.agents.budget import Budget


def test_minutes_count_from_the_start_and_steps_always(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(budget.time, "monotonic", lambda: now[0])
    run = Budget(minutes=2, total_timesteps=1000)
    now[0] += 500
    assert run.progress() == 0
    run.start()
    now[0] += 30
    assert run.progress() == pytest.approx(0.25)
    run.timesteps = 600
    assert run.progress() == pytest.approx(0.6)
    now[0] += 1000
    assert run.progress() == 1
