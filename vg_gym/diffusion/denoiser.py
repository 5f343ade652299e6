"""What the two denoisers share: their interface, and the loss of the confidence."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from vg_gym.diffusion.options import BoxDiffusionOptions
from vg_gym.diffusion.schedule import Schedule
from vg_gym.learned.frozen_clip import FrozenClip, TextFeatures


@dataclass(frozen=True)
class Estimate:
    """A denoiser's answer to P noisy boxes of N expressions."""

    boxes: torch.Tensor
    """(N, P, 4), normalised ``xyxy``."""
    signal: torch.Tensor
    """(N, P, 4), the same as x_0."""
    prediction: torch.Tensor
    """(N, P, 4), what the target is compared with."""
    logits: torch.Tensor
    """(N, P), of the boxes' IoU with the answer."""


class Denoiser(nn.Module, ABC):
    """A network that encodes an image once, a query once, and denoises boxes at every step of a sampler.

    Args:
        o: sizes.
        clip: what it is conditioned on.
        schedule: of the noise.
    """

    def __init__(self, o: BoxDiffusionOptions, clip: FrozenClip, schedule: Schedule):
        super().__init__()
        self.clip, self.schedule = clip, schedule

    @abstractmethod
    def frozen_image_features(self, images: torch.Tensor) -> torch.Tensor:
        """Features (B, K) of normalised images (B, 3, S, S) that no training changes."""

    @abstractmethod
    def encode_image(self, features: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Encoded images, tensors with B rows, of :meth:`frozen_image_features` (B, K)."""

    @abstractmethod
    def encode_query(
        self, images: tuple[torch.Tensor, ...], image_of: torch.Tensor, texts: TextFeatures, dropped: torch.Tensor
    ) -> Any:
        """Encoded queries, for :meth:`forward`.

        Args:
            images: of :meth:`encode_image`.
            image_of: (N,), the image of each expression.
            texts: N expressions.
            dropped: (N,) bool, expressions that are withheld.
        """

    @abstractmethod
    def forward(self, query: Any, x_t: torch.Tensor, t: torch.Tensor, previous: torch.Tensor) -> list[Estimate]:
        """Denoise signals.

        Args:
            query: of :meth:`encode_query`.
            x_t: (N, P, 4), noisy signals.
            t: (N,), their times.
            previous: (N, P, 4), the last estimate of x_0, zeros where there is none.

        Returns:
            Estimates, each a correction of the one before; the last one is the answer.
        """

    @abstractmethod
    def losses(
        self, estimates: list[Estimate], truth: torch.Tensor, noise: torch.Tensor, t: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Weighted losses of estimates.

        Args:
            estimates: of :meth:`forward`.
            truth: (N, 4), the answers, normalised ``xyxy``.
            noise: (N, P, 4), what was added to signals.
            t: (N,), times.
        """


def confidence_loss(estimate: Estimate, iou: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy of the confidence with the IoU (N, P) that its box turned out to have."""
    return F.binary_cross_entropy_with_logits(estimate.logits, iou.detach().clamp(0, 1))
