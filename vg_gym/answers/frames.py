"""Frames: in what unit, and in what order, the four numbers of a box are said.

One vision-language model speaks in pixels, another in thousandths, a third in bins of a vocabulary of places; read in
the wrong frame, a perfect answer scores 0. So a frame is always named, never guessed, and a :class:`FrameCheck` says
aloud when boxes do not look as if they were of the frame that was named.
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
    """A unit of coordinates."""

    summary: str
    """What it is, in a few words."""
    span: float | None = None
    """What the width and the height of the image are in this unit; None: its pixels."""
    resized: bool = False
    """Whether pixels are those of the image that the model saw, not of the original."""
    bins: bool = False
    """Whether numbers are those of bins, which mean the middle of the bin."""
    vertical_first: bool = False
    """Whether the order is y1, x1, y2, x2."""
    token: str = ""
    """How a number is written where each is a word of its own, with ``{}`` for the number; empty: as a number."""


FRAMES: dict[str, Frame] = {
    "pixels": Frame("pixels of the original image"),
    "resized": Frame("pixels of the image as the model saw it (Qwen2.5-VL)", resized=True),
    "0-1000": Frame("thousandths of the image's sides (Qwen2-VL, Qwen3-VL, InternVL)", span=1000.0),
    "0-1000-yx": Frame(
        "thousandths of the image's sides, y before x (box_2d of Gemini)", span=1000.0, vertical_first=True
    ),
    "normalised": Frame("fractions of the image's sides, 0 to 1", span=1.0),
    "loc": Frame("bins <loc_0> to <loc_999> (Florence-2)", span=1000.0, bins=True, token="<loc_{}>"),
    "loc1024": Frame(
        "<loc0000> to <loc1023>, y before x (PaliGemma)", span=1024.0, vertical_first=True, token="<loc{:04d}>"
    ),
}
"""Every frame by name."""

Size = tuple[int, int]
"""(width, height) in pixels."""


def frame_called(name: str) -> Frame:
    """The frame of a name.

    Raises:
        VGGymError: there is none.
    """
    if name not in FRAMES:
        raise unknown("box frame", name, FRAMES)
    return FRAMES[name]


def to_pixels(boxes: np.ndarray, frame: str, size: Size, input_size: Size | None = None) -> np.ndarray:
    """Boxes as they are said, to ``xyxy`` pixels of the original image; corners in any order, not cut to the image.

    Args:
        boxes: (..., 4) numbers in the frame.
        frame: a key of :data:`FRAMES`.
        size: of the original image.
        input_size: of the image as the model saw it; only ``resized`` needs it.

    Returns:
        float32 (..., 4).

    Raises:
        VGGymError: the frame is unknown, or it needs an ``input_size`` and there is none.

    >>> to_pixels(np.array([0, 500, 250, 1000]), "0-1000", (640, 480)).tolist()
    [0.0, 240.0, 160.0, 480.0]
    """
    known = frame_called(frame)
    said = np.asarray(boxes, dtype=np.float64)
    if known.vertical_first:
        said = said[..., [1, 0, 3, 2]]
    pixels = (said + 0.5 * known.bins) * _pixels_per_unit(frame, known, size, input_size)
    low, high = pixels[..., :2], pixels[..., 2:]
    return np.concatenate([np.minimum(low, high), np.maximum(low, high)], axis=-1).astype(np.float32)


def from_pixels(boxes: np.ndarray, frame: str, size: Size, input_size: Size | None = None) -> np.ndarray:
    """Pixel boxes as they are said in a frame: the inverse of :func:`to_pixels`.

    Whole numbers (``0-1000``, pixels) are rounded, bins are those that the coordinates lie in.

    Args:
        boxes: ``xyxy`` pixels (..., 4) of the original image.
        frame: a key of :data:`FRAMES`.
        size: of the original image.
        input_size: of the image as the model saw it; only ``resized`` needs it.

    Returns:
        float64 (..., 4).

    Raises:
        VGGymError: the frame is unknown, or it needs an ``input_size`` and there is none.

    >>> from_pixels(np.array([0, 240, 160, 480]), "loc1024", (640, 480)).tolist()
    [512.0, 0.0, 1023.0, 256.0]
    """
    known = frame_called(frame)
    said = np.asarray(boxes, dtype=np.float64) / _pixels_per_unit(frame, known, size, input_size)
    if known.bins:
        said = np.floor(said)
    elif frame != "normalised":
        said = np.round(said)
    if known.token:  # the last bin is one less than their number
        said = np.clip(said, 0, known.span - 1)  # type: ignore[operator]
    return said[..., [1, 0, 3, 2]] if known.vertical_first else said


def _pixels_per_unit(name: str, frame: Frame, size: Size, input_size: Size | None) -> np.ndarray:
    """float64 (4,): how many pixels of the original one unit is, of x1, y1, x2 and y2."""
    scale = box_ops.image_scale(size).astype(np.float64)
    if frame.resized:
        if input_size is None:
            raise VGGymError(f"boxes in the frame {name!r} need the size of the image that the model saw; name another")
        return scale / box_ops.image_scale(input_size)
    return scale / frame.span if frame.span else np.ones(4)


def say(box: np.ndarray, frame: str, size: Size, input_size: Size | None = None) -> str:
    """A pixel box (4,) as a text: ``[12, 40, 80, 99]``, or as words of places where the frame has such.

    Args:
        box: ``xyxy`` pixels of the original image.
        frame: a key of :data:`FRAMES`.
        size: of the original image.
        input_size: of the image as the model saw it; only ``resized`` needs it.

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


