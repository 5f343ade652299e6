"""Result of grounding an expression in a picture, with drawings of the box, the proposals and an agent's path."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from vg_gym import boxes as box_ops
from vg_gym.data.drawing import BOX, draw_boxes, draw_frame
from vg_gym.data.images import ArrayImage
from vg_gym.errors import VGGymError

NOTHING = "nothing that fits"
"""Text of an answer without a box."""
POINT_SHARE = 0.012
"""Radius of a drawn point, as a share of the picture's longer side."""
MIN_DRAWN_PIXELS = 512
"""Minimum length of the longer side of a drawing, in pixels."""
COLD_TO_WARM = ((12, 12, 48), (84, 28, 120), (196, 56, 84), (255, 150, 50))
"""Colours (R, G, B) of a heat map, evenly spaced from 0 to 1."""
PICTURE_SHARE = 0.4
"""Opacity of the grey picture under its heat map, from 0 to 1."""


@dataclass(frozen=True)
class Found:
    """Boxes of an expression in a picture: usually one, none if nothing fits, or several."""

    boxes: np.ndarray
    """Left, top, right and bottom in pixels, float32 (m, 4), best first."""
    scores: np.ndarray | None
    """Scores of the boxes (m,); None for a method without them."""
    score: float | None
    """Score of the answer, in the method's own unit; None for a method without scores."""
    expression: str
    """Referring expression."""
    method: str
    """Name of the grounder."""
    clip: str
    """Name of the method's CLIP; empty for a method that takes none."""
    image: ArrayImage = field(repr=False)
    """Decoded picture."""
    source: Any = field(repr=False)
    """Picture as the caller passed it: a path, a Pillow image or an array."""
    details: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Further outputs of the method; see :class:`vg_gym.types.Prediction`."""
    seconds: float = 0.0
    """Mean time per answer of the batch, in seconds; the first answer may include loading."""

    @property
    def box(self) -> np.ndarray | None:
        """The best box, float32 (4,); None if nothing fits."""
        return self.boxes[0] if len(self.boxes) else None

    @property
    def point(self) -> np.ndarray | None:
        """The answered point, x and y in pixels (2,); None for a method that answers with boxes."""
        return self.details.get("point")

    @property
    def trajectory(self) -> np.ndarray:
        """Boxes of an agent's path, (T+1, 4) pixels; for a method without steps the best box, (1, 4), if it has one."""
        return np.asarray(self.details.get("trajectory", self.boxes[:1]), np.float32)

    @property
    def proposals(self) -> np.ndarray:
        """Boxes from which the answer was chosen, (P, 4) pixels, the most probable first; else (0, 4)."""
        boxes = np.asarray(self.details.get("proposals", ()), np.float32).reshape(-1, 4)
        scores = self.details.get("scores", self.details.get("confidences"))
        return boxes if scores is None else boxes[np.argsort(-np.asarray(scores), kind="stable")]

    def draw(self, step: int | None = None, target: np.ndarray | None = None, size: int | None = None) -> Image.Image:
        """Draw the picture with the boxes and a caption, which says if nothing fits.

        Args:
            step: row of :attr:`trajectory` to draw, with earlier rows in white; default: the answer only.
            target: true box (4,) in pixels, drawn as a dashed green line.
            size: longer side of the drawing in pixels; default: that of the picture, but at least 512.

        Raises:
            VGGymError: the step is out of range.
        """
        path = self._normalized(self.trajectory)
        if step is not None and not 0 <= step < len(path):
            raise VGGymError(f"{self.method} has no step {step}: its trajectory has steps 0 to {len(path) - 1}")
        frame = draw_frame(
            self._pointed(),
            self._normalized(self.boxes) if step is None else path[step],
            target=None if target is None else self._normalized(target),
            trail=[] if step is None else list(path[:step]),
            expression=self.expression + ("" if len(self.boxes) or self.point is not None else f": {NOTHING}"),
            step="" if step is None else f"{step}/{len(path) - 1}",
            size=size or self._size,
        )
        return Image.fromarray(frame)

    def draw_proposals(self, size: int | None = None) -> Image.Image:
        """Draw the picture with the box and with :attr:`proposals` in white; less probable proposals are fainter.

        Args:
            size: see :meth:`draw`.

        Raises:
            VGGymError: the answer comes without proposals.
        """
        if not len(self.proposals):
            raise VGGymError(f"{self.method} has no proposals to draw")
        others = list(self._normalized(self.proposals[::-1]))
        boxes = self._normalized(self.boxes)
        return Image.fromarray(draw_boxes(self.image.array(), boxes, trail=others, size=size or self._size))

    def draw_heat_map(self, size: int | None = None) -> Image.Image:
        """Draw the picture in grey under the method's heat map, with the box.

        Args:
            size: see :meth:`draw`.

        Raises:
            VGGymError: the answer comes without a heat map.
        """
        if "heat_map" not in self.details:
            raise VGGymError(f"{self.method} has no heat map to draw")
        warmed = overlay(self.image.array(), self.details["heat_map"])
        return Image.fromarray(draw_boxes(warmed, self._normalized(self.boxes), size=size or self._size))

    def _pointed(self) -> np.ndarray:
        """Return the picture with a dot at the point, if the answer is one, uint8 (H, W, 3)."""
        if self.point is None:
            return self.image.array()
        picture, radius = Image.fromarray(self.image.array()), max(2.0, POINT_SHARE * max(self.image.size))
        (x, y), draw = self.point.tolist(), ImageDraw.Draw(picture)
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=BOX, outline="black")
        return np.asarray(picture)

    @property
    def _size(self) -> int:
        return max(MIN_DRAWN_PIXELS, *self.image.size)

    def _normalized(self, boxes: np.ndarray) -> np.ndarray:
        return box_ops.normalize(boxes, self.image.size)


def overlay(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Return an image in grey under a heat map, uint8 (H, W, 3).

    Args:
        image: uint8 (H, W, 3).
        heat: heat map (h, w) of any scale. Its maximum is drawn in orange, its minimum in dark blue.
    """
    low, high = float(heat.min()), float(heat.max())
    scaled = np.asarray((heat - low) / max(high - low, 1e-8), np.float32)
    height, width = image.shape[:2]
    warm = np.asarray(Image.fromarray(scaled).resize((width, height), Image.Resampling.BILINEAR))
    stops = np.linspace(0, 1, len(COLD_TO_WARM))
    colors = np.stack([np.interp(warm, stops, channel) for channel in zip(*COLD_TO_WARM, strict=True)], axis=-1)
    grey = np.asarray(Image.fromarray(image).convert("L"), np.float32)[..., None]
    return np.round((1 - PICTURE_SHARE) * colors + PICTURE_SHARE * grey).astype(np.uint8)
