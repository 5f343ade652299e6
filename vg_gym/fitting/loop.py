"""One training loop: what detectors, learned grounders and box diffusion share.

A learner says what its loss is and how it is judged; :func:`fit` gives the rest: warm-up and cosine schedule, gradient
clipping, moving average of the weights, mixed precision, TensorBoard, progress, the best checkpoint, resuming, Ctrl-C.
"""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from vg_gym.devices import pick_device
from vg_gym.errors import VGGymError
from vg_gym.storage.files import replacing, write_json


@dataclass
class FitConfig:
    """Options of the loop, shared by every training config."""

    out: str = "runs/fit"
    """Folder for checkpoints, TensorBoard logs and the finished model."""
    steps: int = 2000
    """Optimiser steps."""
    batch_size: int = 32
    """Examples per step, in each process."""
    lr: float = 1e-3
    """Peak learning rate."""
    weight_decay: float = 0.05
    """Of AdamW, on matrices only."""
    warmup: int = 200
    """Steps of linear warm-up."""
    schedule: str = "cosine"
    """What follows: ``cosine``, half a wave down to zero, or ``step``, a tenth from ``drop_at`` on."""
    drop_at: float = 0.67
    """Where the step is, as a share of ``steps``."""
    clip_grad: float = 1.0
    """Greatest norm of the gradient."""
    ema: float = 0.999
    """Decay of the moving average of the weights, which is what is validated and saved (0: none)."""
    amp: bool = False
    """bfloat16 autocast."""
    validate_every: int = 500
    """Steps between validations; each writes a checkpoint."""
    seed: int = 0
    device: str = "auto"
    threads: int = 0
    """CPU threads (0: torch's default)."""
    workers: int = 1
    """Processes that prepare batches (0: prepare them between the steps)."""
    resume: bool = False
    """Go on from ``OUT/checkpoint.pt``."""


class Learner(Protocol):
    """What :func:`fit` trains."""

    module: nn.Module
    metric: str
    """The figure of :meth:`validate` that chooses the best weights (more is better)."""

    def batch(self, step: int) -> Any:
        """The batch of a step: a pure function of it, so that a resumed run sees the same ones."""
        ...

    def losses(self, batch: Any) -> dict[str, torch.Tensor]:
        """Weighted terms of the loss of ``module``; their sum is minimised."""
        ...

    def groups(self, config: Any) -> list[dict[str, Any]]:
        """Parameter groups; ``lr`` in a group is a peak of its own."""
        ...

    def validate(self, module: nn.Module) -> dict[str, float]:
        """Figures of a copy of ``module`` in eval mode."""
        ...


def decay_groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Parameter groups with decay on matrices only."""
    trained = [p for p in module.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]


def schedule(step: int, warmup: int, steps: int, kind: str = "cosine", drop_at: float = 0.67) -> float:
    """Factor in [0, 1] of the learning rate: linear warm-up, then a half cosine to zero or a step to a tenth."""
    if step < warmup:
        return (step + 1) / warmup
    if kind == "step":
        return 0.1 if step >= drop_at * steps else 1.0
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def is_first_process() -> bool:
    """Whether this process is the only one, or the first of ``accelerate launch``: the one that writes."""
    return int(os.environ.get("RANK", "0")) == 0


class Processes:
    """The processes that train one module: one, or those of ``accelerate launch`` with gradients averaged over them.

    Raises:
        VGGymError: several processes without accelerate.
    """

    def __init__(self, device: str):
        self.rank, self.size, self.device = 0, 1, torch.device(pick_device(device))
        self._accelerator: Any = None
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            try:
                from accelerate import Accelerator, DistributedDataParallelKwargs
            except ImportError as error:
                raise VGGymError("training in several processes needs accelerate: pip install accelerate") from error
            unused = DistributedDataParallelKwargs(find_unused_parameters=True)
            self._accelerator = Accelerator(cpu=device == "cpu", kwargs_handlers=[unused])
            self.rank, self.size = self._accelerator.process_index, self._accelerator.num_processes
            self.device = self._accelerator.device

    @property
    def first(self) -> bool:
        """Whether this process validates, writes and shows progress."""
        return self.rank == 0

    def share(self, module: nn.Module) -> nn.Module:
        """The module with gradients averaged over processes."""
        return self._accelerator.prepare(module) if self._accelerator else module

    def wait(self) -> None:
        """Wait for the others."""
        if self._accelerator:
            self._accelerator.wait_for_everyone()


class _Objective(nn.Module):
    """The loss as a module's forward, which is where gradients are averaged over processes."""

    def __init__(self, learner: Learner):
        super().__init__()
        self.module, self._losses = learner.module, learner.losses

    def forward(self, batch: Any) -> dict[str, torch.Tensor]:
        return self._losses(batch)


