"""Interface of the training loop to a model: its module, batches, losses and validation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import nn

from vg_gym.fitting.config import FitConfig


class Learner(ABC):
    """Module with everything that :func:`vg_gym.fitting.loop.fit` needs to train it."""

    module: nn.Module
    metric: ClassVar[str]
    """Name of the value of :meth:`validate` that selects the best weights (larger is better)."""
    made_of: Mapping[str, str] = MappingProxyType({})
    """Name -> hash of inputs that must be unchanged when a run resumes (:mod:`vg_gym.fitting.origin`)."""

    @abstractmethod
    def batch(self, step: int) -> Any:
        """Return batch number ``step``, a pure function of it, so that a resumed run gets the same batches."""

    @abstractmethod
    def losses(self, batch: Any) -> dict[str, torch.Tensor]:
        """Return the weighted terms of the loss of :attr:`module`, whose sum is minimised."""

    @abstractmethod
    def validate(self, module: nn.Module) -> dict[str, float]:
        """Return validation metrics of a copy of :attr:`module` in eval mode."""

    @abstractmethod
    def save(self, module: nn.Module, folder: Path) -> None:
        """Write a trained copy of :attr:`module` into an existing folder, in the format that its users load."""

    def groups(self, config: FitConfig) -> list[dict[str, Any]]:
        """Return the parameter groups; the entry ``lr`` of a group replaces the peak learning rate for it."""
        return decay_groups(self.module, config.weight_decay)

    def after_step(self) -> None:  # noqa: B027
        """Run after every optimiser step, e.g. to clamp a parameter."""


class Objective(nn.Module):
    """Module whose forward pass is the loss, since gradients are averaged over processes there."""

    def __init__(self, learner: Learner):
        super().__init__()
        self.module, self._losses = learner.module, learner.losses

    def forward(self, batch: Any) -> dict[str, torch.Tensor]:
        """Return the learner's losses."""
        return self._losses(batch)


def decay_groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Return parameter groups with weight decay on matrices only, not on biases, norms and scales.

    >>> [(len(group["params"]), group["weight_decay"]) for group in decay_groups(nn.Linear(2, 3), 0.1)]
    [(1, 0.1), (1, 0.0)]
    """
    trained = [p for p in module.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
