"""A rectangle of an image as an image of its own, which an encoder sees at its full resolution."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vg_gym.types import ImageRef

VIEW_SIDES = 2.0
"""Side of the square view around a box, in longer sides of the box."""


@dataclass(frozen=True)
class ImageView:
    """A rectangle of an image; implements :class:`vg_gym.types.ImageRef`."""

    image: ImageRef
    """The whole image."""
    box: tuple[int, int, int, int]
    """Corners (x1, y1, x2, y2) in whole pixels."""

    @property
    def key(self) -> str:
        """Identity of the pixels."""
        return f"{self.image.key}#{','.join(map(str, self.box))}"

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        x1, y1, x2, y2 = self.box
        return x2 - x1, y2 - y1

    def array(self) -> np.ndarray:
        """Return the pixels, uint8 RGB (H, W, 3)."""
        x1, y1, x2, y2 = self.box
        return np.ascontiguousarray(self.image.array()[y1:y2, x1:x2])


def view_around(box: np.ndarray, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return the view around a box: a square of twice its longer side, moved into the image, in whole pixels.

    A square that is larger than the image is cut to it.

    Args:
        box: ``xyxy`` pixels (4,).
        size: width and height of the image.

    >>> view_around(np.array([10, 20, 30, 30]), (128, 96)), view_around(np.array([0, 0, 60, 60]), (128, 96))
    ((0, 5, 40, 45), (0, 0, 120, 96))
    """
    side = round(VIEW_SIDES * float(max(box[2] - box[0], box[3] - box[1])))
    low, high = [], []
    for axis in range(2):
        extent = int(np.clip(side, 1, size[axis]))
        begin = round(float(box[axis] + box[axis + 2] - extent) / 2)
        low.append(int(np.clip(begin, 0, size[axis] - extent)))
        high.append(low[axis] + extent)
    return low[0], low[1], high[0], high[1]
