"""Base class of networks that regress one box per expression."""

from __future__ import annotations

from abc import abstractmethod
from typing import NamedTuple

import torch
from torch.nn import functional as F  # noqa: N812

from vg_gym.boxes import cell_overlaps, from_cxcywh, giou, to_cxcywh
from vg_gym.learned.batch import Batch
from vg_gym.learned.model import GroundingModel


class Regression(NamedTuple):
    """Outputs of a network that regresses boxes."""

    boxes: list[torch.Tensor]
    """Boxes to supervise, centre and size normalised by the canvas, (N, 4) each, the answer last."""
    point_logits: list[torch.Tensor]
    """Logits of the image tokens after every layer, (N, V) each; empty without a point head."""
    joint: torch.Tensor
    """Tokens of image and text, (N, S, D)."""
    mask: torch.Tensor
    """Their padding mask, bool (N, S)."""


class BoxRegressor(GroundingModel):
    """Network that predicts one box per expression; only a presence head gives it a confidence."""

    @abstractmethod
    def regress(self, batch: Batch) -> Regression:
        """Return boxes, point logits and joint tokens."""

    def joint_tokens(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the tokens of image and text, and their padding mask."""
        outputs = self.regress(batch)
        return outputs.joint, outputs.mask

    def forward(self, batch: Batch) -> torch.Tensor:
        """Return the predicted boxes (N, 4), centre and size normalised by the canvas."""
        return self.regress(batch).boxes[-1]

    def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Return L1 and GIoU losses of the boxes on the canvas, each a mean over expressions, weighted 1:1."""
        assert batch.boxes is not None
        outputs = self.regress(batch)
        truth = batch.to_canvas(batch.boxes)
        each = [box_losses(predicted.float(), truth) for predicted in outputs.boxes]
        losses = {name: torch.stack([terms[name] for terms in each]).sum() for name in each[0]}
        if outputs.point_logits:
            losses["points"] = self.options.point_loss * point_loss(outputs.point_logits, truth)
        return losses

    def predict(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
        """Return the box of every expression; its score is the presence head's probability, or NaN without a head."""
        outputs = self.regress(batch)
        boxes = outputs.boxes[-1].float()
        scores = torch.full((len(boxes),), torch.nan)
        if self.presence is not None:
            scores = self.presence(outputs.joint.float(), outputs.mask).sigmoid()
        return batch.from_canvas(from_cxcywh(boxes).clamp(0, 1)), scores, {}


def box_losses(boxes: torch.Tensor, truth: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return the mean L1 and 1 - GIoU of ``boxes`` (N, 4), centre and size, and ``truth`` (N, 4), ``xyxy``."""
    l1 = (boxes - to_cxcywh(truth)).abs().sum() / len(boxes)
    return {"bbox": l1, "giou": (1 - giou(from_cxcywh(boxes), truth)).mean()}


def point_loss(layers: list[torch.Tensor], boxes: torch.Tensor) -> torch.Tensor:
    """Return the binary cross-entropy of logits with the share of their cells that the box covers, summed over layers.

    This auxiliary loss tells image tokens inside the box from those outside. The published recipes do not use it, so
    its default weight is 0. Small networks with randomly initialised attention learn the objects of words several times
    faster with it.

    Args:
        layers: logits of a square map in row order after every layer of the joint encoder, (N, V) each.
        boxes: true boxes, ``xyxy`` normalised by the map, (N, 4).
    """
    target = covered_share(boxes, round(layers[0].shape[1] ** 0.5))
    return torch.stack([F.binary_cross_entropy_with_logits(logits.float(), target) for logits in layers]).sum()


def covered_share(boxes: torch.Tensor, side: int) -> torch.Tensor:
    """Return the share (N, side * side) of every cell of a grid that ``xyxy`` boxes (N, 4) in [0, 1] cover.

    >>> covered_share(torch.tensor([[0.0, 0.0, 0.75, 0.5]]), 2).tolist()
    [[1.0, 0.5, 0.0, 0.0]]
    """
    columns, rows = (cell_overlaps(boxes, side) * side).unbind(1)
    return (rows[:, :, None] * columns[:, None, :]).flatten(1)
