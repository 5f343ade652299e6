"""State of the batched engine: arrays, or tensors on a device, with one row per sub-environment."""

from __future__ import annotations

from typing import Any

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym.boxes import to_numpy
from vg_gym.clip.encoder import ClipEncoder
from vg_gym.envs import observations as obs
from vg_gym.envs.actions import ActionSet
from vg_gym.envs.answers import Answers, Values
from vg_gym.envs.closer_looks import CloserLooks
from vg_gym.envs.options import EnvOptions
from vg_gym.envs.rewards import SUCCESS_IOU, target_iou
from vg_gym.features.bank import FeatureBank
from vg_gym.features.glimpses import GLIMPSE
from vg_gym.features.query_proposals import FIELDS
from vg_gym.runtime.lazy_imports import torch


class EngineState:
    """Rows of :class:`~vg_gym.envs.engine.GroundingEngine`, and what labels say of them."""

    clip: ClipEncoder
    num_envs: int
    options: EnvOptions
    features: FeatureBank
    actions: ActionSet
    device: torch.device | None
    _values: Values

    def _allocate(self) -> None:
        """Allocate the state: arrays, or tensors on a device, with one row per sub-environment."""
        n, dim, grid, maps = self.num_envs, self.clip.dim, self.clip.grid + 1, self.features.num_maps
        zeros = self._zeros
        self.index = np.zeros(n, dtype=np.int64)
        self.boxes = self._state(np.tile(box_ops.FULL, (n, 1)))
        self.targets = self._state(np.full((n, 4), np.nan, dtype=np.float32))
        self.scales = self._state(np.ones((n, 4), dtype=np.float32))
        """Sizes of the images in pixels (W, H, W, H), (N, 4)."""
        self.steps = self._state(np.zeros(n, dtype=np.int64))
        self.slots, self.rows = (self._state(np.zeros(n, dtype=np.int32)) for _ in range(2))
        self.score, self.score_change, self.potential = zeros(n), zeros(n), zeros(n)
        self.history = zeros(n, obs.HISTORY, self.actions.encoding)
        self.region, self.text = zeros(n, dim), zeros(n, dim)
        self.maps = zeros(n, maps, grid, grid)
        source, count = self.features.query_proposals, self.features.proposals.shape[0]
        self.proposals = zeros(n, count, source.observed if source else len(FIELDS))
        self.answers = Answers(n, self.options, self._state) if self.options.targets == "any" else None
        """Recorded boxes; None with ``targets="one"``."""
        o, images = self.options, self.features.images
        self.looks = CloserLooks(n, o, images, self._state) if o.zoom else None
        """Views of closer looks; None without ``zoom``."""
        self._precision: Any = np.dtype(self.options.precision)
        if self.device is not None:
            self._precision = getattr(torch, self.options.precision)
        texts = {name: (self.clip.num_tokens * dim,) for name in ("tokens", "words") if getattr(self.features, name)}
        shapes = {"text": (dim,), "image": (dim,), **texts, "glimpses": (maps + 1, GLIMPSE, GLIMPSE),
                  "proposal_features": (count * dim * o.proposal_features,)}  # fmt: skip
        self._fixed = {name: self._as_stored(zeros(n, *shape)) for name, shape in shapes.items()}
        """Parts of an observation that stay constant in an episode; tensors have the precision of observations."""
        self._everywhere = np.arange(n)

    def _zeros(self, *shape: int) -> Any:
        return self._state(np.zeros(shape, dtype=np.float32))

    def _state(self, values: Any) -> Any:
        """Convert an array or tensor to state: it moves to the device, and 64-bit floats become 32-bit ones."""
        if self.device is not None:
            values = torch.as_tensor(values, device=self.device)
            return values.float() if values.is_floating_point() else values
        values = values if isinstance(values, np.ndarray) else values.numpy()
        return values.astype(np.float32) if values.dtype == np.float64 else values

    def _as_seen(self, values: Any, copy: bool = True) -> Any:
        """Return state in the precision of observations; with ``copy`` the caller may keep it."""
        if self.device is not None:
            return values.to(self._precision, copy=copy)
        return values.astype(self._precision, copy=copy)

    def _as_stored(self, values: Any) -> Any:
        """Return the stored form of a constant part: on a device in the precision of observations, to copy less."""
        return values if self.device is None else self._as_seen(values, copy=False)

    def iou(self) -> Any:
        """Return the IoU of the boxes with the targets, float64 (N,), NaN without labels; the caller may keep it.

        With ``targets="any"`` it is the largest IoU with a target, and 0 if nothing is meant.
        """
        if self.answers:
            return self.answers.iou(self.boxes, self.scales)
        return target_iou(self.boxes, self.targets, self.scales)

    def outcome(self) -> dict[str, Any]:
        """Return ``iou`` and ``is_success``, and ``set_f1`` with ``targets="any"``, (N,) each.

        The F1 (at an IoU of 0.5) is that of the answer if the episode ended now. ``iou`` and ``set_f1`` are NaN without
        labels.
        """
        iou = self.iou()
        if not self.answers:
            return {"iou": iou, "is_success": iou >= SUCCESS_IOU}
        f1 = self.answers.hard_f1(self.boxes, self.scales)
        return {"iou": iou, "is_success": f1 >= 1, "set_f1": f1}

    def true_boxes(self, row: int) -> np.ndarray | None:
        """Return the normalised targets (k, 4) of a row; None without labels."""
        if not self.answers:
            target = to_numpy(self.targets)[row]
            return None if np.isnan(target[0]) else target[None]
        count = int(self.answers.num_targets[row])
        return None if count < 0 else to_numpy(self.answers.targets)[row, :count]

    def recorded_boxes(self, row: int) -> list[np.ndarray]:
        """Return the recorded boxes of a row, (4,) each."""
        values = self.recorded()
        return list(values["boxes"][row, : values["num_boxes"][row]]) if values else []

    def recorded(self) -> dict[str, np.ndarray]:
        """Return the recorded ``boxes`` (N, C, 4), zeros beyond ``num_boxes`` (N,); empty with ``targets="one"``."""
        if not self.answers:
            return {}
        return {"boxes": to_numpy(self.answers.boxes).copy(), "num_boxes": to_numpy(self.answers.count).copy()}
