"""Base class of networks that regress one box per expression."""

from __future__ import annotations

from abc import abstractmethod

import torch

from vg_gym.baselines.one_stage.auxiliary_loss import point_loss
from vg_gym.boxes import from_cxcywh, giou, to_cxcywh
from vg_gym.learned.batch import Batch
from vg_gym.learned.model import GroundingModel


class BoxRegressor(GroundingModel):
    """Network that predicts one box per expression, without a confidence."""

    @abstractmethod
    def boxes(self, batch: Batch) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Return the boxes to supervise, (N, 4) each, the answer last, and point logits of the layers, (N, V) each.

        Boxes are centre and size normalised by the canvas. The list of point logits is empty without a point head.
        """

    def forward(self, batch: Batch) -> torch.Tensor:
        """Return the predicted boxes (N, 4), centre and size normalised by the canvas."""
        return self.boxes(batch)[0][-1]

    def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Return L1 and GIoU losses of the boxes on the canvas, each a mean over expressions, weighted 1:1."""
        assert batch.boxes is not None
        boxes, point_logits = self.boxes(batch)
        truth = batch.to_canvas(batch.boxes)
        each = [box_losses(predicted.float(), truth) for predicted in boxes]
        losses = {name: torch.stack([terms[name] for terms in each]).sum() for name in each[0]}
        if point_logits:
            losses["points"] = self.options.point_loss * point_loss(point_logits, truth)
        return losses

    def predict(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
        """Return the box of every expression; all scores are 1, because the networks do not predict a confidence."""
        boxes = self(batch).float()
        return batch.from_canvas(from_cxcywh(boxes).clamp(0, 1)), torch.ones(len(boxes)), {}


def box_losses(boxes: torch.Tensor, truth: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return the mean L1 and 1 - GIoU of ``boxes`` (N, 4), centre and size, and ``truth`` (N, 4), ``xyxy``."""
    l1 = (boxes - to_cxcywh(truth)).abs().sum() / len(boxes)
    return {"bbox": l1, "giou": (1 - giou(from_cxcywh(boxes), truth)).mean()}
