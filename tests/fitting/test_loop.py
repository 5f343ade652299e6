"""The training loop, on a learner small enough to follow."""

import math

import pytest
import torch
from safetensors.torch import save_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from vg_gym.errors import VGGymError
from vg_gym.fitting.config import FitConfig
from vg_gym.fitting.learner import Learner
from vg_gym.fitting.loop import fit, schedule


class Line(Learner):
    """Learns y = 3 x - 1."""

    metric = "closeness"

    def __init__(self, interrupt_at=None, poison_at=None, examples=16):
        torch.manual_seed(0)
        self.module = nn.Linear(1, 1)
        self.seen, self.interrupt_at, self.poison_at, self.examples = [], interrupt_at, poison_at, examples

    def batch(self, step):
        x = torch.rand(self.examples, 1, generator=torch.Generator().manual_seed(step))
        return step, x

    def losses(self, batch):
        step, x = batch
        self.seen.append(step)
        if step == self.interrupt_at:
            raise KeyboardInterrupt
        error = (self.module(x) - (3 * x - 1)).square().mean()
        return {"error": error * (math.nan if step == self.poison_at else 1)}

    def validate(self, module):
        assert not module.training and module is not self.module
        return {"closeness": -abs(float(module.weight) - 3)}

    def save(self, module, folder):
        save_file(module.state_dict(), folder / "line.safetensors")


