"""Frames of episodes, drawn with Pillow, and sheets of them. Boxes are normalised ``xyxy``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vg_gym.boxes import iou
from vg_gym.errors import VGGymError
from vg_gym.storage.files import replacing

BOX, TARGET, TRAIL, RECORDED = (255, 214, 10), (60, 220, 120), (255, 255, 255), (255, 110, 40)
"""Colours (R, G, B) of the current box, the true boxes, earlier boxes and recorded boxes."""
_BAR = 44
"""Height of the caption in pixels."""
_LINE = 18
"""Height of a line of notes in pixels."""


def draw_frame(
    image: np.ndarray,
    box: np.ndarray,
    target: np.ndarray | None = None,
    trail: Sequence[np.ndarray] = (),
    expression: str = "",
    score: float | None = None,
    iou: float | None = None,
    step: str = "",
    size: int = 512,
    recorded: Sequence[np.ndarray] = (),
) -> np.ndarray:
    """Draw a frame of an episode: :func:`draw_boxes` with a caption.

    Args:
        image: uint8 (H, W, 3); scaled so that its longer side is ``size`` pixels.
        box: the current box (4,), yellow, or several (m, 4); the first is the thickest, and there may be no box.
        target: the true box (4,), dashed green, or several (k, 4), if known.
        trail: earlier boxes, white; older ones are fainter.
        expression: caption on one line, truncated if it is too long.
        score: CLIP score, in the caption and as a bar from 0 to 1.
        iou: IoU, in the caption.
        step: progress of the episode, e.g. ``"3/10"``.
        size: length of the longer side in pixels.
        recorded: boxes that are already part of the answer, orange.

    Returns:
        Frame, uint8 (h + caption, w, 3).
    """
    return _caption(draw_boxes(image, box, target, trail, size, recorded), expression, score, iou, step)


def draw_boxes(
    image: np.ndarray,
    box: np.ndarray,
    target: np.ndarray | None = None,
    trail: Sequence[np.ndarray] = (),
    size: int = 512,
    recorded: Sequence[np.ndarray] = (),
) -> np.ndarray:
    """Draw boxes on an image, uint8 (h, w, 3).

    Args:
        image: uint8 (H, W, 3).
        box: see :func:`draw_frame`.
        target: see :func:`draw_frame`.
        trail: see :func:`draw_frame`.
        size: length of the longer side of the result in pixels.
        recorded: see :func:`draw_frame`.
    """
    height, width = image.shape[:2]
    factor = size / max(height, width)
    shape = max(1, round(width * factor)), max(1, round(height * factor))
    canvas = Image.fromarray(image).resize(shape, Image.Resampling.BICUBIC)
    layer = Image.new("RGBA", canvas.size, (0, 0, 0, 0))
    draw = ImageDraw.Draw(layer)
    for age, old in enumerate(reversed(list(trail))):
        draw.rectangle(_pixels(old, canvas.size), outline=(*TRAIL, max(40, 200 - 32 * age)), width=2)
    for true in () if target is None else np.reshape(target, (-1, 4)):
        _dashed(draw, _pixels(true, canvas.size), TARGET)
    for done in recorded:
        draw.rectangle(_pixels(done, canvas.size), outline=(*RECORDED, 255), width=max(2, size // 128))
    for rank, one in reversed(list(enumerate(np.reshape(box, (-1, 4))))):
        draw.rectangle(_pixels(one, canvas.size), outline=(*BOX, 255), width=max(2, size // (256 if rank else 128)))
    return np.asarray(Image.alpha_composite(canvas.convert("RGBA"), layer).convert("RGB"))


def draw_zoom(image: np.ndarray, box: np.ndarray, size: int = 512, margin: float = 0.25) -> np.ndarray:
    """Draw a box on the enlarged part of the image around it, uint8 (h, w, 3).

    Args:
        image: uint8 (H, W, 3).
        box: the box (4,), normalised.
        size: length of the longer side of the result in pixels.
        margin: width of the margin around the box, as a fraction of its sides; it ends at the border of the image.
    """
    scales = np.tile(image.shape[1::-1], 2)
    region = np.clip(np.asarray(box) + margin * np.tile(box[2:] - box[:2], 2) * [-1, -1, 1, 1], 0, 1) * scales
    left, top = np.floor(region[:2]).astype(int).tolist()
    right, bottom = np.ceil(region[2:]).astype(int).tolist()
    within = (np.asarray(box) * scales - [left, top, left, top]) / np.tile([right - left, bottom - top], 2)
    return draw_boxes(image[top:bottom, left:right], within, size=size)


def _pixels(box: np.ndarray, size: tuple[int, int]) -> list[float]:
    x1, y1, x2, y2 = (np.asarray(box, dtype=float) * np.array([*size, *size])).tolist()
    return [x1, y1, max(x2 - 1, x1), max(y2 - 1, y1)]


def _dashed(draw: ImageDraw.ImageDraw, box: list[float], color: tuple[int, int, int], dash: int = 8) -> None:
    x1, y1, x2, y2 = box
    for a, b, across, vertical in ((x1, x2, y1, 0), (x1, x2, y2, 0), (y1, y2, x1, 1), (y1, y2, x2, 1)):
        for start in np.arange(a, b, 2 * dash):
            end = min(start + dash, b)
            line = [(across, start), (across, end)] if vertical else [(start, across), (end, across)]
            draw.line(line, fill=(*color, 255), width=3)


def _caption(frame: np.ndarray, expression: str, score: float | None, iou: float | None, step: str) -> np.ndarray:
    """Add two dark lines of text below a frame, the expression and the numbers, and a score bar at the bottom."""
    height, width = frame.shape[:2]
    canvas = Image.new("RGB", (width, height + _BAR), (24, 24, 28))
    canvas.paste(Image.fromarray(frame), (0, 0))
    draw = ImageDraw.Draw(canvas)
    big, small = ImageFont.load_default(13), ImageFont.load_default(12)
    draw.text((6, height + 4), _shortened(expression, big, width - 12), fill=(240, 240, 240), font=big)
    draw.text((6, height + 22), _numbers(score, iou, step), fill=(170, 170, 185), font=small)
    if score is not None:
        length = float(np.clip(score, 0, 1)) * width
        draw.rectangle([0, height + _BAR - 4, length, height + _BAR], fill=BOX)
    return np.asarray(canvas)


def _numbers(score: float | None, iou: float | None, step: str) -> str:
    numbers = [f"step {step}"] if step else []
    numbers += [f"{name} {value:.2f}" for name, value in (("clip", score), ("IoU", iou)) if value is not None]
    return "   ".join(numbers)


def with_notes(frame: np.ndarray, lines: Sequence[str], width: int = 512) -> np.ndarray:
    """Add lines of text below a frame, uint8 (h + 18 per line, w, 3); a frame narrower than ``width`` is padded."""
    height, frame_width = frame.shape[:2]
    canvas = Image.new("RGB", (max(frame_width, width), height + _LINE * len(lines) + 6), (24, 24, 28))
    canvas.paste(Image.fromarray(frame), ((canvas.width - frame_width) // 2, 0))
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(12)
    for number, line in enumerate(lines):
        draw.text((6, height + 2 + _LINE * number), line, fill=(170, 170, 185), font=font)
    return np.asarray(canvas)


def describe(
    box: np.ndarray, expression: str = "", score: float | None = None, iou: float | None = None, step: str = ""
) -> str:
    """Describe a step of an episode in one line.

    Args:
        box: normalised (4,).
        expression: referring expression of the episode.
        score: CLIP score.
        iou: IoU.
        step: progress of the episode, e.g. ``"3/10"``.

    >>> describe(np.array([0, 0, 0.5, 1]), "the red star", 0.25, step="3/10")
    'the red star   box 0.00 0.00 0.50 1.00   step 3/10   clip 0.25'
    """
    corners = " ".join(f"{value:.2f}" for value in box)
    return f"{expression}   box {corners}   {_numbers(score, iou, step)}"


def _shortened(text: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, width: float) -> str:
    """Return the text on one line, truncated with an ellipsis at ``width`` pixels; empty if nothing fits."""
    text = " ".join(text.split())
    if font.getlength(text) <= width:
        return text
    cuts = (text[:end].rstrip() + "…" for end in range(len(text) - 1, 0, -1))
    return next((cut for cut in cuts if font.getlength(cut) <= width), "")


def contact_sheet(frames: Sequence[np.ndarray], columns: int = 4, gap: int = 6) -> np.ndarray:
    """Arrange frames in a grid, uint8; smaller frames are padded to the size of the largest.

    Raises:
        VGGymError: ``frames`` is empty.
    """
    if not frames:
        raise VGGymError("no frames for a contact sheet: frames= is empty; give at least one")
    height, width = (max(frame.shape[axis] for frame in frames) for axis in (0, 1))
    rows = -(-len(frames) // columns)
    sheet = np.full((rows * (height + gap) + gap, columns * (width + gap) + gap, 3), 255, dtype=np.uint8)
    for i, frame in enumerate(frames):
        y, x = gap + (i // columns) * (height + gap), gap + (i % columns) * (width + gap)
        sheet[y : y + frame.shape[0], x : x + frame.shape[1]] = frame
    return sheet


def film(
    image: np.ndarray,
    path: np.ndarray,
    target: np.ndarray | None = None,
    expression: str = "",
    size: int = 320,
    between: int = 3,
) -> list[np.ndarray]:
    """Draw the frames of an episode whose box glides from step to step.

    Args:
        image: uint8 (H, W, 3).
        path: boxes from the first to the last (T + 1, 4).
        target: the true box, if known.
        expression: caption.
        size: length of the longer side of a frame in pixels.
        between: number of frames between two steps.

    Returns:
        T * (between + 1) + 1 frames, uint8.
    """
    times = np.linspace(0, len(path) - 1, (len(path) - 1) * (between + 1) + 1)
    frames = []
    for time in times:
        step = int(time)
        box = path[step] + (time - step) * (path[min(step + 1, len(path) - 1)] - path[step])
        overlap = None if target is None else float(iou(box, target))
        trail = list(path[: step + (time > step)])
        frames.append(draw_frame(image, box, target, trail, expression, iou=overlap, size=size))
    return frames


def save_gif(frames: Sequence[np.ndarray], path: Path, fps: float = 8, hold: float = 1.5, colors: int = 256) -> None:
    """Write frames of one size as an animated GIF that loops.

    Args:
        frames: uint8 (h, w, 3).
        path: path of the file.
        fps: frames per second.
        hold: time that the last frame stays, in seconds.
        colors: number of colours of the palette, which all frames share. The palette covers the range of the colours
            and not their frequency, so that a small cyan heart among many blue ones stays cyan.

    Raises:
        VGGymError: ``frames`` is empty.
    """
    if not frames:
        raise VGGymError(f"no frames for {path}: frames= is empty; give at least one")
    height, width = frames[0].shape[:2]
    lines = [np.full((height // 8, width, 3), color, dtype=np.uint8) for color in (BOX, TARGET, TRAIL)]
    sampled = Image.fromarray(np.concatenate([*lines, *frames[:: max(1, len(frames) // 8)]]))
    palette = sampled.quantize(colors, Image.Quantize.MAXCOVERAGE)
    images = [Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    durations = [1000 / fps] * (len(frames) - 1) + [1000 * hold]
    with replacing(path) as part:
        images[0].save(part, format="GIF", save_all=True, append_images=images[1:], duration=durations, loop=0)
