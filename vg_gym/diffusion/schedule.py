"""Noise schedules in double precision, boxes as signals, and the three targets that a denoiser can predict.

Linear (Ho et al., DDPM, NeurIPS 2020) and cosine (Nichol & Dhariwal, Improved DDPM, ICML 2021) schedules, the scaling
of boxes of DiffusionDet (Chen et al., ICCV 2023), x0 / epsilon / v targets (Salimans & Ho, ICLR 2022).

The schedulers of ``diffusers`` (0.42) are not used, for these reasons. They keep ``alphas_cumprod`` in single
precision, where ``1 - alpha - sigma ** 2`` of a DDIM step with eta = 1 cancels; their boxes differ by 2e-4 from those
of DiffusionDet's published code, and ours are equal. ``set_timesteps`` spaces times differently (666 for 665 at three
steps) and always starts at the noisiest time, while refinement starts in the middle. ``step`` subtracts a fixed number
to get the next time, which is wrong for uneven times. Only four lines of arithmetic would remain, and the import takes
4 s.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from vg_gym.boxes import from_cxcywh, to_cxcywh
from vg_gym.errors import unknown


def linear_betas(timesteps: int) -> torch.Tensor:
    """Return betas from 1e-4 to 0.02 at T = 1000, float64 (T,), scaled so that any T ends equally noisy."""
    scale = 1000 / timesteps
    return torch.linspace(scale * 1e-4, scale * 0.02, timesteps, dtype=torch.float64)


def cosine_betas(timesteps: int, offset: float = 0.008) -> torch.Tensor:
    """Return betas of at most 0.999, float64 (T,), whose cumulated alphas fall like a squared cosine."""
    time = torch.linspace(0, timesteps, timesteps + 1, dtype=torch.float64) / timesteps
    alphas_cumprod = torch.cos((time + offset) / (1 + offset) * math.pi * 0.5) ** 2
    alphas_cumprod = alphas_cumprod / alphas_cumprod[0]
    return (1 - alphas_cumprod[1:] / alphas_cumprod[:-1]).clip(0, 0.999)


BETAS: dict[str, Callable[[int], torch.Tensor]] = {"linear": linear_betas, "cosine": cosine_betas}
TARGETS = ("x0", "epsilon", "v")


def tables(betas: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return the tables derived from betas (T,), each float64 (T,), under the names of the published code."""
    cumprod = (1 - betas).cumprod(0)
    return {
        "betas": betas,
        "alphas_cumprod": cumprod,
        "sqrt_alphas_cumprod": cumprod.sqrt(),
        "sqrt_one_minus_alphas_cumprod": (1 - cumprod).sqrt(),
        "sqrt_recip_alphas_cumprod": (1 / cumprod).sqrt(),
        "sqrt_recipm1_alphas_cumprod": (1 / cumprod - 1).sqrt(),
    }


class Schedule:
    """Noise schedule and the scale of the signal.

    It is not a torch module, because buffers would be saved with the weights and converted to half precision.

    Args:
        kind: ``linear`` or ``cosine``.
        timesteps: number T of training steps.
        scale: boxes become signals in [-scale, scale]; the larger the scale, the less the same noise hides.

    Raises:
        VGGymError: the kind is unknown.
    """

    def __init__(self, kind: str = "cosine", timesteps: int = 1000, scale: float = 2.0):
        if kind not in BETAS:
            raise unknown("noise schedule", kind, BETAS)
        self.timesteps, self.scale = timesteps, scale
        self.tables = tables(BETAS[kind](timesteps))

    def alpha(self, t: int) -> float:
        """Return the cumulated alpha of a time in [-1, T); at -1 it is 1, which means no noise."""
        return 1.0 if t < 0 else float(self.tables["alphas_cumprod"][t])

    def rows(self, name: str, t: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        """Return rows ``t`` (N,) of a table, float64, in a shape that multiplies ``like`` (N, ..., 4)."""
        return self.tables[name].to(like.device)[t].view(-1, *[1] * (like.ndim - 1))

    def add_noise(self, x0: torch.Tensor, noise: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """Return x_t, float64 (N, ..., 4): signals ``x0`` with noise (both (N, ..., 4)) at times ``t`` (N,)."""
        keep = self.rows("sqrt_alphas_cumprod", t, x0)
        return keep * x0 + self.rows("sqrt_one_minus_alphas_cumprod", t, x0) * noise

    def noise_of(self, x_t: torch.Tensor, x0: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """Return the noise that turns ``x0`` into ``x_t``, float64 (N, ..., 4)."""
        grown = self.rows("sqrt_recip_alphas_cumprod", t, x_t) * x_t
        return (grown - x0) / self.rows("sqrt_recipm1_alphas_cumprod", t, x_t)

    def target(self, kind: str, x0: torch.Tensor, noise: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """Return the prediction target of a denoiser, (N, ..., 4).

        Args:
            kind: ``x0``, ``epsilon`` or ``v``.
            x0: clean signals, (N, ..., 4).
            noise: standard normal noise, (N, ..., 4).
            t: times, (N,).

        Raises:
            VGGymError: the kind is unknown.
        """
        if kind == "x0":
            return x0
        if kind == "epsilon":
            return noise
        if kind == "v":
            lost = self.rows("sqrt_one_minus_alphas_cumprod", t, x0)
            return self.rows("sqrt_alphas_cumprod", t, x0) * noise - lost * x0
        raise unknown("target", kind, TARGETS)

    def x0_from(self, kind: str, prediction: torch.Tensor, x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """Return the signal that follows from a prediction, float64 (N, ..., 4), not clamped.

        At the noisiest times ``epsilon`` divides by almost zero, so that x0 lies at an end of the scale once clamped.

        Args:
            kind: prediction target: ``x0``, ``epsilon`` or ``v``.
            prediction: output of the network, (N, ..., 4).
            x_t: noisy signals, (N, ..., 4).
            t: times, (N,).

        Raises:
            VGGymError: the kind is unknown.
        """
        if kind == "x0":
            return prediction.double()
        if kind == "epsilon":
            grown = self.rows("sqrt_recip_alphas_cumprod", t, x_t) * x_t
            return grown - self.rows("sqrt_recipm1_alphas_cumprod", t, x_t) * prediction
        if kind == "v":
            lost = self.rows("sqrt_one_minus_alphas_cumprod", t, x_t)
            return self.rows("sqrt_alphas_cumprod", t, x_t) * x_t - lost * prediction
        raise unknown("target", kind, TARGETS)

    def times(self, steps: int, first: int | None = None) -> list[int]:
        """Return the falling times of a sampler: ``steps`` + 1 evenly spaced integers, of which the last is -1.

        Args:
            steps: number of steps.
            first: first time; by default T - 1, pure noise.
        """
        first = self.timesteps - 1 if first is None else first
        times = torch.linspace(-1, first, steps + 1).int().tolist()
        return list(dict.fromkeys(reversed(times)))  # with more steps than times, each time occurs once

    def to_signal(self, boxes: torch.Tensor) -> torch.Tensor:
        """Convert normalised ``xyxy`` boxes (..., 4) to centre and size in [-scale, scale]."""
        return ((to_cxcywh(boxes) * 2 - 1) * self.scale).clamp(-self.scale, self.scale)

    def to_boxes(self, signal: torch.Tensor) -> torch.Tensor:
        """Convert signals (..., 4), clamped to the scale, to normalised ``xyxy`` boxes, which may leave the image."""
        return from_cxcywh((signal.clamp(-self.scale, self.scale) / self.scale + 1) / 2)
