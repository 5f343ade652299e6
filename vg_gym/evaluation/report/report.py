"""``report.html``: one self-contained page for any screen, small enough to send."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import astuple
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from vg_gym.evaluation import metrics
from vg_gym.evaluation.lines import Line
from vg_gym.evaluation.paired import ALL, Pairing
from vg_gym.evaluation.report.gallery import SAMPLES, Thumbnails, evenly_spaced, pick_cases, pictured
from vg_gym.evaluation.report.page import render
from vg_gym.evaluation.report.plots import png, scatter
from vg_gym.evaluation.set_metrics import share
from vg_gym.storage.files import replacing, write_text
from vg_gym.storage.lazy_sequence import LazySequence
from vg_gym.types import Sample

Row = dict[str, Any]
"""Row of ``results.json`` with its ``ious``, and with its ``f1`` for data with empty or multiple targets."""

MAX_PAGE_BYTES = 3_000_000
"""Largest size of the page in bytes; thumbnails shrink until it fits."""
COLORS = ("#e8590c", "#1c7ed6", "#2f9e44", "#9c36b5", "#e03131", "#0c8599", "#f08c00", "#495057", "#6741d9", "#c2255c")
"""Colours of methods in plots and pictures."""
FLOOR_COLOR = "#868e96"
"""Colour of floors."""
PLOTTED_QUERIES = 1000
"""Largest number of queries, evenly spaced, in the plot of two methods."""


def write_report(
    out: Path,
    rows: list[Row],
    samples: Sequence[Sample],
    lines: Mapping[str, Sequence[Line]],
    meta: dict[str, Any],
) -> None:
    """Write ``report.html`` into a folder, and ``refined.png`` if a row is refined.

    Args:
        out: folder of the results.
        rows: rows of the evaluator.
        samples: N evaluated samples.
        lines: row -> its N predictions.
        meta: command, settings, date and versions, as in ``results.json``.
    """
    boxed = [row for row in rows if "answers" not in row] or rows  # points have no IoUs to draw
    pictured_rows = [row for row in boxed if row["role"] != "floor"] or boxed
    colors = {row["method"]: COLORS[i % len(COLORS)] for i, row in enumerate(pictured_rows)}
    labels, images = [], []
    for sample in samples:
        labels.append(sample.kind)
        images.append(sample.image_id)
    kinds = sorted(set(labels) - {""})
    data = {
        "rows": [_figures(row, labels, kinds, colors.get(row["method"], FLOOR_COLOR)) for row in rows],
        "kinds": kinds,
        **_gallery(pictured_rows, samples, labels, lines),
        "pairs": _pairs(pictured_rows, labels, images),
        "points": _points(pictured_rows, samples),
        "images": {},
    }
    data["shown"] = [rows.index(row) for row in pictured_rows]
    refined = _refined(out, rows)
    thumbnails = Thumbnails(samples[i] for i in data["queries"])

    def page(images: dict[str, str]) -> str:
        return render(
            "report.html", ("tables.js", "report.js"), title=f"{meta['dataset']}/{meta['split']}", rows=rows, meta=meta,
            planted=any(row["planted_prior"] for row in rows), refined=refined, kinds=kinds, colors=colors,
            sets=any("f1" in row for row in rows), points=any("answers" in row for row in rows),
            floor=FLOOR_COLOR, data={**data, "images": images, "lost": thumbnails.lost, "sizes": thumbnails.sizes},
        )  # fmt: skip

    # 100 bytes per image for its key and the reason of a missing thumbnail.
    room = MAX_PAGE_BYTES - len(page({}).encode()) - 100 * len(thumbnails.sizes)
    write_text(out / "report.html", page(thumbnails.uris(room)))


def _figures(row: Row, labels: Sequence[str], kinds: Sequence[str], color: str) -> dict[str, Any]:
    """Return the values and the curve of a method, for all N queries and for each kind, given by ``labels``."""
    kind_of_query, ious = np.array(labels), np.array(row["ious"])
    parts = {ALL: np.ones(len(ious), bool), **{kind: kind_of_query == kind for kind in kinds}}
    single = {kind: ious[part & ~np.isnan(ious)] for kind, part in parts.items()}
    return {
        "method": row["method"],
        "color": color,
        "figures": {kind: {**_summary(single[kind]), **_set_summary(row, part)} for kind, part in parts.items()},
        "curves": {kind: curve(part) if len(part) else "" for kind, part in single.items()},
        "cells": row["by_cell"],
    }


def _summary(ious: np.ndarray) -> dict[str, float | None]:
    accuracies = {f"acc{threshold}": share(metrics.hits(ious, threshold)) for threshold in metrics.THRESHOLDS}
    return {"n": len(ious), "iou": share(ious), **accuracies}


def _set_summary(row: Row, part: np.ndarray) -> dict[str, float | None]:
    """Return set F1, Pr@F1 and number of the expressions in a mask; empty for a row without F1."""
    if "f1" not in row:
        return {}
    f1 = np.array(row["f1"])[part]
    return {"n": len(f1), "set_f1": share(f1), "pr@f1": share(f1 >= 1)}


def values_of(row: Row) -> np.ndarray:
    """Return the IoU of each query with exactly one true box, and the F1 of each other one, (N,)."""
    ious = np.array(row["ious"])
    return np.where(np.isnan(ious), row["f1"], ious) if "f1" in row else ious


def curve(ious: np.ndarray, width: int = 460, height: int = 260) -> str:
    """Return the points of the curve "share of expressions with IoU >= x" for an SVG polyline.

    Args:
        ious: IoUs, (N,).
        width: width of the plot.
        height: height of the plot.
    """
    xs = np.linspace(0, 1, 51)
    return " ".join(f"{x * width:.1f},{height * (1 - np.mean(ious >= x)):.1f}" for x in xs)


def _gallery(
    pictured_rows: list[Row], samples: Sequence[Sample], kinds: Sequence[str], lines: Mapping[str, Sequence[Line]]
) -> dict[str, Any]:
    """Return evenly spaced samples, the cases of every method, and the data of all their queries."""
    images = LazySequence(len(samples), lambda index: samples[index].query.image.key)
    order = np.argsort(kinds, kind="stable") if "f1" in pictured_rows[0] else np.arange(len(samples))
    spaced = sorted(order[evenly_spaced(len(samples), SAMPLES)].tolist())  # sets: as many of a kind as its share
    cases = [pick_cases(values_of(row), kinds, images) for row in pictured_rows]
    of_cases = (i for case in cases for sort in case.values() for part in sort.values() for i in part)
    needed = dict.fromkeys([*spaced, *of_cases])
    queries = {
        i: {
            "image": images[i],
            **pictured(
                samples[i],
                [lines[row["method"]][i] for row in pictured_rows],
                [row["ious"][i] for row in pictured_rows],
                [row["f1"][i] for row in pictured_rows if "f1" in row],
            ),
        }
        for i in needed
    }
    return {"samples": spaced, "cases": cases, "queries": queries}


def _pairs(pictured_rows: list[Row], kinds: Sequence[str], images: Sequence[int]) -> dict[str, list[tuple]]:
    """Return ``"A,B"`` -> fields of every :class:`~vg_gym.evaluation.paired.Difference`, for every pair of rows."""
    ious = {row["method"]: np.array(row["ious"]) for row in pictured_rows}
    pairing = Pairing(ious, kinds, images)
    return {
        f"{a},{b}": [
            astuple(difference)
            for difference in pairing.differences(pictured_rows[a]["method"], pictured_rows[b]["method"])
        ]
        for a, b in combinations(range(len(pictured_rows)), 2)
    }


def _points(pictured_rows: list[Row], samples: Sequence[Sample]) -> list[dict[str, Any]]:
    """Return expressions with exactly one true box, and the IoUs of every method."""
    single = np.flatnonzero(~np.isnan(pictured_rows[0]["ious"])).tolist()
    return [
        {
            "text": samples[i].query.expression,
            "kind": samples[i].kind,
            "ious": [round(row["ious"][i], 3) for row in pictured_rows],
        }
        for i in (single[place] for place in evenly_spaced(len(single), PLOTTED_QUERIES))
    ]


def _refined(out: Path, rows: list[Row]) -> str:
    """Write the scatter plot of refined rows as ``refined.png``, and return its data URI; empty without such rows."""
    if not any(row.get("refines") for row in rows):
        return ""
    content = png(scatter(rows))
    with replacing(out / "refined.png") as part:
        part.write_bytes(content)
    return "data:image/png;base64," + base64.b64encode(content).decode()
