"""Parameter groups."""

from torch import nn

from vg_gym.fitting.learner import decay_groups


def test_only_matrices_decay():
    decayed, free = decay_groups(nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3)), 0.1)
    assert [p.ndim for p in decayed["params"]] == [2] and decayed["weight_decay"] == 0.1
    assert all(p.ndim == 1 for p in free["params"]) and free["weight_decay"] == 0


def test_frozen_weights_are_in_no_group():
    module = nn.Linear(2, 3)
    module.weight.requires_grad = False
    decayed, free = decay_groups(module, 0.1)
    assert not decayed["params"] and free["params"] == [module.bias]
