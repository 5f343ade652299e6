"""Backbone of the small RT-DETR in plain torch, so that learned grounders can use its maps without transformers.

The backbone is a ResNet-D (He et al., CVPR 2019) of basic blocks, as in RT-DETR (Zhao et al., CVPR 2024). Its modules
have the names of transformers' ``RTDetrResNetBackbone``, whose weights it reads.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from vg_gym.baselines.detectors.base import CONFIG, WEIGHTS, missing_weights
from vg_gym.learned.weights import load_strictly
from vg_gym.storage.assets import built_in

EXAMPLE = "/path/to/detr-resnet-50"
"""Example of valid weights in error messages."""
BACKBONE = "model.backbone.model."
"""Prefix of the backbone's tensor names in an RT-DETR."""


class _Convolution(nn.Module):
    """Convolution without bias, batch normalisation and optional ReLU."""

    def __init__(self, inside: int, outside: int, kernel: int = 3, stride: int = 1, relu: bool = True):
        super().__init__()
        self.convolution = nn.Conv2d(inside, outside, kernel, stride, kernel // 2, bias=False)
        self.normalization = nn.BatchNorm2d(outside)
        self.activation = nn.ReLU() if relu else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.activation(self.normalization(self.convolution(x)))


class _Block(nn.Module):
    """Basic residual block; if the width changes, the shortcut halves the map by averaging."""

    def __init__(self, inside: int, outside: int, stride: int, projected: bool):
        super().__init__()
        self.shortcut: nn.Module = nn.Identity()
        if projected and inside == outside:
            self.shortcut = _Convolution(inside, outside, 1, stride, relu=False)
        elif projected:
            halve = nn.AvgPool2d(2, 2, 0, ceil_mode=True)
            self.shortcut = nn.Sequential(halve, _Convolution(inside, outside, 1, relu=False))
        self.layer = nn.Sequential(
            _Convolution(inside, outside, stride=stride), _Convolution(outside, outside, relu=False)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.layer(x) + self.shortcut(x))


class _Stage(nn.Module):
    def __init__(self, inside: int, outside: int, stride: int, depth: int):
        super().__init__()
        more = [_Block(outside, outside, 1, projected=False) for _ in range(depth - 1)]
        self.layers = nn.Sequential(_Block(inside, outside, stride, projected=True), *more)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


class DetrBackbone(nn.Module):
    """Network from pixels (B, 3, H, W) in [0, 1] to the maps of all stages but the first, with strides 8, 16 and 32.

    Args:
        stem: channels after the first three convolutions.
        widths: channels of the four stages.
        depths: number of blocks of the four stages.
    """

    def __init__(self, stem: int, widths: Sequence[int], depths: Sequence[int]):
        super().__init__()
        convolutions = [_Convolution(3, stem // 2, stride=2), _Convolution(stem // 2, stem // 2)]
        self.embedder = nn.ModuleDict({"embedder": nn.Sequential(*convolutions, _Convolution(stem // 2, stem))})
        self.pooler = nn.MaxPool2d(3, 2, 1)
        stages = [
            _Stage(inside, outside, 1 if stage == 0 else 2, depth)
            for stage, (inside, outside, depth) in enumerate(zip([stem, *widths], widths, depths, strict=False))
        ]
        self.encoder = nn.ModuleDict({"stages": nn.Sequential(*stages)})

    def forward(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        """Return the maps, finest first."""
        x, maps = self.pooler(self.embedder["embedder"](pixels)), []
        for stage in self.encoder["stages"].children():
            x = stage(x)
            maps.append(x)
        return maps[1:]


def load_backbone(weights: str = "refshapes") -> DetrBackbone:
    """Load the backbone of an RT-DETR of basic blocks, in eval mode, without the rest of the detector.

    The state of torch's random generator does not change.

    Args:
        weights: name of a built-in RT-DETR, or a folder in transformers' layout.

    Raises:
        VGGymError: the weights are missing or do not match the backbone.
    """
    folder = built_in("detr", weights) or Path(weights)
    try:
        config = json.loads((folder / CONFIG).read_text())["backbone_config"]
        sizes = config["embedding_size"], config["hidden_sizes"], config["depths"]
        with safe_open(folder / WEIGHTS, "pt") as file:
            names = [name for name in file.keys() if name.startswith(BACKBONE)]
            state = {name.removeprefix(BACKBONE): file.get_tensor(name) for name in names}
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise missing_weights("detr", weights, error, EXAMPLE) from error
    with torch.random.fork_rng(devices=[]):  # building the module draws random weights
        backbone = DetrBackbone(*sizes)
    load_strictly(backbone, state, str(folder))
    return backbone.eval()