class _Run:
    """The state of one training run: weights, their average, optimiser, step, best figure."""

    def __init__(self, learner: Learner, config: FitConfig):
        if config.schedule not in ("cosine", "step"):
            raise VGGymError(f"unknown schedule {config.schedule!r}; known: cosine, step")
        self.learner, self.config, self.out = learner, config, Path(config.out)
        self.processes = Processes(config.device)
        self.device = self.processes.device
        self.module = learner.module.to(self.device)
        self.objective = self.processes.share(_Objective(learner))
        self.optimizer = torch.optim.AdamW(learner.groups(config), lr=config.lr)
        self.peaks = [group["lr"] for group in self.optimizer.param_groups]
        self.average = copy.deepcopy(self.module).eval() if config.ema else self.module
        self.step, self.best = 0, -math.inf

    def update(self, batch: Any) -> dict[str, float]:
        """One optimiser step; the losses, by name."""
        c = self.config
        factor = schedule(self.step, c.warmup, c.steps, c.schedule, c.drop_at)
        for group, peak in zip(self.optimizer.param_groups, self.peaks, strict=True):
            group["lr"] = peak * factor
        self.module.train()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=c.amp):
            losses = self.objective(batch)
        total = torch.stack(list(losses.values())).sum()
        if not torch.isfinite(total):
            raise VGGymError(
                f"the loss became {float(total.detach())} at step {self.step}; lower lr ({c.lr}) and start again"
            )
        total.backward()
        torch.nn.utils.clip_grad_norm_(self.module.parameters(), c.clip_grad)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self._update_average()
        return {"total": float(total.detach()), **{k: float(v.detach()) for k, v in losses.items()}}

    @torch.no_grad()
    def _update_average(self) -> None:
        if self.average is self.module:
            return
        decay = min(self.config.ema, (1 + self.step) / (10 + self.step))  # a young average forgets its random start
        for mean, now in zip(self.average.state_dict().values(), self.module.state_dict().values(), strict=True):
            if mean.dtype.is_floating_point:
                mean.lerp_(now, 1 - decay)
            else:
                mean.copy_(now)

    def save(self) -> None:
        """Write the checkpoint, by way of a temporary name."""
        state = {
            "module": self.module.state_dict(),
            "average": self.average.state_dict() if self.config.ema else {},
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "best": self.best,
        }
        with replacing(self.out / "checkpoint.pt") as part:
            torch.save(state, part)

    def restore(self) -> None:
        """Read the checkpoint back.

        Raises:
            VGGymError: there is none, or it is of another model.
        """
        path = self.out / "checkpoint.pt"
        if not path.is_file():
            raise VGGymError(f"nothing to resume: no {path}; leave resume out, or name the run with out=")
        state = torch.load(path, map_location=self.device, weights_only=True)
        try:
            self.module.load_state_dict(state["module"])
            if self.config.ema:
                self.average.load_state_dict(state["average"])
            self.optimizer.load_state_dict(state["optimizer"])
        except (RuntimeError, ValueError, KeyError) as error:
            raise VGGymError(f"{path} is of another model: {str(error).splitlines()[0]}; use another out=") from error
        self.step, self.best = int(state["step"]), float(state["best"])

    def validate(self, writer: SummaryWriter) -> None:
        """Judge the averaged weights; keep them as ``best.safetensors`` if they are the best so far."""
        judged = copy.deepcopy(self.average).eval()
        with torch.no_grad():
            figures = self.learner.validate(judged)
        for name, value in figures.items():
            writer.add_scalar(f"val/{name}", value, self.step)
        tqdm.write(f"val step {self.step}  " + "  ".join(f"{k} {v:.4f}" for k, v in figures.items()))
        if figures[self.learner.metric] >= self.best:
            self.best = figures[self.learner.metric]
            weights = {k: v.clone() for k, v in self.average.state_dict().items()}  # clones: tied weights are allowed
            with replacing(self.out / "best.safetensors") as part:
                save_file(weights, part)
            write_json(self.out / "report.json", {"step": self.step, **figures})


def fit(learner: Learner, config: FitConfig) -> nn.Module:
    """Train, and return the module with the weights that validated best, in eval mode.

    Args:
        learner: model, loss and judgement.
        config: options; ``OUT/checkpoint.pt`` is written at every validation and at Ctrl-C, ``OUT/best.safetensors``
            and ``OUT/report.json`` whenever validation improves.

    Raises:
        VGGymError: interrupted (the message says how to go on), nothing to resume, or the loss diverged.
    """
    if config.threads:
        torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    run = _Run(learner, config)
    run.out.mkdir(parents=True, exist_ok=True)
    if config.resume:
        run.restore()
    writer = SummaryWriter(str(run.out)) if run.processes.first else None
    try:
        _loop(run, writer)
    except KeyboardInterrupt:
        if run.processes.first:
            run.save()
        raise VGGymError(f"interrupted at step {run.step}; go on with: resume=true out={run.out}") from None
    finally:
        if writer:
            writer.close()
    run.average.load_state_dict(load_file(run.out / "best.safetensors"))
    return run.average.eval()


def _loop(run: _Run, writer: SummaryWriter | None) -> None:
    config, each = run.config, run.processes
    mine = range(run.step * each.size + each.rank, config.steps * each.size, each.size)
    batches = _batches(run.learner, mine, config.workers)
    bar = tqdm(
        total=config.steps, initial=run.step, desc=run.out.name, unit="step", mininterval=2, disable=not each.first
    )
    while run.step < config.steps:
        losses = run.update(next(batches))
        bar.update()
        if run.step % 20 == 0 and writer:
            bar.set_postfix({k: f"{v:.3f}" for k, v in losses.items()}, refresh=False)
            for name, value in losses.items():
                writer.add_scalar(f"loss/{name}", value, run.step)
        if run.step % config.validate_every == 0 or run.step == config.steps:
            if writer:
                run.validate(writer)
                run.save()
            each.wait()
    bar.close()


class _Steps(torch.utils.data.Dataset):
    """The batches of given steps, as torch's loader wants them."""

    def __init__(self, batch: Callable[[int], Any], steps: range):
        self.batch, self.steps = batch, steps

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, index: int) -> Any:
        return self.batch(self.steps[index])


def _batches(learner: Learner, steps: range, workers: int) -> Iterator[Any]:
    if not workers:
        return (learner.batch(step) for step in steps)
    data = _Steps(learner.batch, steps)
    return iter(torch.utils.data.DataLoader(data, batch_size=None, num_workers=workers, worker_init_fn=_one_thread))


def _one_thread(_: int) -> None:
    torch.set_num_threads(1)
