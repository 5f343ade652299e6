"""The table on the terminal, and ``report.html``: one page that needs nothing else."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jinja2 import Environment, PackageLoader, select_autoescape
from PIL import Image, ImageDraw
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from vg_gym.evaluation.scatter import png, scatter
from vg_gym.storage.files import replacing, write_text

if TYPE_CHECKING:
    from vg_gym.evaluation.evaluator import Evaluator

COLOURS = ("#e8590c", "#1c7ed6", "#2f9e44", "#9c36b5", "#e03131", "#0c8599", "#f08c00", "#495057", "#6741d9", "#c2255c")


def print_table(rows: list[dict[str, Any]], title: str) -> None:
    """Print rows: floors first, then methods, then ceilings, as they were added."""
    table = Table(title=title)
    refined = any("refined_by" in row for row in rows)
    columns = ("method", "role", "mean IoU", "95 % CI", "Acc@0.5", "95 % CI", "Acc@0.75", "evals", "ms", "failed")
    for name in (*columns, *(("refined by", "95 % CI") if refined else ())):
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
            _number(row.get("evaluations"), "{:,.1f}"),
            _number(row.get("ms_per_query"), "{:.1f}"),
            _number(row.get("failures"), "{}"),
            *_gain(row, refined),
            style={"floor": "dim", "method": "bold"}.get(row["role"], ""),
        )
    Console(width=None if Console().is_terminal else 190 if refined else 160).print(table)


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


def write_report(evaluator: Evaluator, meta: dict[str, Any]) -> Path:
    """Write ``report.html`` into the evaluator's folder, and ``refined.png`` where a row is refined."""
    picture = b""
    if any(row.get("refines") for row in evaluator.rows):
        picture = png(scatter(evaluator.rows))
        with replacing(evaluator.out / "refined.png") as part:
            part.write_bytes(picture)
    templates = Environment(loader=PackageLoader("vg_gym.evaluation", "."), autoescape=select_autoescape())
    shown = [row for row in evaluator.rows if row["role"] != "floor"] or evaluator.rows
    page = templates.get_template("report.html").render(
        rows=evaluator.rows,
        planted=any(row["planted_prior"] for row in evaluator.rows),
        kinds=sorted({kind for row in evaluator.rows for kind in row["by_kind"]}),
        curves=[(row["method"], COLOURS[i % len(COLOURS)], _curve(row["ious"])) for i, row in enumerate(shown)],
        refined=_data_uri(picture) if picture else "",
        gallery=_gallery(evaluator, shown),
        meta=meta,
    )
    path = evaluator.out / "report.html"
    write_text(path, page)
    return path


def _curve(ious: list[float], width: int = 460, height: int = 260) -> str:
    """Points of the curve "share of expressions with IoU >= x" for an SVG polyline."""
    values = np.asarray(ious)
    xs = np.linspace(0, 1, 51)
    return " ".join(f"{x * width:.1f},{height * (1 - np.mean(values >= x)):.1f}" for x in xs)


def _gallery(evaluator: Evaluator, rows: list[dict[str, Any]], count: int = 12) -> list[dict[str, Any]]:
    """A few samples with the true box (white) and every shown method's box in its colour."""
    pictures = []
    step = max(1, len(evaluator.samples) // count)
    for index in range(0, len(evaluator.samples), step)[:count]:
        sample = evaluator.samples[index]
        pixels = Image.fromarray(sample.query.image.array())
        factor = 256 / max(pixels.size)
        canvas = pixels.resize((round(pixels.width * factor), round(pixels.height * factor)))
        draw = ImageDraw.Draw(canvas)
        draw.rectangle((sample.box * factor).tolist(), outline="white", width=4)
        for i, row in enumerate(rows):
            line = evaluator.line(row["method"], index)
            if line is not None and line["box"] is not None:
                draw.rectangle((np.array(line["box"]) * factor).tolist(), outline=COLOURS[i % len(COLOURS)], width=2)
        pictures.append({"uri": _data_uri(png(canvas)), "text": sample.query.expression, "kind": sample.kind})
    return pictures


def _data_uri(picture: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(picture).decode()
