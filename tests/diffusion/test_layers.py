"""Parts of the denoisers: attention, FiLM, embeddings."""

import torch

from vg_gym.diffusion.layers import Attention, FiLM, grid_embedding, sinusoidal_embedding


def test_attention_ignores_what_is_not_there():
    torch.manual_seed(0)
    attention, x = Attention(16, 2), torch.randn(2, 5, 16)
    mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    found = attention(x, attention.keys_values(x), mask)
    alone = attention(x[1:], attention.keys_values(x[1:, :3]))
    torch.testing.assert_close(found[1:], alone)


def test_film_starts_as_the_identity():
    x = torch.randn(2, 3, 8)
    torch.testing.assert_close(FiLM(4, 8)(x, torch.randn(2, 4)), x)


def test_embeddings_tell_places_apart():
    assert sinusoidal_embedding(torch.rand(3, 4), 8, 64.0).shape == (3, 4, 16)
    code = grid_embedding(4, 5, 32, torch.zeros(1))
    assert code.shape == (20, 32) and len(torch.unique(code, dim=0)) == 20
