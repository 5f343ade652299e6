"""What the two denoisers share: their interface, the confidence, the losses."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from vg_gym.diffusion.options import BoxDiffusionOptions
from vg_gym.diffusion.schedule import Schedule
from vg_gym.learned.frozen_clip import FrozenClip, Words


@dataclass(frozen=True)
class Estimate:
    """A denoiser's answer to P noisy boxes of N expressions.

    ``boxes`` (N, P, 4) normalised ``xyxy``; ``signal`` (N, P, 4), the same as x_0; ``said`` (N, P, 4), what the target
    is compared with; ``logits`` (N, P), of the boxes' IoU with the answer.
    """

    boxes: torch.Tensor
    signal: torch.Tensor
    said: torch.Tensor
    logits: torch.Tensor


class Denoiser(nn.Module, ABC):
    """A network that sees a picture once, looks at an expression once, and at noisy boxes at every step of a sampler.

    Args:
        o: sizes.
        clip: what it is conditioned on.
        schedule: of the noise.
    """

    def __init__(self, o: BoxDiffusionOptions, clip: FrozenClip, schedule: Schedule):
        super().__init__()
        self.clip, self.schedule = clip, schedule

    @abstractmethod
    def observe(self, images: torch.Tensor) -> torch.Tensor:
        """What of normalised pictures (B, 3, S, S) no training changes, (B, K)."""

    @abstractmethod
    def see(self, observed: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """What :meth:`look` wants to know of B pictures, of what was observed of them (B, K): tensors with B rows."""

    @abstractmethod
    def look(
        self, pictures: tuple[torch.Tensor, ...], image_of: torch.Tensor, words: Words, dropped: torch.Tensor
    ) -> Any:
        """What :meth:`forward` wants to know of N expressions.

        Args:
            pictures: of :meth:`see`.
            image_of: (N,), the picture of each expression.
            words: N expressions.
            dropped: (N,) bool, expressions that are withheld.
        """

    @abstractmethod
    def forward(self, seen: Any, x_t: torch.Tensor, t: torch.Tensor, previous: torch.Tensor) -> list[Estimate]:
        """Denoise signals.

        Args:
            seen: of :meth:`look`.
            x_t: (N, P, 4), noisy signals.
            t: (N,), their times.
            previous: (N, P, 4), the last estimate of x_0, zeros where there is none.

        Returns:
            Estimates, each a correction of the one before; the last one is the answer.
        """

    @abstractmethod
    def losses(
        self, found: list[Estimate], truth: torch.Tensor, noise: torch.Tensor, t: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Weighted losses of estimates.

        Args:
            found: of :meth:`forward`.
            truth: (N, 4), the answers, normalised ``xyxy``.
            noise: (N, P, 4), what was added to signals.
            t: (N,), times.
        """


def confidence_loss(found: Estimate, iou: torch.Tensor) -> torch.Tensor:
    """Binary cross entropy of the confidence with the IoU (N, P) that its box turned out to have."""
    return F.binary_cross_entropy_with_logits(found.logits, iou.detach().clamp(0, 1))
