"""What an expression means in a picture, and pictures of it: the box, what it was chosen from, an agent's path."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from vg_gym import boxes as box_ops
from vg_gym.data.images import ArrayImage
from vg_gym.envs.rendering import draw_boxes, draw_frame
from vg_gym.errors import VGGymError

SMALLEST = 512
"""Pixels of the longer side of what is drawn, at least."""
COLD_TO_WARM = ((12, 12, 48), (84, 28, 120), (196, 56, 84), (255, 150, 50))
"""Colours (R, G, B) of a heat map, evenly spaced from 0 to 1."""
PICTURE_SHARE = 0.4
"""How much of the picture, in grey, is seen through its heat map."""


@dataclass(frozen=True)
class Found:
    """What an expression means in a picture."""

    box: np.ndarray
    """Left, top, right and bottom in pixels, float32 (4,)."""
    score: float | None
    """What the method says of it, in its own unit; None where it says nothing."""
    expression: str
    """As asked."""
    method: str
    """What answered."""
    clip: str
    """The CLIP that it was given, where it takes one; else empty."""
    image: ArrayImage = field(repr=False)
    """The picture."""
    source: Any = field(repr=False)
    """The picture as it was given."""
    details: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """What else the method says; see :class:`vg_gym.types.Prediction`."""
    seconds: float = 0.0
    """How long the answer took, the mean of those that were answered together; a first one may include loading."""

    @property
    def trajectory(self) -> np.ndarray:
        """Boxes that an agent went through, (T+1, 4) pixels; the answer alone, (1, 4), of a method without steps."""
        return np.asarray(self.details.get("trajectory", self.box[None]), np.float32)

    @property
    def proposals(self) -> np.ndarray:
        """Boxes that the answer was chosen from, (P, 4) pixels, the likeliest first; (0, 4) of a method without any."""
        boxes = np.asarray(self.details.get("proposals", ()), np.float32).reshape(-1, 4)
        scores = self.details.get("scores", self.details.get("confidences"))
        return boxes if scores is None else boxes[np.argsort(-np.asarray(scores), kind="stable")]

    def draw(self, step: int | None = None, target: np.ndarray | None = None, size: int | None = None) -> Image.Image:
        """The picture with the box, captioned.

        Args:
            step: row of :attr:`trajectory` that is drawn, with those before it in white; default: the answer alone.
            target: the true box (4,) in pixels, where known, dashed green.
            size: pixels of the longer side; default: the picture's own, but at least 512.

        Raises:
            VGGymError: there is no such step.
        """
        path = self._normalized(self.trajectory)
        if step is not None and not 0 <= step < len(path):
            raise VGGymError(f"{self.method} has no step {step}: its trajectory has steps 0 to {len(path) - 1}")
        frame = draw_frame(
            self.image.array(),
            self._normalized(self.box) if step is None else path[step],
            target=None if target is None else self._normalized(target),
            trail=[] if step is None else list(path[:step]),
            expression=self.expression,
            step="" if step is None else f"{step}/{len(path) - 1}",
            size=size or self._size,
        )
        return Image.fromarray(frame)

    def draw_proposals(self, size: int | None = None) -> Image.Image:
        """The picture with :attr:`proposals` in white, the less likely the fainter, and the box.

        Args:
            size: as of :meth:`draw`.

        Raises:
            VGGymError: the method has none.
        """
        if not len(self.proposals):
            raise VGGymError(f"{self.method} has no proposals to draw")
        others = list(self._normalized(self.proposals[::-1]))
        box = self._normalized(self.box)
        return Image.fromarray(draw_boxes(self.image.array(), box, trail=others, size=size or self._size))

    def draw_heat_map(self, size: int | None = None) -> Image.Image:
        """The picture in grey under the method's heat map, and the box.

        Args:
            size: as of :meth:`draw`.

        Raises:
            VGGymError: the method has none.
        """
        if "heat_map" not in self.details:
            raise VGGymError(f"{self.method} has no heat map to draw")
        warmed = overlay(self.image.array(), self.details["heat_map"])
        return Image.fromarray(draw_boxes(warmed, self._normalized(self.box), size=size or self._size))

    @property
    def _size(self) -> int:
        return max(SMALLEST, *self.image.size)

    def _normalized(self, boxes: np.ndarray) -> np.ndarray:
        return box_ops.normalize(boxes, self.image.size)


def overlay(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """An image in grey under a heat map, uint8 (H, W, 3).

    Args:
        image: uint8 (H, W, 3).
        heat: (h, w) of any scale; what is warmest is orange, what is coldest dark blue.
    """
    low, high = float(heat.min()), float(heat.max())
    scaled = np.asarray((heat - low) / max(high - low, 1e-8), np.float32)
    height, width = image.shape[:2]
    warm = np.asarray(Image.fromarray(scaled).resize((width, height), Image.Resampling.BILINEAR))
    stops = np.linspace(0, 1, len(COLD_TO_WARM))
    colors = np.stack([np.interp(warm, stops, channel) for channel in zip(*COLD_TO_WARM, strict=True)], axis=-1)
    grey = np.asarray(Image.fromarray(image).convert("L"), np.float32)[..., None]
    return np.round((1 - PICTURE_SHARE) * colors + PICTURE_SHARE * grey).astype(np.uint8)
