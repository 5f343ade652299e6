"""Processes that train one module: a single one, or those of ``accelerate launch``."""

from __future__ import annotations

import os

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs

from vg_gym.fitting.config import FitConfig
from vg_gym.runtime.devices import pick_device


def processes(config: FitConfig) -> Accelerator:
    """Return the accelerator, which averages gradients over processes and coordinates writing and waiting.

    Accelerate has one state for the lifetime of a process. A single process lets :func:`training_device` choose the
    device, so that it can train on a CPU and later on a GPU.
    """
    launched = "LOCAL_RANK" in os.environ
    return Accelerator(
        cpu=launched and pick_device(config.device) == "cpu",
        device_placement=False,
        gradient_accumulation_steps=config.accumulate,
        # A loss may not use parts of the module, such as a frozen tower or a term of weight 0.
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
    )


def training_device(config: FitConfig) -> torch.device:
    """Return the device of the config, or with several processes the one assigned to this process."""
    accelerator = processes(config)
    return accelerator.device if accelerator.num_processes > 1 else torch.device(pick_device(config.device))


def use_threads(config: FitConfig) -> None:
    """Set torch's number of CPU threads to the config's; 0 keeps its default."""
    if config.threads:
        torch.set_num_threads(config.threads)
