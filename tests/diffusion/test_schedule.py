"""Schedules against the published code's numbers, and the arithmetic that follows from them."""

import pytest
import torch
from safetensors.torch import load_file

from vg_gym.diffusion.schedule import TARGETS, Schedule
from vg_gym.errors import VGGymError


@pytest.fixture(scope="module")
def published(parity):
    folder = parity / "diffusion_schedule"
    return {name: load_file(folder / f"{name}.safetensors") for name in ("buffers", "q_sample")}


def test_tables_are_the_published_ones(published):
    tables = Schedule("cosine", 1000).tables
    assert len(tables) == 6
    for name, table in tables.items():
        assert table.dtype == torch.float64
        torch.testing.assert_close(table, published["buffers"][name], rtol=1e-9, atol=1e-12, msg=name)


def test_noise_is_added_as_published(published):
    given, schedule = published["q_sample"], Schedule("cosine", 1000)
    x_t = schedule.add_noise(given["x_start"], given["noise"], given["t"])
    assert x_t.dtype == torch.float64
    torch.testing.assert_close(x_t, given["x_t"], rtol=0, atol=1e-9)
    found = schedule.noise_of(x_t, given["x_start"], given["t"])
    torch.testing.assert_close(found, given["predicted_noise_from_start"], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("timesteps", [50, 1000])
def test_the_linear_schedule_ends_in_noise(timesteps):
    betas = Schedule("linear", timesteps).tables["betas"]
    assert betas[0] == pytest.approx(1e-4 * 1000 / timesteps) and betas[-1] == pytest.approx(0.02 * 1000 / timesteps)
    assert Schedule("linear", timesteps).alpha(timesteps - 1) < 1e-4


@pytest.mark.parametrize("kind", ["linear", "cosine"])
@pytest.mark.parametrize("target", TARGETS)
def test_a_right_prediction_leads_back_to_x0(kind, target):
    schedule = Schedule(kind)
    generator = torch.Generator().manual_seed(0)
    x0, noise = (torch.randn(5, 3, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    t = torch.tensor([0, 10, 300, 700, 900])
    prediction = schedule.target(target, x0, noise, t)
    found = schedule.x0_from(target, prediction, schedule.add_noise(x0, noise, t), t)
    torch.testing.assert_close(found, x0, rtol=0, atol=1e-9)


def test_unknown_names_are_named():
    zero = torch.zeros(1, 4)
    with pytest.raises(VGGymError, match="did you mean 'cosine'"):
        Schedule("cosin")
    with pytest.raises(VGGymError, match="did you mean 'epsilon'"):
        Schedule().target("epsilom", zero, zero, torch.zeros(1, dtype=torch.long))
    with pytest.raises(VGGymError, match="unknown target 'y'"):
        Schedule().x0_from("y", zero, zero, torch.zeros(1, dtype=torch.long))


def test_times_are_cut_integers():
    schedule = Schedule()
    assert schedule.times(4) == [999, 749, 499, 249, -1]
    assert schedule.times(3) == [999, 665, 332, -1]
    assert schedule.times(1) == [999, -1]
    assert schedule.times(1000) == list(range(999, -2, -1))
    assert schedule.times(2, first=299) == [299, 149, -1]
    assert schedule.times(8, first=3) == [3, 2, 1, 0, -1]
    assert schedule.times(4, first=0) == [0, -1]


def test_boxes_are_signals_and_back():
    schedule = Schedule(scale=2.0)
    boxes = torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.2, 0.4, 0.3, 0.9]])
    signal = schedule.to_signal(boxes)
    torch.testing.assert_close(signal[0], torch.tensor([0.0, 0.0, 2.0, 2.0]))
    torch.testing.assert_close(schedule.to_boxes(signal), boxes)
    assert schedule.to_boxes(torch.full((4,), 9.0)).tolist() == [0.5, 0.5, 1.5, 1.5]
