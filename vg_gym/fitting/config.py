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
    """Name of the training in ``vg-gym train TRAINS``; empty for a training without a command."""
    RENAMED: ClassVar[dict[str, str]] = {"lr": "learning_rate"}
    """Names of options in earlier versions and their present names."""
    MAY_CHANGE: ClassVar[tuple[str, ...]] = (
        "steps", "learning_rate", "validate_every", "device", "threads", "workers", "root",
    )  # fmt: skip
    """Options that a resumed run may change."""

    out: str = "runs/fit"
    """Folder for checkpoints, TensorBoard logs and the finished model."""
    steps: PositiveInt = 2000
    """Number of steps of the optimiser."""
    batch_size: PositiveInt = 32
    """Number of examples per forward pass, in each process."""
    accumulate: PositiveInt = 1
    """Number of forward passes per step of the optimiser; their gradients are averaged."""
    learning_rate: NonNegativeFloat = 1e-3
    """Peak learning rate."""
    betas: tuple[Decay, Decay] = (0.9, 0.999)
    """Decay of AdamW's running means of the gradient and of its square."""
    weight_decay: NonNegativeFloat = 0.05
    """Weight decay of AdamW, on matrices only."""
    warmup: NonNegativeInt = 200
    """Number of steps of the linear warm-up."""
    schedule: str = "cosine"
    """Learning rate after the warm-up: ``cosine`` (a half cosine to zero) or ``step`` (a tenth from ``drop_at`` on)."""
    drop_at: UnitInterval = 0.67
    """Share of ``steps`` after which the learning rate of ``schedule=step`` drops."""
    clip_grad: PositiveFloat = 1.0
    """Maximum norm of the gradient."""
    ema: Decay = 0.999
    """Decay of the moving average of the weights, which is validated and saved (0: no average)."""
    amp: bool | None = False
    """Mixed precision by bfloat16 autocast. ``null``: only on devices with bfloat16 instructions; a CPU that emulates
    bfloat16 takes ten times as long."""
    validate_every: PositiveInt = 500
    """Number of steps between validations; each writes a checkpoint."""
    seed: Seed = 0
    """Seed of the initial weights, the batches and dropout."""
    device: str = "auto"
    """Torch device; ``auto`` is CUDA if available."""
    threads: Processes = 0
    """Number of CPU threads (0: torch's default)."""
    workers: Processes = 1
    """Number of processes that prepare batches (0: prepare batches between the steps)."""
    resume: bool = False
    """Resume the run in ``out``: weights, moments and step come from ``OUT/checkpoint.pt``, options from
    ``OUT/config.yaml``. ``steps``, ``learning_rate``, ``validate_every``, ``device``, ``threads``, ``workers`` and
    ``root`` may change."""
    fresh: bool = False
    """Delete the results of another run in ``out``; without this or ``resume``, such a folder is an error."""

    def completed(self) -> Self:
        """Return the options, with defaults that depend on other options filled in."""
        return self

    def folder(self) -> Path:
        """Return the folder of the run."""
        return Path(self.out)


@dataclass
class DatasetFitConfig(FitConfig):
    """Options of training on a data set of the registry."""

    dataset: str = "refshapes"
    """Name of the data set, whose ``train`` split is used for training."""
    root: str | None = None
    """Folder of a data set on disk."""
    dataset_options: dict[str, Any] = field(default_factory=dict)
    """Options of the training split, e.g. ``scenes`` of RefShapes."""
    plugins: str = ""
    """Modules, separated by commas, that register data sets, grounders or proposers."""
    validate_split: str = "val"
    """Split for validation."""
