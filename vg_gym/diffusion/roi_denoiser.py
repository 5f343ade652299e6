"""The RoI denoiser, after DiffusionDet (Chen et al., ICCV 2023): heads correct boxes by the features under them.

It differs from DiffusionDet in these points. A query has one target, so a class head and matching are not needed. A
confidence replaces the class score and learns the IoU of its box. One small encoder over CLIP's features reads image
and expression together. A head can move its box, or leave it for another place that attention to the whole image
finds, because the target is mostly not near the noise. Boxes do not attend to each other: in training all boxes of a
query are noised copies of one true box, and each would copy it from the others (a network with such attention had 0.41
mean IoU with one box and 0.71 with eight).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812
from torchvision.ops import roi_align

from vg_gym import boxes as box_ops
from vg_gym.boxes import from_cxcywh, to_cxcywh
from vg_gym.diffusion.denoiser import Denoiser, Estimate, confidence_loss
from vg_gym.diffusion.layers import Attention, BoxEmbedding, FeedForward, FiLM, KeysValues, TimeEmbedding
from vg_gym.diffusion.options import BoxDiffusionOptions
from vg_gym.diffusion.schedule import Schedule
from vg_gym.diffusion.trunk import FusedFeatures, Trunk
from vg_gym.learned.frozen_clip import FrozenClip, TextFeatures

L1, GIOU, CONFIDENCE = 5.0, 2.0, 1.0
"""Weights of the losses. The first two are those of DETR and DiffusionDet."""
MIN_SIDE = 0.02
"""Least side (normalised) of a box when it is moved in units of its sides; the width of noise may be 0."""


@dataclass(frozen=True)
class EncodedQuery:
    """Encoded queries, the input of the heads."""

    features: FusedFeatures
    """Features of image and expression."""
    memories: list[KeysValues]
    """Keys and values of the memory, for each head."""


class Head(nn.Module):
    """Head that corrects boxes by the features under them, all tokens of image and expression, and the time."""

    def __init__(self, o: BoxDiffusionOptions):
        super().__init__()
        self.size, self.context = o.roi, o.context
        self.under = nn.Sequential(nn.Linear(o.channels * o.roi**2, o.dim), nn.LayerNorm(o.dim))
        self.place = BoxEmbedding(o.dim)
        self.film = FiLM(o.dim, o.dim)
        self.norms = nn.ModuleList(nn.LayerNorm(o.dim) for _ in range(3))
        self.across = Attention(o.dim, o.heads)
        self.feedforward = FeedForward(o.dim, o.feedforward)
        self.out = nn.Linear(o.dim, 4 + 4 + 4 + 1)  # move, other place, gate between the two, confidence

    def forward(
        self, features: FusedFeatures, memory: KeysValues, boxes: torch.Tensor, x: torch.Tensor, time: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return corrected boxes (N, P, 4), their tokens (N, P, D), and logits (N, P) of their IoU.

        Args:
            features: features of N queries.
            memory: this head's keys and values of the queries' tokens.
            boxes: normalised ``xyxy`` (N, P, 4).
            x: a token for each box, (N, P, D).
            time: embedded times, (N, D).
        """
        centered = to_cxcywh(boxes)
        x = x + self.under(self._features_under(features.map, centered)) + self.place(centered.clamp(0, 1))
        x = self.film(x, time)
        x = x + self.across(self.norms[0](x), memory, features.attention_mask)
        x = x + self.feedforward(self.norms[1](x))
        moves, elsewhere, which, logits = self.out(self.norms[2](x)).split([4, 4, 4, 1], dim=-1)
        gate = which.sigmoid()
        better = gate * _moved(centered, moves) + (1 - gate) * elsewhere.sigmoid()
        return from_cxcywh(better), x, logits[..., 0]

    def _features_under(self, maps: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
        """Return features (N, P, C * roi ** 2) in windows around boxes (N, P, 4), given as centre and size."""
        windows = from_cxcywh(torch.cat([boxes[..., :2], boxes[..., 2:].clamp(min=MIN_SIDE) * self.context], dim=-1))
        row = torch.arange(len(maps), device=maps.device, dtype=maps.dtype)
        side = maps.new_tensor([maps.shape[-1], maps.shape[-2]] * 2)
        regions = torch.cat([row.repeat_interleave(boxes.shape[1])[:, None], (windows * side).flatten(0, 1)], dim=1)
        pooled = roi_align(maps, regions, self.size, sampling_ratio=1, aligned=True)
        return pooled.flatten(1).unflatten(0, boxes.shape[:2])


def _moved(boxes: torch.Tensor, moves: torch.Tensor) -> torch.Tensor:
    """Move boxes (N, P, 4), centre and size, in units of their sides; sides change by factors of up to e squared."""
    sides = boxes[..., 2:].clamp(min=MIN_SIDE)
    return torch.cat([boxes[..., :2] + moves[..., :2] * sides, sides * moves[..., 2:].clamp(-2, 2).exp()], dim=-1)


class RoIDenoiser(Denoiser):
    """RoI denoiser of a trunk and several heads; every head is supervised."""

    def __init__(self, o: BoxDiffusionOptions, clip: FrozenClip, schedule: Schedule):
        super().__init__(o, clip, schedule)
        self.trunk = Trunk(o, clip.encoder.dim, clip.encoder.grid)
        self.time, self.last = TimeEmbedding(o.dim), BoxEmbedding(o.dim)
        self.heads = nn.ModuleList(Head(o) for _ in range(o.stages))

    def frozen_image_features(self, images: torch.Tensor) -> torch.Tensor:
        """Return CLIP's dense features and the pixels at half size, one row for each image."""
        return torch.cat([self.clip.encode_dense(images).flatten(1), F.avg_pool2d(images, 2).flatten(1)], dim=1)

    def encode_image(self, features: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return tokens and maps of images."""
        width, grid, side = self.clip.encoder.dim, self.clip.encoder.grid, self.clip.encoder.image_size // 2
        dense, pixels = features.split([width * grid**2, 3 * side**2], dim=1)
        return self.trunk.encode_image(pixels.unflatten(1, (3, side, side)), dense.unflatten(1, (width, grid, grid)))

    def encode_query(
        self, images: tuple[torch.Tensor, ...], image_of: torch.Tensor, texts: TextFeatures, dropped: torch.Tensor
    ) -> EncodedQuery:
        """Images and expressions together."""
        features = self.trunk(images, image_of, texts, dropped)
        memories = [head.across.keys_values(features.memory) for head in self.heads]  # type: ignore[union-attr, operator]
        return EncodedQuery(features, memories)

    def forward(
        self, query: EncodedQuery, x_t: torch.Tensor, t: torch.Tensor, previous: torch.Tensor
    ) -> list[Estimate]:
        """Return an estimate of every head."""
        boxes = self.schedule.to_boxes(x_t.float())
        time = self.time(t / self.schedule.timesteps)
        scale = self.schedule.scale
        x = query.features.summary[:, None] + self.last((previous.float() / scale + 1) / 2)
        estimates = []
        for head, memory in zip(self.heads, query.memories, strict=True):
            boxes, x, logits = head(query.features, memory, boxes.detach(), x, time)
            signal = (to_cxcywh(boxes) * 2 - 1) * scale
            estimates.append(Estimate(boxes, signal, signal, logits))
        return estimates

    def losses(
        self, estimates: list[Estimate], truth: torch.Tensor, noise: torch.Tensor, t: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Return L1, GIoU and confidence losses of every head; the target is the true box for all noisy boxes."""
        target = truth[:, None].expand_as(noise).float()
        terms: dict[str, torch.Tensor] = {}
        for stage, estimate in enumerate(estimates):
            iou, giou = box_ops.iou(estimate.boxes, target), box_ops.giou(estimate.boxes, target)
            l1 = (to_cxcywh(estimate.boxes) - to_cxcywh(target)).abs().sum(-1).mean()
            terms[f"l1/{stage}"] = L1 * l1
            terms[f"giou/{stage}"] = GIOU * (1 - giou).mean()
            terms[f"confidence/{stage}"] = CONFIDENCE * confidence_loss(estimate, iou)
        return terms