def is_within(said: Sequence[float], frame: str, size: Size, input_size: Size | None = None) -> bool:
    """Whether all numbers of a box are numbers of the frame: none beyond the image, and no fractions as thousandths.

    Args:
        said: four numbers in the frame.
        frame: a key of :data:`FRAMES`.
        size: of the original image.
        input_size: of the image as the model saw it; only ``resized`` needs it.

    >>> is_within([0, 0, 1000, 1000], "0-1000", (640, 480)), is_within([100, 100, 1920, 1080], "0-1000", (640, 480))
    (True, False)
    """
    known = frame_called(frame)
    numbers = np.asarray(said, dtype=np.float64)
    if known.span == 1000 and numbers.max() <= 1 and (numbers % 1).any():
        return False
    if known.vertical_first:
        numbers = numbers[[1, 0, 3, 2]]
    ends = box_ops.image_scale(size) / _pixels_per_unit(frame, known, size, input_size)
    return bool((numbers >= 0).all() and (numbers <= ends * (1 + 1e-9)).all())


CHECKED = 8
"""Boxes that a :class:`FrameCheck` sees before it may speak."""
OUTSIDE = 1.1
"""A coordinate beyond this multiple of the image's side is far outside."""
CORNER = 0.05
"""Boxes that all end before this share of both sides lie in a corner."""


class FrameCheck:
    """Watches boxes as they are read, and warns once where most lie outside their images, or all in a corner.

    Args:
        who: what says the boxes, for the warning.
        frame: the frame they are read in.
    """

    def __init__(self, who: str, frame: str):
        self.who, self.frame = who, frame
        self.seen, self.outside, self.cornered, self.warned = 0, 0, 0, False

    def see(self, box: np.ndarray, size: Size) -> None:
        """Count one box, ``xyxy`` pixels (4,), before it is cut to the image of ``size``."""
        reach = box / box_ops.image_scale(size)
        self.seen += 1
        self.outside += bool(reach.max() > OUTSIDE or reach.min() < 1 - OUTSIDE)
        self.cornered += bool(reach.max() < CORNER)
        if self.seen >= CHECKED and not self.warned and (looks := self._looks()):
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


def place(said: Sequence[float], frame: str, size: Size, input_size: Size | None = None) -> np.ndarray | None:
    """A box as it is said, as a valid pixel box (4,) of the original image; None where nothing of it is in the image.

    Args:
        said: four numbers in the frame.
        frame: a key of :data:`FRAMES`.
        size: of the original image.
        input_size: of the image as the model saw it; only ``resized`` needs it.
    """
    inside = box_ops.fit_inside(to_pixels(np.asarray(said), frame, size, input_size), size)
    return inside if bool(box_ops.is_valid(inside, size)) else None
