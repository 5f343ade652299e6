"""Base class of trainable grounding networks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import nn

from vg_gym.config import options_from
from vg_gym.errors import VGGymError
from vg_gym.learned.batch import Batch, Canvas
from vg_gym.learned.presence_head import PresenceHead
from vg_gym.learned.tokenization import Tokens
from vg_gym.registry import network_class


class GroundingModel(nn.Module, ABC):
    """Network that grounds batches.

    A subclass has a dataclass of options (:attr:`Options`) with the published sizes as defaults, and is built from an
    instance of it. ``canvas`` and ``tokenize`` make its batches.
    """

    Options: ClassVar[type]
    canvas: Canvas
    tokenize: Callable[[Sequence[str]], Tokens]
    refines: ClassVar[bool] = False
    """True if :meth:`predict` starts from the batch's ``initial_boxes``."""
    pretrained_prefixes: ClassVar[tuple[str, ...]] = ()
    """Prefixes of the pretrained parameters, which have a separate learning rate."""
    shared_parts: ClassVar[dict[str, str]] = {}
    """Names of the parts that other networks may share, by the prefix of their parameters."""

    def __init__(self, options: Any):
        super().__init__()
        self.options = options
        self.presence: PresenceHead | None = None

    @property
    def frozen_parts(self) -> dict[str, str]:
        """Names of the frozen networks below this one: of its ``CLIP``, and of the built-in ``detector``."""
        return {}

    @abstractmethod
    def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Return the weighted terms of the training loss; the batch has ``boxes``."""

    @abstractmethod
    def predict(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
        """Return ``xyxy`` boxes (N, 4) normalised by their images, scores (N,), and details with N rows each.

        The scores of a network that has none are NaN.
        """

    def joint_tokens(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the tokens of image and text (N, S, D) that a presence head reads, and their padding mask (N, S).

        Raises:
            VGGymError: the network does not join image and text in tokens.
        """
        raise VGGymError(f"a {type(self).__name__} has no joint tokens of image and text, so no presence head fits it")

    def init_weights(self) -> None:
        """Initialise the parts that do not start at random; called before training."""

    def learn_from_expressions(self, expressions: Sequence[str]) -> None:
        """Learn from the training expressions alone; called before training."""

    def frozen_image_features(self, images: torch.Tensor) -> torch.Tensor | None:
        """Return features (B, ...) of images (B, 3, H, W) that training does not change, or None without such features.

        Training computes them once per image and passes them as ``batch.features``.
        """
        return None

    def copy_shared_weights(self, other: GroundingModel) -> int:
        """Copy the tensors that another network shares with this one, and return their number.

        From the same class or a base of it, tensors of the same name are copied. From another class, tensors of the
        parts in :attr:`shared_parts` are copied. Tensors of another shape are skipped.
        """
        state = self.state_dict()
        theirs = other.state_dict() if isinstance(self, type(other)) else self._renamed(other)
        fitting = {k: v for k, v in theirs.items() if k in state and v.shape == state[k].shape}
        self.load_state_dict({**state, **fitting})
        return len(fitting)

    def _renamed(self, other: GroundingModel) -> dict[str, torch.Tensor]:
        """Return the weights of another network's shared parts under the names in this network."""
        prefixes = {part: prefix for prefix, part in self.shared_parts.items()}
        return {
            prefixes[part] + key[len(prefix) :]: value
            for prefix, part in other.shared_parts.items()
            if part in prefixes
            for key, value in other.state_dict().items()
            if key.startswith(prefix)
        }


def build(name: str, options: dict[str, Any]) -> GroundingModel:
    """Build an untrained network of :data:`vg_gym.registry.LEARNED`.

    Raises:
        VGGymError: the name or an option is unknown.
    """
    cls = network_class(name)
    return cls(options_from(cls.Options, options))
