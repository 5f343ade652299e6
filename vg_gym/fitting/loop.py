"""The training loop: of detectors, learned grounders, box diffusion and CLIP.

A learner says what its loss is and how it is judged; :func:`fit` gives the rest: warm-up and schedule, gradient
accumulation and clipping, moving average of the weights, mixed precision, several processes, TensorBoard, progress, the
best checkpoint, resuming, Ctrl-C.
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

from vg_gym.devices import computes_bfloat16
from vg_gym.errors import Interrupted, VGGymError, unknown
from vg_gym.fitting.batches import prepared
from vg_gym.fitting.config import FitConfig
from vg_gym.fitting.learner import Learner, Objective
from vg_gym.fitting.processes import processes, training_device, use_threads
from vg_gym.fitting.resuming import command_to_resume
from vg_gym.fitting.state import TrainingState
from vg_gym.fitting.tensorboard import describe_run
from vg_gym.interrupts import uninterrupted
from vg_gym.storage.files import make_folder, writing

SCHEDULES = ("cosine", "step")
LOG_EVERY = 20
"""Steps between points of the loss curves."""


def fit(learner: Learner, config: FitConfig) -> nn.Module:
    """Train, and return the module with the weights that validated best, in eval mode.

    Args:
        learner: model, loss and judgement.
        config: options; ``OUT/checkpoint.pt`` is written at every validation and at Ctrl-C, ``OUT/best.safetensors``
            and ``OUT/report.json`` whenever validation improves.

    Raises:
        Interrupted: by Ctrl-C or SIGTERM; the message says how to go on.
        VGGymError: nothing to resume, the checkpoint is of another model, or the loss or a figure of validation is no
            number.
    """
    use_threads(config)
    torch.manual_seed(config.seed)
    accelerator, device = processes(config), training_device(config)
    module = learner.module.to(device)
    optimizer = torch.optim.AdamW(learner.groups(config), lr=config.lr, betas=config.betas)
    state = TrainingState(Path(config.out), module, optimizer, config.ema)
    make_folder(state.out)
    if config.resume:
        state.load(device)
        if state.step >= config.steps:
            tqdm.write(f"{state.out} is finished: {state.step} of {config.steps} steps; steps=N with more goes on")
    scheduler = learning_rate(optimizer, config, state.step)
    amp = computes_bfloat16(device.type) if config.amp is None else config.amp
    objective, stepper = accelerator.prepare(Objective(learner), optimizer)

    # Processes take turns: of every ``each`` batches, one step's, this one has every ``num_processes``-th.
    each = config.accumulate * accelerator.num_processes
    mine = range(state.step * each + accelerator.process_index, config.steps * each, accelerator.num_processes)
    batches = prepared(learner.batch, mine, config.workers)
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
                    accelerator.backward(_finite(total, state.step, config.lr))
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
        raise Interrupted(f"interrupted at step {state.step}; go on with: {again}") from None
    finally:
        bar.close()
        if writer:
            with writing(state.out):
                writer.close()
    return state.best_module()


def learning_rate(optimizer: torch.optim.Optimizer, config: FitConfig, step: int) -> torch.optim.lr_scheduler.LambdaLR:
    """The learning rates from a step on: a function of the step alone, so that a resumed run may have more steps.

    Raises:
        VGGymError: unknown schedule.
    """
    if config.schedule not in SCHEDULES:
        raise unknown("schedule", config.schedule, SCHEDULES)
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]  # torch asks it of a schedule that does not begin at step 0
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda at: schedule(at, config), last_epoch=step - 1)


def schedule(step: int, config: FitConfig) -> float:
    """Factor in [0, 1] of the learning rate: linear warm-up, then a half cosine to zero or a step to a tenth.

    >>> config = FitConfig(warmup=10, steps=110)
    >>> [round(schedule(step, config), 2) for step in (0, 9, 10, 60, 110)]
    [0.1, 1.0, 1.0, 0.5, 0.0]
    """
    if step < config.warmup:
        return (step + 1) / config.warmup
    if config.schedule == "step":
        return 0.1 if step >= config.drop_at * config.steps else 1.0
    return 0.5 * (1 + math.cos(math.pi * (step - config.warmup) / max(1, config.steps - config.warmup)))


def _finite(loss: torch.Tensor, step: int, lr: float) -> torch.Tensor:
    if not torch.isfinite(loss):
        raise VGGymError(f"the loss became {float(loss.detach())} at step {step}; lower lr ({lr}) and start again")
    return loss


def _validate(learner: Learner, module: nn.Module) -> dict[str, float]:
    with torch.no_grad():
        return learner.validate(copy.deepcopy(module).eval())


def _write(writer: SummaryWriter, kind: str, figures: dict[str, float], step: int) -> None:
    with writing(writer.log_dir):
        for name, value in figures.items():
            writer.add_scalar(f"{kind}/{name}", value, step)


def _writer(learner: Learner, config: FitConfig, step: int) -> SummaryWriter:
    """What writes the curves; points beyond the step at which a run goes on, which a killed one left, are removed."""
    with writing(config.out):
        writer = SummaryWriter(config.out, purge_step=step + 1 if step else None)
        describe_run(writer, config, [f"val/{learner.metric}", "loss/total"])
    return writer
