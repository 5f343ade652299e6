"""What a trainable grounder is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import nn

from vg_gym.config import options_from
from vg_gym.learned.batch import Batch, Canvas
from vg_gym.learned.tokenization import Tokens
from vg_gym.registry import network_class


class GroundingModel(nn.Module, ABC):
    """A network that grounds batches.

    A subclass has a dataclass of options (:attr:`Options`), whose defaults are the published sizes, and is built from
    one; ``canvas`` and ``tokenize`` make its batches.
    """

    Options: ClassVar[type]
    canvas: Canvas
    tokenize: Callable[[Sequence[str]], Tokens]
    refines: ClassVar[bool] = False
    """Whether :meth:`predict` starts from ``initial_boxes`` where a batch has them."""
    pretrained_prefixes: ClassVar[tuple[str, ...]] = ()
    """Prefixes of the parameters that start pretrained; training gives them a learning rate of their own."""
    shared_parts: ClassVar[dict[str, str]] = {}
    """Prefix of parameters -> what the part is called in all networks that have it."""

    def __init__(self, options: Any):
        super().__init__()
        self.options = options

    @property
    def frozen_parts(self) -> dict[str, str]:
        """Frozen networks below it: ``CLIP`` -> its name, ``detector`` -> the one whose built-in weights it has."""
        return {}

    @abstractmethod
    def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Weighted terms of the training loss; the batch has ``boxes``."""

    @abstractmethod
    def predict(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
        """Boxes (N, 4) ``xyxy`` normalised by their images, scores (N,), and details with N rows each."""

    def init_weights(self) -> None:
        """Give the parts that do not start at random their weights; called before training."""

    def learn_from_expressions(self, expressions: Sequence[str]) -> None:
        """Learn what the training expressions alone teach; called before training."""

    def frozen_image_features(self, images: torch.Tensor) -> torch.Tensor | None:
        """Features (B, ...) of images (B, 3, H, W) that no training changes; None where there are none.

        Training computes them once per image and passes them as ``batch.features``.
        """
        return None

    def copy_shared_weights(self, other: GroundingModel) -> int:
        """Copy from another network the tensors that both have; returns their number.

        From the same class, or a base of it: tensors of the same name; from another class: those of the parts named in
        :attr:`shared_parts`. Tensors of another shape are left out.
        """
        own = self.state_dict()
        theirs = other.state_dict() if isinstance(self, type(other)) else self._renamed(other)
        fitting = {k: v for k, v in theirs.items() if k in own and v.shape == own[k].shape}
        self.load_state_dict({**own, **fitting})
        return len(fitting)

    def _renamed(self, other: GroundingModel) -> dict[str, torch.Tensor]:
        """The weights of another network's shared parts, under the names they have here."""
        prefixes = {part: prefix for prefix, part in self.shared_parts.items()}
        return {
            prefixes[part] + key[len(prefix) :]: value
            for prefix, part in other.shared_parts.items()
            if part in prefixes
            for key, value in other.state_dict().items()
            if key.startswith(prefix)
        }


def build(name: str, options: dict[str, Any]) -> GroundingModel:
    """An untrained network of :data:`vg_gym.registry.LEARNED`.

    Raises:
        VGGymError: unknown name or option.
    """
    cls = network_class(name)
    return cls(options_from(cls.Options, options))
