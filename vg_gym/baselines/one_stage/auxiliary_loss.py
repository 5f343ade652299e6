"""An auxiliary loss: each of the picture's tokens is asked whether it lies in the box.

It is not published with any of these networks; their weight for it is 0. Small ones, which start with attention at
random, find the words' objects several times sooner with it.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F  # noqa: N812


def point_loss(layers: list[torch.Tensor], boxes: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy of logits with the share of their cells that the box covers, summed over layers.

    Args:
        layers: (N, V) logits after every layer of the joint encoder, of a square map in rows.
        boxes: (N, 4), the answers, ``xyxy`` normalised by the map.
    """
    wanted = points_inside(boxes, round(layers[0].shape[1] ** 0.5))
    return torch.stack([F.binary_cross_entropy_with_logits(logits.float(), wanted) for logits in layers]).sum()


def points_inside(boxes: torch.Tensor, side: int) -> torch.Tensor:
    """Share (N, side * side) of every cell of a grid that boxes (N, 4) ``xyxy`` in [0, 1] cover."""
    low = torch.arange(side, device=boxes.device) / side
    spans = [
        (torch.minimum(boxes[:, i + 2, None], low + 1 / side) - torch.maximum(boxes[:, i, None], low)).clamp(min=0)
        * side
        for i in (0, 1)
    ]
    return (spans[1][:, :, None] * spans[0][:, None, :]).flatten(1)
