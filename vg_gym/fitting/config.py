"""Options of the training loop."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from vg_gym.config import (
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Processes,
    Range,
    Seed,
    UnitInterval,
)

Decay = Annotated[float, Range(ge=0, lt=1)]


@dataclass
class FitConfig:
    """Options of :func:`vg_gym.fitting.loop.fit`, shared by every training config."""

    TRAINS: ClassVar[str] = ""
    """``vg-gym train TRAINS`` runs it; empty where no command does."""
    MAY_CHANGE: ClassVar[tuple[str, ...]] = (
        "steps", "lr", "validate_every", "device", "threads", "workers", "root",
    )  # fmt: skip
    """Options that a run may go on with other values of."""

    out: str = "runs/fit"
    """Folder for checkpoints, TensorBoard logs and the finished model."""
    steps: PositiveInt = 2000
    """Optimiser steps."""
    batch_size: PositiveInt = 32
    """Examples per forward pass, in each process."""
    accumulate: PositiveInt = 1
    """Forward passes per optimiser step; their gradients are averaged."""
    lr: NonNegativeFloat = 1e-3
    """Peak learning rate."""
    betas: tuple[Decay, Decay] = (0.9, 0.999)
    """Decay of AdamW's running means of the gradient and of its square."""
    weight_decay: NonNegativeFloat = 0.05
    """Weight decay of AdamW, on matrices only."""
    warmup: NonNegativeInt = 200
    """Steps of linear warm-up."""
    schedule: str = "cosine"
    """What follows the warm-up: ``cosine``, half a wave down to zero, or ``step``, a tenth from ``drop_at`` on."""
    drop_at: UnitInterval = 0.67
    """Where the rate of ``schedule=step`` drops, as a share of ``steps``."""
    clip_grad: PositiveFloat = 1.0
    """Greatest norm of the gradient."""
    ema: Decay = 0.999
    """Decay of the moving average of the weights, which is what is validated and saved (0: no average)."""
    amp: bool | None = False
    """Mixed precision: bfloat16 autocast. None: where the device computes bfloat16 itself; a CPU that emulates it takes
    ten times as long."""
    validate_every: PositiveInt = 500
    """Steps between validations; each writes a checkpoint."""
    seed: Seed = 0
    """Seed of the initial weights, the batches and dropout."""
    device: str = "auto"
    """Torch device; ``auto`` takes CUDA where there is one."""
    threads: Processes = 0
    """CPU threads (0: torch's default)."""
    workers: Processes = 1
    """Processes that prepare batches (0: prepare them between the steps)."""
    resume: bool = False
    """Go on with the run in ``out``: weights, moments and step come from ``OUT/checkpoint.pt``, options from
    ``OUT/config.yaml``. ``steps``, ``lr``, ``validate_every``, ``device``, ``threads``, ``workers`` and ``root`` may be
    others."""
    fresh: bool = False
    """Throw away what another run left in ``out``; without this or ``resume``, such a folder is refused."""

    def completed(self) -> Self:
        """The options with those that follow from others."""
        return self

    def folder(self) -> Path:
        """Where the run is."""
        return Path(self.out)


@dataclass
class DatasetFitConfig(FitConfig):
    """Options of training on a data set of the registry."""

    dataset: str = "refshapes"
    """Name of the data set; its ``train`` split is learned from."""
    root: str | None = None
    """Folder of a data set that is on disk."""
    dataset_options: dict[str, Any] = field(default_factory=dict)
    """Options of the training split, e.g. ``scenes`` of RefShapes."""
    plugins: str = ""
    """Modules, with commas between, that register data sets, grounders or proposers."""
    validate_split: str = "val"
    """The split that validates."""
