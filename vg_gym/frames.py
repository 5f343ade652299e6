"""Frames: unit and order of the four numbers of a box.

Some vision-language models answer in pixels, others in thousandths or in bins of a vocabulary of location tokens. In
the wrong frame a perfect answer scores 0. So a frame is always named and never guessed, and :class:`FrameCheck` warns
when boxes do not look like boxes of the named frame.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym.errors import VGGymError, unknown


@dataclass(frozen=True)
class Frame:
    """Unit and order of coordinates."""

    summary: str
    """Short description, used in messages and prompts."""
    span: float | None = None
    """Width and height of the image in this unit; None: its size in pixels."""
    resized: bool = False
    """True if pixels are those of the image that the model saw, False for the original image."""
    bins: bool = False
    """True if numbers are indices of bins; an index stands for the middle of its bin."""
    vertical_first: bool = False
    """True if the order is y1, x1, y2, x2."""
    token: str = ""
    """Format of a location token, with ``{}`` for the number; empty: plain numbers."""
    last: int = 0
    """Largest number of a location token."""


FRAMES: dict[str, Frame] = {
    "pixels": Frame("pixels of the original image"),
    "resized": Frame("pixels of the image as the model saw it (Qwen2.5-VL)", resized=True),
    "0-1000": Frame("thousandths of the image's sides (Qwen2-VL, Qwen3-VL, InternVL)", span=1000.0),
    "0-1000-yx": Frame(
        "thousandths of the image's sides, y before x (box_2d of Gemini)", span=1000.0, vertical_first=True
    ),
    "normalised": Frame("fractions of the image's sides, 0 to 1", span=1.0),
    "loc": Frame("bins <loc_0> to <loc_999> (Florence-2)", span=1000.0, bins=True, token="<loc_{}>", last=999),
    "loc1024": Frame(
        "<loc0000> to <loc1023>, y before x (PaliGemma)", span=1024.0, vertical_first=True, token="<loc{:04d}>",
        last=1023,
    ),
    "rex": Frame("tokens <0> to <999>, the last at the far edge (Rex-Omni)", span=999.0, token="<{}>", last=999),
}  # fmt: skip
"""Frames by name."""

Size = tuple[int, int]
"""(width, height) in pixels."""


def frame_called(name: str) -> Frame:
    """Return the frame with a name.

    Raises:
        VGGymError: the name is unknown.
    """
    if name not in FRAMES:
        raise unknown("box frame", name, FRAMES)
    return FRAMES[name]


def to_pixels(boxes: np.ndarray, frame: str, size: Size, input_size: Size | None = None) -> np.ndarray:
    """Convert boxes in a frame to ``xyxy`` pixels of the original image.

    Corners may have any order. Boxes are not clamped to the image.

    Args:
        boxes: numbers in the frame, (..., 4).
        frame: key of :data:`FRAMES`.
        size: size of the original image.
        input_size: size of the image that the model saw; only ``resized`` needs it.

    Returns:
        Boxes, float32 (..., 4).

    Raises:
        VGGymError: the frame is unknown, or it needs an ``input_size`` that is missing.

    >>> to_pixels(np.array([0, 500, 250, 1000]), "0-1000", (640, 480)).tolist()
    [0.0, 240.0, 160.0, 480.0]
    """
    unit = frame_called(frame)
    numbers = np.asarray(boxes, dtype=np.float64)
    if unit.vertical_first:
        numbers = numbers[..., [1, 0, 3, 2]]
    pixels = (numbers + 0.5 * unit.bins) * _pixels_per_unit(frame, unit, size, input_size)
    low, high = pixels[..., :2], pixels[..., 2:]
    return np.concatenate([np.minimum(low, high), np.maximum(low, high)], axis=-1).astype(np.float32)


def from_pixels(boxes: np.ndarray, frame: str, size: Size, input_size: Size | None = None) -> np.ndarray:
    """Convert pixel boxes to numbers in a frame, the inverse of :func:`to_pixels`.

    Thousandths and pixels are rounded to integers. A bin is the one that contains the coordinate.

    Args:
        boxes: ``xyxy`` pixels of the original image, (..., 4).
        frame: key of :data:`FRAMES`.
        size: size of the original image.
        input_size: size of the image that the model saw; only ``resized`` needs it.

    Returns:
        Numbers in the frame, float64 (..., 4).

    Raises:
        VGGymError: the frame is unknown, or it needs an ``input_size`` that is missing.

    >>> from_pixels(np.array([0, 240, 160, 480]), "loc1024", (640, 480)).tolist()
    [512.0, 0.0, 1023.0, 256.0]
    """
    unit = frame_called(frame)
    numbers = np.asarray(boxes, dtype=np.float64) / _pixels_per_unit(frame, unit, size, input_size)
    if unit.bins:
        numbers = np.floor(numbers)
    elif frame != "normalised":
        numbers = np.round(numbers)
    if unit.token:  # bins count from 0
        numbers = np.clip(numbers, 0, unit.last)
    return numbers[..., [1, 0, 3, 2]] if unit.vertical_first else numbers


def _pixels_per_unit(name: str, frame: Frame, size: Size, input_size: Size | None) -> np.ndarray:
    """Return the pixels of the original image per unit, for x1, y1, x2 and y2, float64 (4,)."""
    scale = box_ops.image_scale(size).astype(np.float64)
    if frame.resized:
        if input_size is None:
            raise VGGymError(f"boxes in the frame {name!r} need the size of the image that the model saw; use another")
        return scale / box_ops.image_scale(input_size)
    return scale / frame.span if frame.span else np.ones(4)


def say(box: np.ndarray, frame: str, size: Size, input_size: Size | None = None) -> str:
    """Format a pixel box (4,) as a text such as ``[12, 40, 80, 99]``, or as location tokens if the frame has them.

    Args:
        box: ``xyxy`` pixels of the original image.
        frame: key of :data:`FRAMES`.
        size: size of the original image.
        input_size: size of the image that the model saw; only ``resized`` needs it.

    >>> say(np.array([0, 240, 160, 480]), "loc", (640, 480))
    '<loc_0><loc_500><loc_250><loc_999>'
    >>> say(np.array([0, 240, 160, 480]), "normalised", (640, 480))
    '[0.0, 0.5, 0.25, 1.0]'
    """
    numbers = from_pixels(box, frame, size, input_size).tolist()
    if token := FRAMES[frame].token:
        return "".join(token.format(int(number)) for number in numbers)
    written = (str(round(number, 4)) if frame == "normalised" else str(int(number)) for number in numbers)
    return f"[{', '.join(written)}]"


def is_within(box: Sequence[float], frame: str, size: Size, input_size: Size | None = None) -> bool:
    """Return True if all numbers of a box are valid in the frame: inside the image, and no fractions as thousandths.

    Args:
        box: four numbers in the frame.
        frame: key of :data:`FRAMES`.
        size: size of the original image.
        input_size: size of the image that the model saw; only ``resized`` needs it.

    >>> is_within([0, 0, 1000, 1000], "0-1000", (640, 480)), is_within([100, 100, 1920, 1080], "0-1000", (640, 480))
    (True, False)
    """
    unit = frame_called(frame)
    numbers = np.asarray(box, dtype=np.float64)
    if unit.span == 1000 and numbers.max() <= 1 and (numbers % 1).any():
        return False
    if unit.vertical_first:
        numbers = numbers[[1, 0, 3, 2]]
    ends = box_ops.image_scale(size) / _pixels_per_unit(frame, unit, size, input_size)
    return bool((numbers >= 0).all() and (numbers <= ends * (1 + 1e-9)).all())


MIN_CHECKED_BOXES = 8
"""Number of boxes that a :class:`FrameCheck` sees before it may warn."""
FAR_OUTSIDE_SIDES = 1.1
"""A coordinate beyond this multiple of the image's side is far outside."""
CORNER_SIDES = 0.05
"""A box that ends before this share of both sides lies in the corner."""


