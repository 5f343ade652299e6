"""An auxiliary loss: each token of the image is asked whether it lies in the box.

None of the published recipes has it; their weight for it is 0. Small networks, which start with attention at random,
find the words' objects several times sooner with it.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F  # noqa: N812

from vg_gym.boxes import cell_overlaps


def point_loss(layers: list[torch.Tensor], boxes: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy of logits with the share of their cells that the box covers, summed over layers.

    Args:
        layers: (N, V) logits after every layer of the joint encoder, of a square map in rows.
        boxes: (N, 4), the answers, ``xyxy`` normalised by the map.
    """
    wanted = covered_share(boxes, round(layers[0].shape[1] ** 0.5))
    return torch.stack([F.binary_cross_entropy_with_logits(logits.float(), wanted) for logits in layers]).sum()


def covered_share(boxes: torch.Tensor, side: int) -> torch.Tensor:
    """Share (N, side * side) of every cell of a grid that boxes (N, 4) ``xyxy`` in [0, 1] cover.

    >>> covered_share(torch.tensor([[0.0, 0.0, 0.75, 0.5]]), 2).tolist()
    [[1.0, 0.5, 0.0, 0.0]]
    """
    columns, rows = (cell_overlaps(boxes, side) * side).unbind(1)
    return (rows[:, :, None] * columns[:, None, :]).flatten(1)
