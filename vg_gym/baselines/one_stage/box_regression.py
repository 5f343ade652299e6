"""Networks that regress one box an expression."""

from __future__ import annotations

from abc import abstractmethod

import torch

from vg_gym.baselines.one_stage.auxiliary_loss import point_loss
from vg_gym.boxes import from_cxcywh, giou, to_cxcywh
from vg_gym.learned.batch import Batch
from vg_gym.learned.model import GroundingModel


class BoxRegressor(GroundingModel):
    """A network that gives one box an expression, without a confidence."""

    @abstractmethod
    def boxes(self, batch: Batch) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Boxes (N, 4) to supervise, the answer last, and point logits (N, V) of the layers, where there is a head.

        Boxes are centre and size normalised by the canvas.
        """

    def forward(self, batch: Batch) -> torch.Tensor:
        """The answers (N, 4), centre and size normalised by the canvas."""
        return self.boxes(batch)[0][-1]

    def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """L1 and GIoU of the boxes on the canvas, each the mean over expressions, weighted 1:1."""
        assert batch.boxes is not None
        boxes, point_logits = self.boxes(batch)
        truth = batch.to_canvas(batch.boxes)
        each = [box_losses(found.float(), truth) for found in boxes]
        losses = {name: torch.stack([found[name] for found in each]).sum() for name in each[0]}
        if point_logits:
            losses["points"] = self.options.point_loss * point_loss(point_logits, truth)
        return losses

    def predict(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
        """The box of every expression; these networks have no confidence, all scores are 1."""
        boxes = self(batch).float()
        return batch.from_canvas(from_cxcywh(boxes).clamp(0, 1)), torch.ones(len(boxes)), {}


def box_losses(boxes: torch.Tensor, truth: torch.Tensor) -> dict[str, torch.Tensor]:
    """L1 and 1 - GIoU, means over N boxes: ``boxes`` (N, 4) centre and size, ``truth`` (N, 4) ``xyxy``."""
    l1 = (boxes - to_cxcywh(truth)).abs().sum() / len(boxes)
    return {"bbox": l1, "giou": (1 - giou(from_cxcywh(boxes), truth)).mean()}
