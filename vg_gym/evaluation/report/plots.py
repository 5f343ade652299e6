"""Plots as images: IoU before and after refinement, and paired differences with their intervals."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vg_gym.evaluation.intervals import SIGNED, Interval, interval_text
from vg_gym.evaluation.paired import Pair
from vg_gym.storage.outputs import SOFTWARE, SOFTWARE_TAG

INK, GRID, BETTER, WORSE = (33, 37, 41, 255), (222, 226, 230, 255), (47, 159, 68, 90), (224, 49, 49, 90)
MUTED, NEUTRAL = (108, 117, 125), (73, 80, 87)
SIDE, LEFT, TOP, RIGHT, BOTTOM = 260, 46, 62, 14, 40
"""Pixels of the square of a panel and of the margins around it."""
FINE = 3
"""Factor by which points are drawn larger before they are reduced."""


def scatter(rows: Sequence[dict[str, Any]], columns: int = 3) -> Image.Image:
    """Plot the IoU after refinement against the IoU before, one panel per refined row; green: gain, red: loss.

    Args:
        rows: rows of the evaluator; ``refines`` of a refined row names the row of its initial boxes.
        columns: number of panels side by side.

    Raises:
        ValueError: no row is refined.
    """
    before = {row["method"]: row for row in rows}
    pairs = [(before[row["refines"]], row) for row in rows if row.get("refines")]
    if not pairs:
        raise ValueError("no refined row to draw")
    panels = [_panel(old, new) for old, new in pairs]
    columns = min(columns, len(panels))
    width, height = panels[0].size
    sheet = Image.new("RGB", (columns * width, -(-len(panels) // columns) * height), "white")
    for i, panel in enumerate(panels):
        sheet.paste(panel, (i % columns * width, i // columns * height))
    return sheet


def png(image: Image.Image) -> bytes:
    """Return the content of a PNG file whose metadata name this package as the software."""
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[SOFTWARE_TAG] = SOFTWARE
    image.save(buffer, format="PNG", exif=exif)
    return buffer.getvalue()


def _panel(old: dict[str, Any], new: dict[str, Any]) -> Image.Image:
    x, y = (values[~np.isnan(values)] for values in (np.array(row["ious"]) for row in (old, new)))
    panel = Image.new("RGBA", (LEFT + SIDE + RIGHT, TOP + SIDE + BOTTOM), "white")
    draw = ImageDraw.Draw(panel)
    for tick in (0, 0.25, 0.5, 0.75, 1):
        across, up = LEFT + tick * SIDE, TOP + (1 - tick) * SIDE
        draw.line((across, TOP, across, TOP + SIDE), GRID)
        draw.line((LEFT, up, LEFT + SIDE, up), GRID)
        draw.text((across, TOP + SIDE + 6), f"{tick:g}", INK, font(11), anchor="ma")
        draw.text((LEFT - 6, up), f"{tick:g}", INK, font(11), anchor="rm")
    panel.paste(_points(x, y), (LEFT, TOP))
    draw.line((LEFT, TOP + SIDE, LEFT + SIDE, TOP), INK)
    draw.text((LEFT, 10), new["method"], INK, font(15 if len(new["method"]) < 30 else 11))
    if gain := new.get("refined_by"):
        interval = interval_text(gain["ci"], f"95 % CI {SIGNED}")
        draw.text((LEFT, 30), f"mean IoU {x.mean():.3f} to {y.mean():.3f}", INK, font(11))
        draw.text((LEFT, 44), f"{gain['mean']:+.3f}, {interval}", INK, font(11))
    draw.text((LEFT + SIDE / 2, TOP + SIDE + 22), "across: IoU before; up: IoU after", INK, font(11), anchor="ma")
    return panel.convert("RGB")


def _points(x: np.ndarray, y: np.ndarray) -> Image.Image:
    """Draw half-transparent points over the grid of a square."""
    side = SIDE * FINE
    shade = np.zeros((side, side, 4), dtype=np.uint8)
    shade[..., :3] = 255
    canvas = Image.fromarray(shade)
    for grid in (0.25, 0.5, 0.75):
        at = round(grid * side)
        ImageDraw.Draw(canvas).line((at, 0, at, side), GRID, FINE)
        ImageDraw.Draw(canvas).line((0, at, side, at), GRID, FINE)
    for a, b in zip(x, y, strict=True):
        dot = Image.new("RGBA", (4 * FINE, 4 * FINE), (0, 0, 0, 0))
        ImageDraw.Draw(dot).ellipse((0, 0, 4 * FINE - 1, 4 * FINE - 1), BETTER if b >= a else WORSE)
        corner = round(a * (side - 4 * FINE)), round((1 - b) * (side - 4 * FINE))
        canvas.alpha_composite(dot, corner)
    white = Image.new("RGBA", canvas.size, "white")
    return Image.alpha_composite(white, canvas).resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return Pillow's default font at a size in pixels."""
    return ImageFont.load_default(size)


