import pytest

from vg_gym.agents import budget
from vg_gym.agents.budget import Budget


def test_minutes_count_from_the_start(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(budget.time, "monotonic", lambda: now[0])
    run = Budget(minutes=2)
    now[0] += 500
    assert run.progress() == 0
    run.start()
    now[0] += 30
    assert run.progress() == pytest.approx(0.25)
    now[0] += 1000
    assert run.progress() == 1
    assert Budget(minutes=0).progress() == 1


def test_where_there_are_steps_time_counts_for_nothing(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(budget.time, "monotonic", lambda: now[0])
    run = Budget(minutes=2, steps=1000)
    run.start()
    now[0] += 1000
    assert run.progress() == 0
    run.taken = 600
    assert run.progress() == pytest.approx(0.6)
    run.taken = 1010
    assert run.progress() == 1
    assert Budget(minutes=2, steps=0).progress() == 1


def test_a_part_is_a_budget_of_its_own():
    whole = Budget(minutes=10, steps=101)
    part = whole.part(0.6)
    part.taken = 61
    assert (part.minutes, part.steps, part.progress(), whole.progress()) == (6, 61, 1, 0)
    assert Budget(minutes=10).part(0.5).steps is None
