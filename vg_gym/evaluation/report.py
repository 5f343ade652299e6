"""The table on the terminal, and ``report.html``: one page that needs nothing else."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, select_autoescape
from PIL import Image, ImageDraw
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from vg_gym.evaluation.scatter import png, scatter
from vg_gym.storage.files import replacing, write_text
from vg_gym.types import Sample

Row = dict[str, Any]
"""A row of ``results.json``, and its ``ious``."""
PredictedBox = Callable[[str, int], list[float] | None]
"""(method, index of a sample) -> its predicted pixel box, None where there is none."""

COLORS = ("#e8590c", "#1c7ed6", "#2f9e44", "#9c36b5", "#e03131", "#0c8599", "#f08c00", "#495057", "#6741d9", "#c2255c")
"""Of methods, in curves and gallery."""
GALLERY = 12
"""Samples that the page shows."""


def print_table(rows: list[dict[str, Any]], title: str) -> None:
    """Print rows: floors first, then methods, then ceilings, as they were added."""
    table = Table(title=title)
    refined = any("refined_by" in row for row in rows)
    figures = ("mean IoU", "95 % CI", "Acc@0.5", "95 % CI", "Acc@0.75", "tightness", "evals", "ms", "failed")
    for name in ("method", "role", *figures, *(("refined by", "95 % CI") if refined else ())):
        table.add_column(name, justify="left" if name in ("method", "role") else "right", no_wrap=name == "method")
    for row in rows:
        table.add_row(
            escape(row["method"]),
            row["role"],
            f"{row['mean_iou']:.3f}",
            _interval(row["mean_iou_ci"]),
            f"{row['acc@0.5']:.3f}",
            _interval(row["acc@0.5_ci"]),
            f"{row['acc@0.75']:.3f}",
            _number(row.get("tightness"), "{:.3f}"),
            _number(row.get("evaluations"), "{:,.1f}"),
            _number(row.get("ms_per_query"), "{:.1f}"),
            _number(row.get("failures"), "{}"),
            *_gain(row, refined),
            style={"floor": "dim", "method": "bold"}.get(row["role"], ""),
        )
    Console(width=None if Console().is_terminal else 198 if refined else 168).print(table)


def print_counts(rows: list[dict[str, Any]], title: str) -> None:
    """Print rows of methods on data without boxes: how many queries, how long, how many failed."""
    table = Table(title=title)
    for name in ("method", "role", "queries", "evals", "ms", "failed"):
        table.add_column(name, justify="left" if name in ("method", "role") else "right")
    for row in rows:
        table.add_row(
            escape(row["method"]),
            row["role"],
            f"{row['n']:,}",
            _number(row["evaluations"], "{:,.1f}"),
            _number(row["ms_per_query"], "{:.1f}"),
            f"{row['failures']:,}",
        )
    Console(width=None if Console().is_terminal else 168).print(table)


def _gain(row: dict[str, Any], refined: bool) -> list[str]:
    """The paired difference of mean IoU that refinement makes."""
    if not refined:
        return []
    if "refined_by" not in row:
        return ["", ""]
    low, high = row["refined_by"]["ci"]
    return [f"{row['refined_by']['mean']:+.3f}", f"{low:+.3f} to {high:+.3f}"]


def _interval(ci: Any) -> str:
    return f"{ci[0]:.3f}-{ci[1]:.3f}"


def _number(value: Any, form: str) -> str:
    return "" if value is None else form.format(value)


def write_report(
    out: Path, rows: list[Row], samples: Sequence[Sample], predicted_box: PredictedBox, meta: dict[str, Any]
) -> None:
    """Write ``report.html`` into a folder, and ``refined.png`` where a row is refined.

    Args:
        out: the folder.
        rows: of the evaluator.
        samples: what was evaluated on; a few are shown.
        predicted_box: what is drawn on them.
        meta: how the results came about.
    """
    templates = Environment(loader=PackageLoader("vg_gym.evaluation", "."), autoescape=select_autoescape())
    shown = [row for row in rows if row["role"] != "floor"] or rows
    page = templates.get_template("report.html").render(
        rows=rows,
        planted=any(row["planted_prior"] for row in rows),
        kinds=sorted({kind for row in rows for kind in row["by_kind"]}),
        curves=[(row["method"], _color(i), _curve(row["ious"])) for i, row in enumerate(shown)],
        refined=_refined(out, rows),
        gallery=_gallery(samples, [row["method"] for row in shown], predicted_box),
        meta=meta,
    )
    write_text(out / "report.html", page)


def _refined(out: Path, rows: list[Row]) -> str:
    """The scatter of refined rows, written as ``refined.png`` and returned as a data URI; empty without such rows."""
    if not any(row.get("refines") for row in rows):
        return ""
    content = png(scatter(rows))
    with replacing(out / "refined.png") as part:
        part.write_bytes(content)
    return _data_uri(content)


def _color(index: int) -> str:
    return COLORS[index % len(COLORS)]


def _curve(ious: list[float], width: int = 460, height: int = 260) -> str:
    """Points of the curve "share of expressions with IoU >= x" for an SVG polyline."""
    values = np.asarray(ious)
    xs = np.linspace(0, 1, 51)
    return " ".join(f"{x * width:.1f},{height * (1 - np.mean(values >= x)):.1f}" for x in xs)


def _gallery(samples: Sequence[Sample], methods: Sequence[str], predicted_box: PredictedBox) -> list[dict[str, Any]]:
    """A few samples with the true box (white) and every method's box in its colour."""
    step = max(1, len(samples) // GALLERY)
    return [
        {
            **_drawn(samples[index], [predicted_box(method, index) for method in methods]),
            "text": samples[index].query.expression,
            "kind": samples[index].kind,
        }
        for index in range(0, len(samples), step)[:GALLERY]
    ]


def _drawn(sample: Sample, boxes: Sequence[list[float] | None]) -> dict[str, str]:
    """The picture as ``uri``, or why there is none as ``lost``."""
    try:
        return {"uri": _data_uri(png(_draw(sample, boxes)))}
    except Exception as error:  # an image may be anybody's
        return {"lost": f"{type(error).__name__}: {error}"}


def _draw(sample: Sample, boxes: Sequence[list[float] | None]) -> Image.Image:
    pixels = Image.fromarray(sample.query.image.array())
    scale = 256 / max(pixels.size)
    canvas = pixels.resize((max(1, round(pixels.width * scale)), max(1, round(pixels.height * scale))))
    draw = ImageDraw.Draw(canvas)
    draw.rectangle((sample.box * scale).tolist(), outline="white", width=4)
    for i, box in enumerate(boxes):
        if box is not None:
            draw.rectangle((np.array(box) * scale).tolist(), outline=_color(i), width=2)
    return canvas


def _data_uri(content: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(content).decode()
