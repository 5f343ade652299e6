"""Interface of the two denoisers, and the loss of the confidence."""

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
    """Output of a denoiser for P noisy boxes of N expressions."""

    boxes: torch.Tensor
    """(N, P, 4), normalised ``xyxy``."""
    signal: torch.Tensor
    """The boxes as signals x_0, (N, P, 4)."""
    prediction: torch.Tensor
    """Network output that the loss compares with the target, (N, P, 4)."""
    logits: torch.Tensor
    """Logits of the IoU of each box with the true one, (N, P)."""


class Denoiser(nn.Module, ABC):
    """Network that encodes an image once and a query once, and denoises boxes in every step of a sampler.

    Args:
        o: sizes of the network.
        clip: frozen CLIP that encodes images and expressions.
        schedule: noise schedule.
    """

    def __init__(self, o: BoxDiffusionOptions, clip: FrozenClip, schedule: Schedule):
        super().__init__()
        self.clip, self.schedule = clip, schedule

    @abstractmethod
    def frozen_image_features(self, images: torch.Tensor) -> torch.Tensor:
        """Return the frozen features (B, K) of normalised images (B, 3, S, S)."""

    @abstractmethod
    def encode_image(self, features: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Encode the output of :meth:`frozen_image_features` (B, K) to tensors with B rows."""

    @abstractmethod
    def encode_query(
        self, images: tuple[torch.Tensor, ...], image_of: torch.Tensor, texts: TextFeatures, dropped: torch.Tensor
    ) -> Any:
        """Encode queries for :meth:`forward`.

        Args:
            images: output of :meth:`encode_image`.
            image_of: row of the image of each expression, (N,).
            texts: features of N expressions.
            dropped: expressions that are withheld, bool (N,).
        """

    @abstractmethod
    def forward(self, query: Any, x_t: torch.Tensor, t: torch.Tensor, previous: torch.Tensor) -> list[Estimate]:
        """Denoise signals.

        Args:
            query: output of :meth:`encode_query`.
            x_t: noisy signals, (N, P, 4).
            t: times of the signals, (N,).
            previous: last estimate of x_0, (N, P, 4); zeros in the first step.

        Returns:
            Estimates. Each corrects the one before it, and the last one is the answer.
        """

    @abstractmethod
    def losses(
        self, estimates: list[Estimate], truth: torch.Tensor, noise: torch.Tensor, t: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Return the weighted losses of estimates.

        Args:
            estimates: output of :meth:`forward`.
            truth: true boxes, normalised ``xyxy`` (N, 4).
            noise: noise that was added to the signals, (N, P, 4).
            t: times, (N,).
        """


def confidence_loss(estimate: Estimate, iou: torch.Tensor) -> torch.Tensor:
    """Return the binary cross-entropy of the confidence with the IoU (N, P) of its box."""
    return F.binary_cross_entropy_with_logits(estimate.logits, iou.detach().clamp(0, 1))
