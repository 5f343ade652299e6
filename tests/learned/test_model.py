"""What networks give each other to start from."""

import pytest
import torch

from tests.learned.tiny import TINY
from vg_gym.errors import VGGymError
from vg_gym.learned.model import build

MDETR = {k: v for k, v in TINY.items() if k not in ("stride", "visual_layers", "joint_layers")}


def test_the_same_class_gives_every_tensor_that_fits():
    torch.manual_seed(0)
    model, other = (build("transvg", {**TINY, "max_tokens": length}) for length in (16, 12))
    own = model.vl_pos_embed.weight.clone()
    assert model.copy_shared_weights(other) == len(model.state_dict()) - 1  # the table of positions has another length
    assert torch.equal(model.reg_token.weight, other.reg_token.weight)
    assert torch.equal(model.vl_pos_embed.weight, own)


def test_another_class_gives_the_parts_of_the_same_name():
    model, other = build("transvg", TINY), build("mdetr", {**MDETR, "encoder_layers": 1})
    own = model.bbox_embed.layers[0].weight.clone()
    assert model.copy_shared_weights(other) > 10
    weight = model.vl_transformer.encoder.layers[0].linear1.weight
    assert torch.equal(weight, other.transformer.encoder.layers[0].linear1.weight)
    assert torch.equal(model.text_proj.weight, other.transformer.resizer.fc.weight)
    assert torch.equal(model.bbox_embed.layers[0].weight, own)  # a head of its own


def test_unknown_names_and_options():
    with pytest.raises(VGGymError, match="did you mean 'transvg'"):
        build("transvgg", {})
    with pytest.raises(VGGymError, match="did you mean 'heads'"):
        build("transvg", {"headz": 4})
