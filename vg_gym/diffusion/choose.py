"""Choice of one box among many denoised ones: weights by CLIP, and the weighted mode."""

from __future__ import annotations

import numpy as np
import torch
from scipy.special import softmax

from vg_gym import boxes as box_ops
from vg_gym.clip.region_features import box_mean, l2_normalize, summed_area

SAME_BOX = 0.5
"""Boxes with at least this IoU with the mode are averaged into it."""


def region_weights(dense: np.ndarray, text: np.ndarray, boxes: np.ndarray, scale: float) -> np.ndarray:
    """Return CLIP's similarity of boxes and expressions as a softmax over K boxes, float32 (N, K).

    Args:
        dense: CLIP's features (N, g, g, D).
        text: unit-length embeddings (N, D).
        boxes: (N, K, 4), normalised ``xyxy``.
        scale: inverse temperature of the softmax.
    """
    regions = l2_normalize(box_mean(summed_area(dense), boxes))
    logits = scale * np.einsum("nkd,nd->nk", regions, text)
    return softmax(logits, axis=1).astype(np.float32)


def heaviest(boxes: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Return the box (N, 4) of the largest weight among boxes (N, K, 4) with weights (N, K)."""
    return _pick(boxes, weights.argmax(dim=1))


def weighted_mode(boxes: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Return the box (N, 4) that most of the weight agrees on.

    The support of a box is the sum over all boxes of weight times IoU with it. The box with the most support wins and
    is averaged with the boxes that overlap it, by weight and IoU.

    Args:
        boxes: (N, K, 4), ``xyxy``.
        weights: (N, K), not negative.
    """
    iou = box_ops.iou(boxes[:, :, None], boxes[:, None])
    support = (iou * weights[:, None]).sum(dim=2)
    winner = support.argmax(dim=1)
    near = _pick(iou, winner)
    share = weights * near * (near >= SAME_BOX)
    # The winner always counts, even with a weight of 0.
    share = share.scatter(1, winner[:, None], _pick(weights[..., None], winner).clamp(min=1e-6))
    return (boxes * share[..., None]).sum(dim=1) / share.sum(dim=1, keepdim=True)


def _pick(values: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Return ``values`` (N, K, ...) at ``index`` (N,)."""
    return values[torch.arange(len(values), device=values.device), index]
