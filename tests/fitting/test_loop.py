"""The shared training loop, on a learner small enough to follow."""

import math

import pytest
import torch
from torch import nn

from vg_gym.errors import VGGymError
from vg_gym.fitting.loop import FitConfig, decay_groups, fit, schedule


class Line:
    """Learns y = 3 x - 1."""

    metric = "closeness"

    def __init__(self, interrupt_at=None, poison_at=None):
        torch.manual_seed(0)
        self.module = nn.Linear(1, 1)
        self.seen, self.interrupt_at, self.poison_at = [], interrupt_at, poison_at

    def batch(self, step):
        x = torch.rand(16, 1, generator=torch.Generator().manual_seed(step))
        return step, x

    def losses(self, batch):
        step, x = batch
        self.seen.append(step)
        if step == self.interrupt_at:
            raise KeyboardInterrupt
        error = (self.module(x) - (3 * x - 1)).square().mean()
        return {"error": error * (math.nan if step == self.poison_at else 1)}

    def groups(self, config):
        return decay_groups(self.module, config.weight_decay)

    def validate(self, module):
        assert not module.training
        return {"closeness": -abs(float(module.weight) - 3)}


def config(folder, **changes):
    given = {"out": str(folder), "steps": 60, "warmup": 5, "lr": 0.05, "ema": 0.9, "workers": 0, "validate_every": 20}
    return FitConfig(**given | {"weight_decay": 0.0} | changes)


def test_it_learns_and_returns_the_best(tmp_path):
    module = fit(Line(), config(tmp_path, steps=400))
    assert float(module.weight.detach()) == pytest.approx(3, abs=0.05) and not module.training
    assert {"best.safetensors", "checkpoint.pt", "report.json"} <= {p.name for p in tmp_path.iterdir()}


@pytest.mark.parametrize("workers", [0, 1])
def test_an_interrupted_run_goes_on_to_the_same_weights(tmp_path, workers):
    whole = fit(Line(), config(tmp_path / "a", workers=workers))
    with pytest.raises(VGGymError, match="interrupted at step 33.*resume=true"):
        fit(Line(interrupt_at=33), config(tmp_path / "b"))
    learner = Line()
    with torch.no_grad():
        learner.module.weight += 1  # what resuming must not start from
    resumed = fit(learner, config(tmp_path / "b", resume=True))
    assert learner.seen == list(range(33, 60))
    torch.testing.assert_close(resumed.state_dict(), whole.state_dict(), rtol=0, atol=0)


def test_bad_runs_are_named(tmp_path):
    with pytest.raises(VGGymError, match="nothing to resume"):
        fit(Line(), config(tmp_path / "a", resume=True))
    with pytest.raises(VGGymError, match="loss became nan at step 3; lower lr"):
        fit(Line(poison_at=3), config(tmp_path / "b"))
    fit(Line(), config(tmp_path / "c"))
    other = Line()
    other.module = nn.Linear(2, 1)
    with pytest.raises(VGGymError, match="another model"):
        fit(other, config(tmp_path / "c", resume=True))


def test_the_schedule():
    factors = [schedule(step, 10, 110) for step in range(111)]
    assert factors[0] == 0.1 and factors[9] == factors[10] == 1 and factors[60] == pytest.approx(0.5)
    assert factors[110] == 0 and all(a >= b for a, b in zip(factors[10:], factors[11:], strict=False))


def test_only_matrices_decay():
    decayed, free = decay_groups(nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3)), 0.1)
    assert [p.ndim for p in decayed["params"]] == [2] and decayed["weight_decay"] == 0.1
    assert all(p.ndim == 1 for p in free["params"]) and free["weight_decay"] == 0
