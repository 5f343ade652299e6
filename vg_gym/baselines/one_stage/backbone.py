"""Convolutional backbones under the names of the published checkpoints (``backbone.0.body.*``)."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
import torchvision
from torch import nn
from torchvision.ops import FrozenBatchNorm2d

from vg_gym.baselines.detectors.base import read_state
from vg_gym.baselines.one_stage.frozen_features import FrozenFeatures
from vg_gym.errors import VGGymError, importing
from vg_gym.learned.weights import load_strictly

RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101")
CLASSIFIER_PREFIXES = ("fc.", "conv_head.", "bn2.", "classifier.")
"""Prefixes of the parameters of a classifier that a backbone lacks."""
FROZEN = "frozen"
"""Name of the backbone of frozen features, see :mod:`vg_gym.baselines.one_stage.frozen_features`."""


class Body(nn.Module):
    """Wrapper that gives a network the published parameter prefix ``0.body``.

    Args:
        body: network from images (B, 3, H, W) to their last feature map (B, channels, h, w).
        channels: channels of the map.
    """

    def __init__(self, body: nn.Module, channels: int):
        super().__init__()
        self.body, self.channels = body, channels

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the last feature map of images."""
        return self.body(images)


def _resnet(name: str) -> nn.Sequential:
    """Return torchvision's ResNet without its head."""
    network = torchvision.models.get_model(name, weights=None, norm_layer=FrozenBatchNorm2d)
    body = nn.Sequential(OrderedDict(list(network.named_children())[:-2]))
    body.channels = network.fc.in_features
    return body


class _EfficientNet(nn.Module):
    """timm's EfficientNet-B3 (``tf_efficientnet_b3_ns``) with frozen norms; their eps is MDETR's, not timm's."""

    channels = 384

    def __init__(self) -> None:
        super().__init__()
        with importing("EfficientNet", "timm", "detr"):
            import timm
        network = timm.create_model("tf_efficientnet_b3.ns_jft_in1k", features_only=True, out_indices=(4,))
        for part, module in network.named_children():
            self.add_module(part, _freeze(module))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = self.bn1(self.conv_stem(images))  # type: ignore[operator]
        for block in self.blocks:  # type: ignore[union-attr]
            x = block(x)
        return x


def _freeze(module: nn.Module) -> nn.Module:
    """Freeze the batch norms of a module; timm's norms include an activation, which is kept."""
    if isinstance(module, nn.BatchNorm2d):
        frozen = FrozenBatchNorm2d(module.num_features)
        act = getattr(module, "act", None)
        return frozen if act is None else _FrozenWithActivation(frozen, act)
    for name, child in module.named_children():
        setattr(module, name, _freeze(child))
    return module


class _FrozenWithActivation(FrozenBatchNorm2d):
    def __init__(self, norm: FrozenBatchNorm2d, activation: nn.Module):
        super().__init__(len(norm.weight))
        self.act = activation

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.act(super().forward(x))


def backbone(name: str, clip: str = "refshapes") -> nn.Sequential:
    """Build a backbone: untrained with stride 32 (:data:`RESNETS`, ``efficientnet_b3``), or :data:`FROZEN`, stride 16.

    Args:
        name: name of the backbone.
        clip: name of the CLIP of a frozen backbone.

    Returns:
        Sequence of one :class:`Body`.

    Raises:
        VGGymError: the name is unknown.
    """
    if name in RESNETS:
        body: Any = _resnet(name)
    elif name == "efficientnet_b3":
        body = _EfficientNet()
    elif name == FROZEN:
        body = FrozenFeatures(clip)
    else:
        raise VGGymError(f"unknown backbone {name!r}; known: {', '.join((*RESNETS, 'efficientnet_b3', FROZEN))}")
    return nn.Sequential(Body(body, body.channels))


def load_pretrained_backbone(body: nn.Module, name: str, weights: str) -> None:
    """Load pretrained weights into a ResNet or EfficientNet.

    Args:
        body: network of :func:`backbone`, ``backbone[0].body``.
        name: name of the backbone.
        weights: ``imagenet`` (downloaded from torchvision or timm), or a file with one of their state dicts.

    Raises:
        VGGymError: the weights do not exist, or belong to another network.
    """
    try:
        state = read_state(weights) if weights != "imagenet" else _imagenet(name)
    except (OSError, RuntimeError) as error:
        raise VGGymError(
            f"no weights {weights!r} for {name}: {' '.join(str(error).split())[:200]}. Without access to them give a "
            "file, options.backbone_weights=FILE, or start at random, options.backbone_weights=null"
        ) from error
    body_state = {
        k: v
        for k, v in state.items()
        if not k.startswith(CLASSIFIER_PREFIXES) and not k.endswith("num_batches_tracked")
    }
    load_strictly(body, body_state, weights)


def _imagenet(name: str) -> dict[str, torch.Tensor]:
    if name == "efficientnet_b3":
        import timm

        return timm.create_model("tf_efficientnet_b3.ns_jft_in1k", pretrained=True).state_dict()
    return torchvision.models.get_model(name, weights="DEFAULT").state_dict()
