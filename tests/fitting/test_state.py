"""Checkpoints and the moving average."""

import pytest
import torch
from torch import nn

from vg_gym.errors import VGGymError
from vg_gym.fitting.state import TrainingState, moving_average


def test_the_average_by_hand():
    """As this project has always averaged: a young average forgets, buffers too are averaged, counts are copied."""
    torch.manual_seed(0)
    module = nn.BatchNorm1d(3)
    average, expected = moving_average(module, 0.3), {k: v.clone() for k, v in module.state_dict().items()}
    for step in range(1, 8):
        with torch.no_grad():
            module.weight += torch.randn(3)
        module(torch.randn(4, 3))
        average.update_parameters(module)
        decay = min(0.3, (1 + step) / (10 + step))
        for name, now in module.state_dict().items():
            expected[name] = expected[name].lerp(now, 1 - decay) if now.is_floating_point() else now.clone()
    torch.testing.assert_close(dict(average.module.state_dict()), expected, rtol=0, atol=0)
    assert average.module.num_batches_tracked == 7 and not average.module.training


def state(folder, frozen=False, ema=0.0, lr=0.1):
    torch.manual_seed(0)
    module = nn.Linear(2, 1)
    module.bias.requires_grad = not frozen
    optimizer = torch.optim.AdamW([p for p in module.parameters() if p.requires_grad], lr=lr)
    module(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    return TrainingState(folder, module, optimizer, ema)


def test_options_are_those_of_the_new_run(tmp_path):
    state(tmp_path).save()
    resumed = state(tmp_path, lr=0.5)
    resumed.load(torch.device("cpu"))
    assert resumed.optimizer.param_groups[0]["lr"] == 0.5
    assert resumed.optimizer.state[resumed.module.weight]["step"] == 1


@pytest.mark.parametrize("other", [{"frozen": True}, {"ema": 0.9}])
def test_a_checkpoint_of_other_parts_is_refused(tmp_path, other):
    state(tmp_path).save()
    with pytest.raises(VGGymError, match="checkpoint.pt is of another model.*use another out="):
        state(tmp_path, **other).load(torch.device("cpu"))


def test_the_best_is_kept(tmp_path):
    run = state(tmp_path)
    for figure, weight in ((0.5, 1.0), (0.9, 2.0), (0.7, 3.0)):
        nn.init.constant_(run.module.weight, weight)
        run.keep_if_best({"accuracy": figure}, "accuracy")
    assert run.best == 0.9 and run.best_module().weight.tolist() == [[2.0, 2.0]]
