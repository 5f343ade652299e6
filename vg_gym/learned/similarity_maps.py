"""Maps of how similar each part of an image is to an expression, for networks that read CLIP's features.

CLIP was trained to find things by dot products. Attention that starts at random needs thousands of steps to learn the
same; networks on this project's CLIP that are given these maps know colours and shapes after a few hundred.
"""

from __future__ import annotations

import torch
from torch import nn


class SimilarityMaps(nn.Module):
    """Weighted dot products of dense features and text embeddings; the first starts as the dot product itself.

    Args:
        width: of the features.
        maps: number of weightings.

    >>> maps = SimilarityMaps(width=16, maps=4)
    >>> maps(torch.randn(2, 16, 8, 8), torch.randn(2, 16)).shape
    torch.Size([2, 4, 8, 8])
    """

    def __init__(self, width: int, maps: int):
        super().__init__()
        self.weights = nn.Parameter(torch.randn(maps, width))
        nn.init.ones_(self.weights[0])

    def forward(self, dense: torch.Tensor, texts: torch.Tensor) -> torch.Tensor:
        """Features (N, D, h, w) and texts (N, D), both in CLIP's joint space, to maps (N, M, h, w)."""
        return ((texts[:, None] * self.weights) @ dense.flatten(2)).unflatten(2, dense.shape[2:])