LEFT, PANEL, GAP, LINE, TOP, BOTTOM, MARGIN = 300, 600, 80, 48, 112, 68, 24
"""Pixels of the names, a panel, the space between panels, a line, above and below the lines, and the margin."""
LARGE, MEDIUM, SMALL = 30, 24, 22
"""Font sizes in pixels."""
SCALES = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Possible values at the ends of the axes."""


def draw_pairs(pairs: Sequence[Pair], title: str) -> Image.Image:
    """Draw differences with their intervals: means on the left, shares of right answers on the right, 0 as a line.

    Intervals above 0 are green, intervals below 0 are red, others are grey.

    Args:
        pairs: pairs to draw, one below the other.
        title: title at the top.
    """
    width, lines = LEFT + 2 * PANEL + GAP + 2 * MARGIN, sum(len(pair.differences) + 1 for pair in pairs)
    sheet = Image.new("RGB", (width, TOP + lines * LINE + BOTTOM), "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, 20), _cut(title, width - 2 * MARGIN, LARGE), INK, font(LARGE))
    scale, panels = _scale(pairs), (LEFT, LEFT + PANEL + GAP)
    for x, name in zip(panels, pairs[0].measure[:2], strict=True):
        draw.text((x + PANEL / 2, 70), f"B - A, {name}", INK, font(MEDIUM), anchor="ma")
        _draw_grid(draw, x, lines, scale)
    y = TOP
    for pair in pairs:
        draw.rectangle((0, y, width, y + LINE - 4), "white")
        draw.text((MARGIN, y + LINE / 2), _cut(pair.name, width - 2 * MARGIN, MEDIUM), INK, font(MEDIUM), anchor="lm")
        for difference in pair.differences:
            y += LINE
            about = _cut(f"{difference.kind or 'all'} ({difference.n:,})", LEFT - 3 * MARGIN, MEDIUM)
            draw.text((2 * MARGIN, y + LINE / 2), about, MUTED, font(MEDIUM), anchor="lm")
            _draw_interval(draw, panels[0], y, scale, difference.mean, difference.mean_ci)
            _draw_interval(draw, panels[1], y, scale, difference.accuracy, difference.accuracy_ci)
        y += LINE
    return sheet


def _scale(pairs: Sequence[Pair]) -> float:
    """Return the smallest of the scales that contains all intervals; else the largest."""
    differences = [difference for pair in pairs for difference in pair.differences]
    ends = [abs(end) for d in differences for end in (*(d.mean_ci or ()), *(d.accuracy_ci or ()), d.mean, d.accuracy)]
    return next((scale for scale in SCALES if max(ends) <= scale), SCALES[-1])


def _draw_grid(draw: ImageDraw.ImageDraw, x: int, lines: int, scale: float) -> None:
    bottom = TOP + lines * LINE
    for tick in (-1, -0.5, 0, 0.5, 1):
        tick_x = x + (tick + 1) / 2 * PANEL
        draw.line((tick_x, TOP, tick_x, bottom), GRID if tick else INK, 2)
        draw.text((tick_x, bottom + 12), f"{tick * scale:+g}" if tick else "0", MUTED, font(SMALL), anchor="ma")


def _draw_interval(draw: ImageDraw.ImageDraw, x: int, y: int, scale: float, value: float, ci: Interval | None) -> None:
    first, last = ci or (value, value)
    color = NEUTRAL if ci is None else BETTER[:3] if first > 0 else WORSE[:3] if last < 0 else NEUTRAL
    low, at, high = (x + (end / scale + 1) / 2 * PANEL for end in (first, value, last))
    middle = y + LINE / 2
    draw.line((low, middle, high, middle), color, 5)
    draw.ellipse((at - 9, middle - 9, at + 9, middle + 9), color)


def _cut(text: str, width: int, size: int) -> str:
    """Return text, shortened to at most ``width`` pixels."""
    while len(text) > 4 and font(size).getlength(text) > width:
        text = f"{text[:-2].rstrip('…')}…"
    return text
