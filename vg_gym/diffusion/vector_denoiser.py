"""The vector denoiser: four noisy numbers, with CLIP's global embeddings of image and expression.

Student projects try this first, with a U-Net over the concatenated vectors and without reporting a figure. A box is not
an image, so here the denoiser is a small residual network that time, image and expression modulate. Its only knowledge
of places is that of a global embedding.
"""

from __future__ import annotations

import torch
from torch import nn

from vg_gym import boxes as box_ops
from vg_gym.diffusion.denoiser import Denoiser, Estimate, confidence_loss
from vg_gym.diffusion.layers import FeedForward, FiLM, TimeEmbedding
from vg_gym.diffusion.options import BoxDiffusionOptions
from vg_gym.diffusion.schedule import Schedule
from vg_gym.learned.frozen_clip import FrozenClip, TextFeatures


class Block(nn.Module):
    """Residual feed-forward network that a condition modulates."""

    def __init__(self, o: BoxDiffusionOptions):
        super().__init__()
        self.norm, self.film = nn.LayerNorm(o.dim), FiLM(o.dim, o.dim)
        self.feedforward = FeedForward(o.dim, o.feedforward)

    def forward(self, x: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """Modulate ``x`` (N, P, D) by ``condition`` (N, D)."""
        return x + self.feedforward(self.film(self.norm(x), condition))


class VectorDenoiser(Denoiser):
    """FiLM network from four numbers to four numbers and a confidence."""

    def __init__(self, o: BoxDiffusionOptions, clip: FrozenClip, schedule: Schedule):
        super().__init__(o, clip, schedule)
        features = clip.encoder.dim
        self.target = o.target
        self.nothing = nn.Parameter(torch.zeros(features))
        self.known = nn.Sequential(nn.Linear(3 * features, o.dim), nn.SiLU(), nn.Linear(o.dim, o.dim))
        self.time = TimeEmbedding(o.dim)
        self.enter = nn.Linear(8, o.dim)
        self.blocks = nn.ModuleList(Block(o) for _ in range(o.layers))
        self.norm, self.out = nn.LayerNorm(o.dim), nn.Linear(o.dim, 5)

    def frozen_image_features(self, images: torch.Tensor) -> torch.Tensor:
        """Return CLIP's embeddings (B, F) of images."""
        return self.clip.encode_image(images)

    def encode_image(self, features: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the features unchanged: no part of this network reads images alone."""
        return (features,)

    def encode_query(
        self, images: tuple[torch.Tensor, ...], image_of: torch.Tensor, texts: TextFeatures, dropped: torch.Tensor
    ) -> torch.Tensor:
        """Return the condition (N, D) from the embeddings of image and expression and their product."""
        image = images[0][image_of]
        text = torch.where(dropped[:, None], self.nothing, texts.expression)
        scale = image.shape[-1] ** 0.5  # to unit variance
        return self.known(torch.cat([image, text, image * text * scale], dim=-1) * scale)

    def forward(
        self, query: torch.Tensor, x_t: torch.Tensor, t: torch.Tensor, previous: torch.Tensor
    ) -> list[Estimate]:
        """Return a list with one estimate of the boxes: this denoiser has a single output layer."""
        condition = query + self.time(t / self.schedule.timesteps)
        x = self.enter(torch.cat([x_t, previous], dim=-1).float())
        for block in self.blocks:
            x = block(x, condition)
        out = self.out(self.norm(x))
        signal = self.schedule.x0_from(self.target, out[..., :4], x_t, t).float()
        return [Estimate(self.schedule.to_boxes(signal), signal, out[..., :4], out[..., 4])]

    def losses(
        self, estimates: list[Estimate], truth: torch.Tensor, noise: torch.Tensor, t: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Return the squared error of the target (the simple loss of Ho et al.) and the loss of the confidence."""
        (estimate,) = estimates
        boxes = truth[:, None].expand_as(noise).float()
        target = self.schedule.target(self.target, self.schedule.to_signal(boxes), noise, t).float()
        error = (estimate.prediction - target).square().mean()
        return {"mse": error, "confidence": confidence_loss(estimate, box_ops.iou(estimate.boxes, boxes))}
