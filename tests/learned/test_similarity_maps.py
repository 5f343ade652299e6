"""Similarity maps start as CLIP's own dot product."""

import torch

from vg_gym.learned.frozen_clip import SimilarityMaps


def test_the_first_map_is_the_dot_product():
    dense, texts = torch.randn(2, 8, 3, 4), torch.randn(2, 8)
    maps = SimilarityMaps(8, 5)
    found = maps(dense, texts)
    torch.testing.assert_close(found[:, 0], torch.einsum("ndhw,nd->nhw", dense, texts))
    torch.testing.assert_close(found[:, 3], torch.einsum("ndhw,nd->nhw", dense, texts * maps.weights[3]))