class FrameCheck:
    """Check that warns once if most boxes lie outside their images, or all boxes lie in a corner.

    Args:
        who: name of the model that gives the boxes, for the warning.
        frame: frame in which the boxes are read.
    """

    def __init__(self, who: str, frame: str):
        self.who, self.frame = who, frame
        self.seen, self.outside, self.cornered, self.warned = 0, 0, 0, False

    def see(self, box: np.ndarray, size: Size) -> None:
        """Count one box, ``xyxy`` pixels (4,), which is not yet clamped to the image of ``size``."""
        reach = box / box_ops.image_scale(size)
        self.seen += 1
        self.outside += bool(reach.max() > FAR_OUTSIDE_SIDES or reach.min() < 1 - FAR_OUTSIDE_SIDES)
        self.cornered += bool(reach.max() < CORNER_SIDES)
        if self.seen >= MIN_CHECKED_BOXES and not self.warned and (looks := self._looks()):
            self.warned = True
            others = ", ".join(name for name in FRAMES if name != self.frame)
            warnings.warn(
                f"{self.who}: {looks}. They are read in the frame {self.frame!r} ({FRAMES[self.frame].summary}), which "
                f"is likely wrong: name the right one with frame=, one of {others}",
                stacklevel=3,
            )

    def _looks(self) -> str:
        if 2 * self.outside > self.seen:
            return f"{self.outside} of {self.seen} boxes reach far outside their images"
        if self.cornered == self.seen:
            return f"all {self.seen} boxes lie in the top left corner of their images"
        return ""


def place(box: Sequence[float], frame: str, size: Size, input_size: Size | None = None) -> np.ndarray | None:
    """Convert a box in a frame to a valid pixel box (4,) of the original image; None if it lies outside the image.

    Args:
        box: four numbers in the frame.
        frame: key of :data:`FRAMES`.
        size: size of the original image.
        input_size: size of the image that the model saw; only ``resized`` needs it.
    """
    inside = box_ops.fit_inside(to_pixels(np.asarray(box), frame, size, input_size), size)
    return inside if bool(box_ops.is_valid(inside, size)) else None
