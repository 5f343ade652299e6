"""Scatter plot of IoU before and after refinement, with one point per expression."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vg_gym.evaluation.intervals import TOO_FEW
from vg_gym.storage.outputs import SOFTWARE, SOFTWARE_TAG

INK, GRID, BETTER, WORSE = (33, 37, 41, 255), (222, 226, 230, 255), (47, 159, 68, 90), (224, 49, 49, 90)
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
    x, y = np.array(old["ious"]), np.array(new["ious"])
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
    gain = new["refined_by"]
    interval = TOO_FEW if gain["ci"] is None else "95 % CI {:+.3f} to {:+.3f}".format(*gain["ci"])
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
