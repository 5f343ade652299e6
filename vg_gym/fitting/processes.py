"""The processes that train one module: one, or those of ``accelerate launch``."""

from __future__ import annotations

import os

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs

from vg_gym.devices import pick_device
from vg_gym.fitting.config import FitConfig


def processes(config: FitConfig) -> Accelerator:
    """The handle of this process on all of them: who writes, whose gradients are averaged, when to wait.

    Accelerate keeps one state for the life of a process. A process that trains alone leaves the choice of device to
    :func:`training_device`, so that it may train on a CPU and on a GPU in turn.
    """
    launched = "LOCAL_RANK" in os.environ
    return Accelerator(
        cpu=launched and pick_device(config.device) == "cpu",
        device_placement=False,
        gradient_accumulation_steps=config.accumulate,
        # A loss may leave out parts of the module: a frozen tower, a term of weight 0.
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
    )


def training_device(config: FitConfig) -> torch.device:
    """Where this process trains: on the device asked for or, as one of several, on the one that is its own."""
    accelerator = processes(config)
    return accelerator.device if accelerator.num_processes > 1 else torch.device(pick_device(config.device))


def use_threads(config: FitConfig) -> None:
    """Let torch use as many CPU threads as the config says; 0 leaves its default."""
    if config.threads:
        torch.set_num_threads(config.threads)
