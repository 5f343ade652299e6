"""What the training loop trains: a module with its batches, losses and judgement."""

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
    """A module and everything :func:`vg_gym.fitting.loop.fit` must know to train it."""

    module: nn.Module
    metric: ClassVar[str]
    """The figure of :meth:`validate` that chooses the best weights (more is better)."""
    made_of: Mapping[str, str] = MappingProxyType({})
    """What a run that goes on must find again: a name and a hash each (:mod:`vg_gym.fitting.origin`)."""

    @abstractmethod
    def batch(self, step: int) -> Any:
        """Batch number ``step``: a pure function of it, so that a resumed run sees the same ones."""

    @abstractmethod
    def losses(self, batch: Any) -> dict[str, torch.Tensor]:
        """Weighted terms of the loss of :attr:`module`; their sum is minimised."""

    @abstractmethod
    def validate(self, module: nn.Module) -> dict[str, float]:
        """Figures of a copy of :attr:`module` in eval mode."""

    @abstractmethod
    def save(self, module: nn.Module, folder: Path) -> None:
        """Write a trained copy of :attr:`module` into an existing folder, in the form that its users load."""

    def groups(self, config: FitConfig) -> list[dict[str, Any]]:
        """Parameter groups; ``lr`` in a group is a peak of its own."""
        return decay_groups(self.module, config.weight_decay)

    def after_step(self) -> None:  # noqa: B027
        """Runs after every optimiser step, e.g. to keep a parameter within bounds."""


class Objective(nn.Module):
    """The loss as a module's forward, which is where gradients are averaged over processes."""

    def __init__(self, learner: Learner):
        super().__init__()
        self.module, self._losses = learner.module, learner.losses

    def forward(self, batch: Any) -> dict[str, torch.Tensor]:
        """The learner's losses."""
        return self._losses(batch)


def decay_groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Parameter groups with decay on matrices only, not on biases, norms and scales.

    >>> [(len(group["params"]), group["weight_decay"]) for group in decay_groups(nn.Linear(2, 3), 0.1)]
    [(1, 0.1), (1, 0.0)]
    """
    trained = [p for p in module.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
