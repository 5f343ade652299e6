"""Samplers of boxes: DDIM with eta, DDPM, as one loop over a function that denoises.

DDPM (Ho et al., NeurIPS 2020) takes the mean and variance of q(x_s | x_t, x_0); on fewer times than it was trained on,
those of the shortened chain (Nichol & Dhariwal, ICML 2021). DDIM (Song et al., ICLR 2021) with eta = 1 is the same
thing, which the tests check, and with eta = 0 moves without new noise. Box renewal and the order of operations are
those of DiffusionDet (Chen et al., ICCV 2023), whose published code does one image at a time; here rows are queries,
each with noise of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch

from vg_gym.diffusion.schedule import Schedule

Denoise = Callable[[torch.Tensor, int, torch.Tensor | None], tuple[torch.Tensor, torch.Tensor]]
"""(x_t (N, P, 4), time, last estimate of x_0 or None) to x_0 (N, P, 4) as signals, confidence (N, P) in [0, 1]."""

Draw = Callable[[], torch.Tensor]
"""Standard normal noise (N, P, 4), new at every call."""


@dataclass
class Trace:
    """The steps of a sampler, in order."""

    noisy: list[torch.Tensor] = field(default_factory=list)
    """x_t (N, P, 4)."""
    signals: list[torch.Tensor] = field(default_factory=list)
    """Estimates of x_0 (N, P, 4)."""
    confidences: list[torch.Tensor] = field(default_factory=list)
    """(N, P)."""


def ddim_step(
    schedule: Schedule, x: torch.Tensor, x0: torch.Tensor, t: int, following: int, noise: torch.Tensor, eta: float
) -> torch.Tensor:
    """Signals (N, P, 4) at the ``following`` time.

    The noise in x is computed anew from the estimate, which has been clamped.

    Args:
        schedule: of the noise.
        x: (N, P, 4), noisy signals.
        x0: (N, P, 4), their clean estimate.
        t: the time of ``x``.
        following: the time to go to.
        noise: (N, P, 4).
        eta: 0 adds no noise, 1 as much as DDPM.
    """
    now, then = schedule.alpha(t), schedule.alpha(following)
    sigma = eta * ((1 - now / then) * (1 - then) / (1 - now)) ** 0.5
    direction = max(1 - then - sigma**2, 0.0) ** 0.5
    epsilon = schedule.noise_of(x, x0, torch.full((len(x),), t, device=x.device))
    return x0 * then**0.5 + direction * epsilon + sigma * noise


def ddpm_step(
    schedule: Schedule, x: torch.Tensor, x0: torch.Tensor, t: int, following: int, noise: torch.Tensor
) -> torch.Tensor:
    """Signals (N, P, 4) at the ``following`` time, a sample of q(x at that time | x at ``t``, x_0).

    Args:
        schedule: of the noise.
        x: (N, P, 4), noisy signals.
        x0: (N, P, 4), their clean estimate.
        t: the time of ``x``.
        following: the time to go to.
        noise: (N, P, 4).
    """
    now, then = schedule.alpha(t), schedule.alpha(following)
    alpha = now / then
    variance = (1 - alpha) * (1 - then) / (1 - now)
    mean = then**0.5 * (1 - alpha) / (1 - now) * x0 + alpha**0.5 * (1 - then) / (1 - now) * x
    return mean + variance**0.5 * noise


def sample(
    denoise: Denoise,
    x: torch.Tensor,
    times: Sequence[int],
    schedule: Schedule,
    draw: Draw,
    sampler: str = "ddim",
    eta: float = 1.0,
    renewal: float = 0.0,
) -> Trace:
    """Denoise boxes, step by step.

    Args:
        denoise: the denoiser.
        x: (N, P, 4), noisy signals at the first of the ``times``.
        times: falling, the last -1.
        schedule: of the noise.
        draw: noise; called once a step but the last, and once more where boxes are renewed.
        sampler: ``ddim`` or ``ddpm``.
        eta: of DDIM: 0 adds no noise, 1 as much as DDPM.
        renewal: boxes of no more confidence than this become noise anew between steps, behind the others (0: none).
    """
    trace, previous = Trace(), None
    for t, following in pairwise(times):
        x0, confidence = denoise(x, t, previous)
        x0 = x0.clamp(-schedule.scale, schedule.scale)
        trace.noisy.append(x)
        trace.signals.append(x0)
        trace.confidences.append(confidence)
        if following < 0:
            break
        kept = None
        if renewal > 0:
            kept, order = (confidence > renewal).sort(dim=1, descending=True, stable=True)
            x, x0 = (v.gather(1, order[..., None].expand_as(v)) for v in (x, x0))
        noise = draw()
        if sampler == "ddim":
            x = ddim_step(schedule, x, x0, t, following, noise, eta)
        else:
            x = ddpm_step(schedule, x, x0, t, following, noise)
        previous = x0
        if kept is not None:
            x = torch.where(kept[..., None], x, draw())
            previous = torch.where(kept[..., None], previous, 0.0)
    return trace


def seeded_draw(seeds: Sequence[Sequence[int]], boxes: int, device: torch.device | str = "cpu") -> Draw:
    """Noise that depends, row by row, on the row's own seed and not on its neighbours.

    Args:
        seeds: N seeds, each some non-negative integers.
        boxes: P; the first boxes of a draw are the same whatever P is at the first call only.
        device: where the noise is wanted; it is drawn on the CPU, so that it is the same on all.
    """
    generators = [np.random.default_rng(list(seed)) for seed in seeds]

    def draw() -> torch.Tensor:
        noise = np.stack([generator.standard_normal((boxes, 4)) for generator in generators])
        return torch.from_numpy(noise).to(device)

    return draw
