"""Training loop of detectors, learned grounders, box diffusion and CLIP.

A learner defines its loss and its validation. :func:`fit` does the rest: warm-up and schedule, gradient accumulation
and clipping, moving average of the weights, mixed precision, several processes, TensorBoard, progress bars, the best
checkpoint, resuming, Ctrl-C.
"""

from __future__ import annotations

import copy
import math
from collections import defaultdict
from pathlib import Path

import torch
from torch import nn
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from vg_gym.errors import Interrupted, VGGymError, unknown
from vg_gym.fitting.batches import prepared
from vg_gym.fitting.config import FitConfig
from vg_gym.fitting.learner import Learner, Objective
from vg_gym.fitting.processes import processes, training_device, use_threads
from vg_gym.fitting.resuming import command_to_resume
from vg_gym.fitting.state import TrainingState
from vg_gym.fitting.tensorboard import describe_run
from vg_gym.runtime.devices import computes_bfloat16
from vg_gym.runtime.interrupts import uninterrupted
from vg_gym.storage.files import make_folder, writing

SCHEDULES = ("cosine", "step")
LOG_EVERY = 20
"""Steps between points of the loss curves."""


def fit(learner: Learner, config: FitConfig) -> nn.Module:
    """Train, and return the module with the best weights by validation, in eval mode.

    ``OUT/checkpoint.pt`` is written at every validation and at Ctrl-C, ``OUT/best.safetensors`` and ``OUT/report.json``
    whenever validation improves.

    Args:
        learner: model, loss and validation.
        config: options.

    Raises:
        Interrupted: Ctrl-C or SIGTERM arrived; the message says how to resume.
        VGGymError: the checkpoint to resume from is missing or of another model, or the loss or the validation metric
            is not finite.
    """
    use_threads(config)
    torch.manual_seed(config.seed)
    accelerator, device = processes(config), training_device(config)
    module = learner.module.to(device)
    optimizer = torch.optim.AdamW(learner.groups(config), lr=config.learning_rate, betas=config.betas)
    state = TrainingState(Path(config.out), module, optimizer, config.ema)
    make_folder(state.out)
    if config.resume:
        state.load(device)
        if state.step >= config.steps:
            longer = f"{command_to_resume(config)} steps={2 * max(config.steps, state.step)}"
            tqdm.write(f"{state.out} is finished: {state.step} of {config.steps} steps; to train it longer: {longer}")
    scheduler = learning_rate(optimizer, config, state.step)
    amp = computes_bfloat16(device.type) if config.amp is None else config.amp
    objective, stepper = accelerator.prepare(Objective(learner), optimizer)

    # A step uses ``per_step`` batches, of which this process takes every ``num_processes``-th.
    per_step = config.accumulate * accelerator.num_processes
    numbers = range(
        state.step * per_step + accelerator.process_index, config.steps * per_step, accelerator.num_processes
    )
    batches = prepared(learner.batch, numbers, config.workers)
    writer = _writer(learner, config, state.step) if accelerator.is_main_process else None
    bar = tqdm(total=config.steps, initial=state.step, desc=state.out.name, unit="step", mininterval=2,
               disable=writer is None)  # fmt: skip
    try:
        while state.step < config.steps:
            module.train()
            losses: dict[str, float] = defaultdict(float)
            for _ in range(config.accumulate):
                with accelerator.accumulate(objective):
                    with torch.autocast(device.type, torch.bfloat16, enabled=amp):
                        terms = objective(next(batches))
                    total = torch.stack(list(terms.values())).sum()
                    accelerator.backward(_finite(total, state.step, config.learning_rate))
                for name, value in {"total": total, **terms}.items():
                    losses[name] += float(value.detach()) / config.accumulate
            accelerator.clip_grad_norm_(module.parameters(), config.clip_grad)
            with uninterrupted():
                stepper.step()
                scheduler.step()
                learner.after_step()
                state.step += 1
                if state.average:
                    state.average.update_parameters(module)
                state.keep_random_state()
            stepper.zero_grad()

            bar.update()
            if writer and state.step % LOG_EVERY == 0:
                bar.set_postfix({name: f"{value:.3f}" for name, value in losses.items()}, refresh=False)
                _write(writer, "loss", losses, state.step)
            if state.step % config.validate_every == 0 or state.step == config.steps:
                if writer:
                    figures = _validate(learner, state.result)
                    _write(writer, "val", figures, state.step)
                    tqdm.write(f"val step {state.step}  " + "  ".join(f"{k} {v:.4f}" for k, v in figures.items()))
                    with uninterrupted():
                        state.keep_random_state()
                        state.keep_if_best(figures, learner.metric)
                        state.save()
                accelerator.wait_for_everyone()
    except KeyboardInterrupt:
        if writer:
            with uninterrupted():
                state.save()
        again = command_to_resume(config, accelerator.num_processes)
        raise Interrupted(f"interrupted at step {state.step}; resume with: {again}") from None
    finally:
        bar.close()
        if writer:
            with writing(state.out):
                writer.close()
    return state.best_module()


def learning_rate(optimizer: torch.optim.Optimizer, config: FitConfig, step: int) -> torch.optim.lr_scheduler.LambdaLR:
    """Return the scheduler of the learning rate from a step on.

    The learning rate depends only on the step, so that a resumed run may have more steps.

    Raises:
        VGGymError: the schedule is unknown.
    """
    if config.schedule not in SCHEDULES:
        raise unknown("schedule", config.schedule, SCHEDULES)
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]  # torch requires it for a schedule that does not begin at step 0
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda at: schedule(at, config), last_epoch=step - 1)


def schedule(step: int, config: FitConfig) -> float:
    """Return the factor of the learning rate: linear warm-up, then a half cosine to zero or a step to a tenth.

    >>> config = FitConfig(warmup=10, steps=110)
    >>> [round(schedule(step, config), 2) for step in (0, 9, 10, 60, 110)]
    [0.1, 1.0, 1.0, 0.5, 0.0]
    """
    if step < config.warmup:
        return (step + 1) / config.warmup
    if config.schedule == "step":
        return 0.1 if step >= config.drop_at * config.steps else 1.0
    return 0.5 * (1 + math.cos(math.pi * (step - config.warmup) / max(1, config.steps - config.warmup)))


def _finite(loss: torch.Tensor, step: int, rate: float) -> torch.Tensor:
    if not torch.isfinite(loss):
        value = float(loss.detach())
        raise VGGymError(f"the loss became {value} at step {step}; lower learning_rate ({rate}) and start again")
    return loss


def _validate(learner: Learner, module: nn.Module) -> dict[str, float]:
    with torch.no_grad():
        return learner.validate(copy.deepcopy(module).eval())


def _write(writer: SummaryWriter, kind: str, figures: dict[str, float], step: int) -> None:
    with writing(writer.log_dir):
        for name, value in figures.items():
            writer.add_scalar(f"{kind}/{name}", value, step)


def _writer(learner: Learner, config: FitConfig, step: int) -> SummaryWriter:
    """Return TensorBoard's writer, after removing points beyond ``step`` that a killed run wrote."""
    with writing(config.out):
        writer = SummaryWriter(config.out, purge_step=step + 1 if step else None)
        describe_run(writer, config, [f"val/{learner.metric}", "loss/total"])
    return writer
