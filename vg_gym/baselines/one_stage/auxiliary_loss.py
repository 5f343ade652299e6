"""Auxiliary loss that classifies each image token as inside or outside the box.

The published recipes do not use it, so its default weight is 0. Small networks with randomly initialised attention
learn the objects of words several times faster with it.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F  # noqa: N812

from vg_gym.boxes import cell_overlaps


def point_loss(layers: list[torch.Tensor], boxes: torch.Tensor) -> torch.Tensor:
    """Return the binary cross-entropy of logits with the share of their cells that the box covers, summed over layers.

    Args:
        layers: logits of a square map in row order after every layer of the joint encoder, (N, V) each.
        boxes: true boxes, ``xyxy`` normalised by the map, (N, 4).
    """
    target = covered_share(boxes, round(layers[0].shape[1] ** 0.5))
    return torch.stack([F.binary_cross_entropy_with_logits(logits.float(), target) for logits in layers]).sum()


def covered_share(boxes: torch.Tensor, side: int) -> torch.Tensor:
    """Return the share (N, side * side) of every cell of a grid that ``xyxy`` boxes (N, 4) in [0, 1] cover.

    >>> covered_share(torch.tensor([[0.0, 0.0, 0.75, 0.5]]), 2).tolist()
    [[1.0, 0.5, 0.0, 0.0]]
    """
    columns, rows = (cell_overlaps(boxes, side) * side).unbind(1)
    return (rows[:, :, None] * columns[:, None, :]).flatten(1)
