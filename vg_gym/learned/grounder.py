"""Grounder of a trained network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import cached_property

import numpy as np
import torch

from vg_gym import boxes as box_ops
from vg_gym.clip.loader import load_clip
from vg_gym.learned.batch import Batch
from vg_gym.learned.model import GroundingModel
from vg_gym.registry.seen import seen_by_clip, seen_by_proposer
from vg_gym.registry.tables import EXPRESSION_BOXES
from vg_gym.storage.assets import built_in
from vg_gym.storage.files import fingerprint
from vg_gym.types import Prediction, Query, refuse_initial_boxes


class LearnedGrounder:
    """Grounder that runs a trained network.

    Args:
        name: name of the grounder.
        model: trained network.
        device: torch device.
        batch_size: expressions per forward pass.
    """

    def __init__(self, name: str, model: GroundingModel, device: str = "cpu", batch_size: int = 64):
        self.name, self.batch_size, self.device = name, batch_size, torch.device(device)
        self.model = model.eval().to(self.device)

    @property
    def seen(self) -> dict[str, str]:
        """Training labels that the network and the frozen parts below it have seen, by part."""
        tell = {"CLIP": seen_by_clip, "detector": seen_by_proposer}
        below = {part: tell[part](name) for part, name in self.model.frozen_parts.items()}
        return {"method": EXPRESSION_BOXES, **below}

    @cached_property
    def fingerprint(self) -> str:
        """Hash of options and weights, including those of the frozen networks below it."""
        state = sorted(self.model.state_dict().items())
        hashes = [fingerprint(name, v.float().cpu().numpy().tobytes()) for name, v in state]
        below = self.model.frozen_parts
        clip = load_clip(below["CLIP"]).fingerprint if "CLIP" in below else ""
        detector = built_in(below["detector"], "refshapes") if "detector" in below else ""
        return fingerprint(self.name, sorted(asdict(self.model.options).items(), key=str), hashes, clip, detector)

    def ground(self, queries: Sequence[Query], initial_boxes: np.ndarray | None = None) -> list[Prediction]:
        """Ground queries; an image of several queries in a batch is encoded once.

        Args:
            queries: queries to ground.
            initial_boxes: initial boxes, ``xyxy`` pixels (N, 4), for networks that refine boxes.

        Raises:
            VGGymError: initial boxes are passed to a network that does not refine boxes.
        """
        if not self.model.refines:
            refuse_initial_boxes(self.name, initial_boxes)
        predictions: list[Prediction] = []
        for at in range(0, len(queries), self.batch_size):
            rows = slice(at, at + self.batch_size)
            predictions += self._ground_batch(queries[rows], None if initial_boxes is None else initial_boxes[rows])
        return predictions

    def _ground_batch(self, queries: Sequence[Query], initial_boxes: np.ndarray | None) -> list[Prediction]:
        batch = query_batch(self.model, queries, initial_boxes).to(self.device)
        with torch.inference_mode():
            boxes, scores, details = self.model.predict(batch)
        arrays = {k: v.float().cpu().numpy() for k, v in details.items()}
        return [
            Prediction(
                _to_pixels(boxes[row].float().cpu().numpy(), query.image.size),
                None if scores[row].isnan() else float(scores[row]),
                {k: _to_pixels(v[row], query.image.size) if k == "proposals" else v[row] for k, v in arrays.items()},
            )
            for row, query in enumerate(queries)
        ]


def query_batch(model: GroundingModel, queries: Sequence[Query], initial_boxes: np.ndarray | None = None) -> Batch:
    """Convert queries to a batch for a network; ``initial_boxes`` are ``xyxy`` pixels (N, 4)."""
    images = {query.image.key: query.image for query in queries}
    rows = {key: row for row, key in enumerate(images)}
    placed = model.canvas.place([image.array() for image in images.values()])
    image_of = torch.tensor([rows[query.image.key] for query in queries])
    tokens = model.tokenize([query.expression for query in queries])
    normalized = None
    if initial_boxes is not None:
        boxes = [box_ops.normalize(box, query.image.size) for box, query in zip(initial_boxes, queries, strict=True)]
        normalized = torch.from_numpy(np.stack(boxes))
    return Batch(*placed, image_of, tokens, initial_boxes=normalized)


def _to_pixels(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Convert normalised boxes (..., 4) to valid pixel boxes."""
    return box_ops.denormalize(box_ops.fit_inside(boxes, min_side=1e-3), size)
