"""One process may train on several devices in turn."""

import torch

from vg_gym.fitting.config import FitConfig
from vg_gym.fitting.processes import processes, training_device


def test_a_process_alone_trains_where_it_is_told_and_writes():
    for device in ("cpu", "meta", "cpu"):
        config = FitConfig(device=device, accumulate=3)
        assert training_device(config) == torch.device(device)
        assert processes(config).is_main_process and processes(config).gradient_accumulation_steps == 3
