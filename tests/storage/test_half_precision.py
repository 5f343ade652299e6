"""Saved weights: fp16, and tensors that safetensors takes."""

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from vg_gym.storage.half_precision import half_precision


def test_shared_and_transposed_weights_can_be_saved(tmp_path):
    module = nn.ModuleDict({"a": nn.Linear(3, 3), "b": nn.Linear(3, 3), "norm": nn.BatchNorm1d(3)})
    module["b"].weight = module["a"].weight  # safetensors refuses tensors that share memory, and views
    module["a"].weight.data = module["a"].weight.data.T
    save_file(half_precision(module), tmp_path / "model.safetensors")
    state = load_file(tmp_path / "model.safetensors")
    assert state.keys() == module.state_dict().keys()
    assert state["a.weight"].dtype == torch.float16 and state["norm.num_batches_tracked"].dtype == torch.int64
    torch.testing.assert_close(state["b.weight"], module["b"].weight.detach().half(), rtol=0, atol=0)