class Halves(Line):
    """The batch of a step, in two pieces."""

    def batch(self, step):
        whole, x = super().batch(step // 2)
        return step, x.chunk(2)[step % 2]


def config(folder, **changes):
    given = {
        "out": str(folder),
        "steps": 60,
        "warmup": 5,
        "learning_rate": 0.05,
        "ema": 0.9,
        "workers": 0,
        "validate_every": 20,
    }
    return FitConfig(**given | {"weight_decay": 0.0} | changes)


def test_it_learns_and_returns_the_best(tmp_path):
    module = fit(Line(), config(tmp_path, steps=400))
    assert float(module.weight.detach()) == pytest.approx(3, abs=0.05) and not module.training
    assert {"best.safetensors", "checkpoint.pt", "report.json"} <= {p.name for p in tmp_path.iterdir()}


def test_the_best_is_not_always_the_last(tmp_path):
    learner, scores = Line(), iter([1.0, 3.0, 2.0])
    weights = []
    learner.validate = lambda module: weights.append(module.weight.item()) or {"closeness": next(scores)}
    assert fit(learner, config(tmp_path)).weight.item() == weights[1] != weights[2]


@pytest.mark.parametrize(("workers", "accumulate"), [(0, 1), (1, 1), (0, 2)])
def test_an_interrupted_run_goes_on_to_the_same_weights(tmp_path, workers, accumulate):
    whole = fit(Line(), config(tmp_path / "a", workers=workers, accumulate=accumulate))
    with pytest.raises(VGGymError, match="interrupted at step 33.*resume=true"):
        # In the middle of a step, where it has several passes.
        fit(Line(interrupt_at=34 * accumulate - 1), config(tmp_path / "b", accumulate=accumulate))
    learner = Line()
    with torch.no_grad():
        learner.module.weight += 1  # what resuming must not start from
    resumed = fit(learner, config(tmp_path / "b", resume=True, accumulate=accumulate))
    assert learner.seen == list(range(33 * accumulate, 60 * accumulate))
    torch.testing.assert_close(resumed.state_dict(), whole.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize("stop", [33, 39])
def test_dropout_goes_on_as_if_nothing_had_happened(tmp_path, stop):
    class Dropping(Line):
        def losses(self, batch):
            step, x = batch
            return super().losses((step, nn.functional.dropout(x)))  # its draw comes before an interrupt

    whole = fit(Dropping(), config(tmp_path / "a"))
    with pytest.raises(VGGymError, match="interrupted"):
        fit(Dropping(interrupt_at=stop), config(tmp_path / "b"))
    again = fit(Dropping(), config(tmp_path / "b", resume=True))
    torch.testing.assert_close(again.state_dict(), whole.state_dict(), rtol=0, atol=0)


def test_a_resumed_run_may_be_longer_and_slower(tmp_path):
    whole = fit(Line(), config(tmp_path / "a", warmup=100, steps=60))
    fit(Line(), config(tmp_path / "b", warmup=100, steps=40))
    longer = fit(Line(), config(tmp_path / "b", warmup=100, steps=60, resume=True))
    torch.testing.assert_close(longer.state_dict(), whole.state_dict(), rtol=0, atol=0)
    still = fit(Line(), config(tmp_path / "b", warmup=100, steps=80, resume=True, learning_rate=0.0, ema=0.9))
    moved = fit(Line(), config(tmp_path / "a", warmup=100, steps=80, resume=True, ema=0.9))
    assert abs(still.weight - longer.weight) < abs(moved.weight - longer.weight)


def test_accumulated_halves_are_the_whole(tmp_path):
    whole = fit(Line(), config(tmp_path / "a"))
    halves = fit(Halves(), config(tmp_path / "b", accumulate=2))
    torch.testing.assert_close(halves.state_dict(), whole.state_dict())
    curves = []
    for name in "ab":
        events = EventAccumulator(str(tmp_path / name)).Reload()
        curves.append([point.value for point in events.Scalars("loss/error")])
    assert len(curves[0]) == 3 and curves[0] == pytest.approx(curves[1], rel=1e-4)


def test_after_every_step_the_learner_may_set_bounds(tmp_path):
    class Bounded(Line):
        @torch.no_grad()
        def after_step(self):
            self.module.weight.clamp_(max=1.5)

    assert float(fit(Bounded(), config(tmp_path, steps=400, ema=0.0)).weight.detach()) == 1.5


def test_with_and_without_mixed_precision_in_one_process(tmp_path):
    seen = []

    class Precise(Line):
        def losses(self, batch):
            seen.append(self.module(batch[1]).dtype)
            return super().losses(batch)

    for amp in (True, False, True):
        fit(Precise(), config(tmp_path / str(len(seen)), steps=1, amp=amp))
    assert seen == [torch.bfloat16, torch.float32, torch.bfloat16]


def test_bad_runs_are_named(tmp_path):
    with pytest.raises(VGGymError, match="nothing to resume"):
        fit(Line(), config(tmp_path / "a", resume=True))
    with pytest.raises(VGGymError, match="loss became nan at step 3; lower learning_rate"):
        fit(Line(poison_at=3), config(tmp_path / "b"))
    with pytest.raises(VGGymError, match="did you mean 'cosine'"):
        fit(Line(), config(tmp_path / "b", schedule="cosin"))
    fit(Line(), config(tmp_path / "c"))
    other = Line()
    other.module = nn.Linear(2, 1)
    with pytest.raises(VGGymError, match="another model"):
        fit(other, config(tmp_path / "c", resume=True))


def test_the_schedule():
    factors = [schedule(step, FitConfig(warmup=10, steps=110)) for step in range(111)]
    assert factors[0] == 0.1 and factors[9] == factors[10] == 1 and factors[60] == pytest.approx(0.5)
    assert factors[110] == 0 and all(a >= b for a, b in zip(factors[10:], factors[11:], strict=False))
    drops = FitConfig(warmup=1, steps=100, schedule="step", drop_at=0.67)
    assert [schedule(step, drops) for step in (0, 66, 67, 99)] == [1.0, 1.0, 0.1, 0.1]


@pytest.mark.parametrize(("amp", "has", "mixed"), [(None, True, True), (None, False, False), (True, False, True)])
def test_mixed_precision_is_by_default_where_the_device_computes_it(amp, has, mixed, tmp_path, monkeypatch):
    monkeypatch.setattr("vg_gym.fitting.loop.computes_bfloat16", lambda device: has)
    learner, seen = Line(), []
    losses = learner.losses
    learner.losses = lambda batch: seen.append(torch.is_autocast_enabled("cpu")) or losses(batch)
    fit(learner, config(tmp_path, steps=3, amp=amp))
    assert seen == [mixed] * 3
