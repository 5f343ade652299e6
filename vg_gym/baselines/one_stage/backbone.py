"""Convolutional backbones under the names of the published checkpoints (``backbone.0.body.*``)."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from vg_gym.baselines.detectors.base import read_state
from vg_gym.baselines.one_stage.frozen_features import FrozenFeatures
from vg_gym.errors import VGGymError, importing
from vg_gym.learned.weights import load_strictly

RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101")
HEADS = ("fc.", "conv_head.", "bn2.", "classifier.")
"""Prefixes of what a classifier has and a backbone has not."""
FROZEN = "frozen"
"""Features of the built-in CLIP and detector: see :mod:`vg_gym.baselines.one_stage.frozen_features`."""


class FrozenBatchNorm2d(nn.Module):
    """Batch normalisation with fixed statistics and affine parameters, eps 1e-5 (DETR's)."""

    weight: torch.Tensor
    bias: torch.Tensor
    running_mean: torch.Tensor
    running_var: torch.Tensor

    def __init__(self, channels: int):
        super().__init__()
        for name, value in (("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)):
            self.register_buffer(name, torch.full((channels,), value))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, h, w) to the same."""
        scale = self.weight * (self.running_var + 1e-5).rsqrt()
        return x * scale.view(1, -1, 1, 1) + (self.bias - self.running_mean * scale).view(1, -1, 1, 1)


class Body(nn.Module):
    """The last feature map of a network; :class:`Backbone` holds it as ``0.body``.

    Args:
        body: maps images to their last feature map, (B, 3, H, W) to (B, channels, h, w).
        channels: of that map.
    """

    def __init__(self, body: nn.Module, channels: int):
        super().__init__()
        self.body, self.channels = body, channels

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """The last feature map."""
        return self.body(images)


class _ResNet(nn.Module):
    """torchvision's ResNet without its head."""

    def __init__(self, name: str):
        super().__init__()
        import torchvision

        network = getattr(torchvision.models, name)(weights=None, norm_layer=FrozenBatchNorm2d)
        self.channels: int = network.fc.in_features
        for part in ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"):
            self.add_module(part, getattr(network, part))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        for part in self.children():
            images = part(images)
        return images


class _EfficientNet(nn.Module):
    """timm's EfficientNet-B3 (``tf_efficientnet_b3_ns``); MDETR freezes its norms with another eps than timm's."""

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
    """The module with its batch norms frozen; timm's norms carry their activation, which stays."""
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
    """A backbone by name: :data:`RESNETS` or ``efficientnet_b3``, untrained, stride 32; or :data:`FROZEN`, stride 16.

    Args:
        name: which.
        clip: name of the CLIP of a frozen backbone.

    Returns:
        A sequence of one :class:`Body`.

    Raises:
        VGGymError: there is none of this name.
    """
    if name in RESNETS:
        body: Any = _ResNet(name)
    elif name == "efficientnet_b3":
        body = _EfficientNet()
    elif name == FROZEN:
        body = FrozenFeatures(clip)
    else:
        raise VGGymError(f"unknown backbone {name!r}; known: {', '.join((*RESNETS, 'efficientnet_b3', FROZEN))}")
    return nn.Sequential(Body(body, body.channels))


def load_pretrained_backbone(body: nn.Module, name: str, weights: str) -> None:
    """Give a ResNet or EfficientNet pretrained weights.

    Args:
        body: of :func:`backbone`, ``backbone[0].body``.
        name: of the backbone.
        weights: ``imagenet`` (torchvision's or timm's, fetched) or a file with a state dict of theirs.

    Raises:
        VGGymError: there are no such weights, or they are of another network.
    """
    try:
        state = read_state(weights) if weights != "imagenet" else _imagenet(name)
    except (OSError, RuntimeError) as error:
        raise VGGymError(
            f"no weights {weights!r} for {name}: {' '.join(str(error).split())[:200]}. Without access to them give a "
            "file, options.backbone_weights=FILE, or start at random, options.backbone_weights=null"
        ) from error
    kept = {k: v for k, v in state.items() if not k.startswith(HEADS) and not k.endswith("num_batches_tracked")}
    load_strictly(body, kept, weights)


def _imagenet(name: str) -> dict[str, torch.Tensor]:
    if name == "efficientnet_b3":
        import timm

        return timm.create_model("tf_efficientnet_b3.ns_jft_in1k", pretrained=True).state_dict()
    import torchvision

    return torchvision.models.get_model(name, weights="DEFAULT").state_dict()
