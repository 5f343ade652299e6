"""Similarity maps of an image and an expression, for networks that read CLIP's features.

CLIP compares image and text by dot products. Randomly initialised attention needs thousands of steps to learn these.
With similarity maps as input, networks on the built-in CLIP know colours and shapes after a few hundred steps.
"""

from __future__ import annotations

import torch
from torch import nn


class SimilarityMaps(nn.Module):
    """Weighted dot products of dense features and text embeddings; the first one starts unweighted.

    Args:
        width: width of the features.
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
        """Return maps (N, M, h, w) of features (N, D, h, w) and texts (N, D), both in CLIP's joint space."""
        return ((texts[:, None] * self.weights) @ dense.flatten(2)).unflatten(2, dense.shape[2:])
