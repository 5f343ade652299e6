"""Samplers of boxes: DDIM with eta, and DDPM, in one loop over a denoising function.

DDPM (Ho et al., NeurIPS 2020) takes the mean and variance of q(x_s | x_t, x_0). With fewer steps than in training it
takes those of the shortened chain (Nichol & Dhariwal, ICML 2021). DDIM (Song et al., ICLR 2021) with eta = 1 is equal
to it, which the tests check, and with eta = 0 adds no noise. Box renewal and the order of operations follow
DiffusionDet (Chen et al., ICCV 2023). Its published code handles one image at a time; here rows are queries, each with
its own noise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch

from vg_gym.diffusion.schedule import Schedule

Denoise = Callable[[torch.Tensor, int, torch.Tensor | None], tuple[torch.Tensor, torch.Tensor]]
"""Function of (x_t (N, P, 4), time, last estimate of x_0 or None) that returns signals x_0 (N, P, 4) and confidences
(N, P) in [0, 1]."""

Draw = Callable[[], torch.Tensor]
"""Function that returns new standard normal noise (N, P, 4) at every call."""


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
    """Return signals (N, P, 4) at the ``following`` time.

    The noise in x is computed again from the estimate, because the estimate was clamped.

    Args:
        schedule: noise schedule.
        x: noisy signals, (N, P, 4).
        x0: clean estimate of the signals, (N, P, 4).
        t: time of ``x``.
        following: next time.
        noise: standard normal noise, (N, P, 4).
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
    """Return signals (N, P, 4) at the ``following`` time, a sample of q(x at that time | x at ``t``, x_0).

    Args:
        schedule: noise schedule.
        x: noisy signals, (N, P, 4).
        x0: clean estimate of the signals, (N, P, 4).
        t: time of ``x``.
        following: next time.
        noise: standard normal noise, (N, P, 4).
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
    """Denoise boxes step by step.

    Args:
        denoise: denoising function.
        x: noisy signals at the first of the ``times``, (N, P, 4).
        times: falling times; the last is -1.
        schedule: noise schedule.
        draw: source of noise, called once in each step but the last, and once more if boxes are renewed.
        sampler: ``ddim`` or ``ddpm``.
        eta: noise of DDIM: 0 adds none, 1 as much as DDPM.
        renewal: boxes with at most this confidence become new noise between steps and are sorted last (0: none).
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
        is_kept = None
        if renewal > 0:
            is_kept, order = (confidence > renewal).sort(dim=1, descending=True, stable=True)
            x, x0 = (v.gather(1, order[..., None].expand_as(v)) for v in (x, x0))
        noise = draw()
        if sampler == "ddim":
            x = ddim_step(schedule, x, x0, t, following, noise, eta)
        else:
            x = ddpm_step(schedule, x, x0, t, following, noise)
        previous = x0
        if is_kept is not None:
            x = torch.where(is_kept[..., None], x, draw())
            previous = torch.where(is_kept[..., None], previous, 0.0)
    return trace


def seeded_draw(seeds: Sequence[Sequence[int]], boxes: int, device: torch.device | str = "cpu") -> Draw:
    """Return a source of noise in which a row depends only on its seed.

    Args:
        seeds: N seeds, each a sequence of non-negative integers.
        boxes: number P of boxes. In the first call only, the first boxes do not depend on P.
        device: device of the noise. It is drawn on the CPU, so that it is equal on all devices.
    """
    generators = [np.random.default_rng(list(seed)) for seed in seeds]

    def draw() -> torch.Tensor:
        noise = np.stack([generator.standard_normal((boxes, 4)) for generator in generators])
        return torch.from_numpy(noise).to(device)

    return draw
