"""Conversion of weights to half precision for saving."""

from __future__ import annotations

import torch
from torch import nn


def half_precision(module: nn.Module) -> dict[str, torch.Tensor]:
    """Return the state of a module for safetensors: contiguous copies on the CPU, with floating-point values as fp16.

    >>> {name: str(value.dtype) for name, value in half_precision(nn.BatchNorm1d(2, affine=False)).items()}
    {'running_mean': 'torch.float16', 'running_var': 'torch.float16', 'num_batches_tracked': 'torch.int64'}
    """
    state = {name: value.half() if value.is_floating_point() else value for name, value in module.state_dict().items()}
    return {name: value.cpu().contiguous().clone() for name, value in state.items()}
