"""Tables of results on the terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from vg_gym.evaluation.intervals import TOO_FEW
from vg_gym.registry.seen import seen_text


def print_table(rows: list[dict[str, Any]], title: str) -> None:
    """Print rows in the order in which they were added: floors, then methods and ceilings."""
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
    Console(width=None if Console().is_terminal else 228 if refined else 198).print(table)
    print_seen(rows)


def print_seen(rows: list[dict[str, Any]]) -> None:
    """Print what the parts of methods have seen of the truth; methods with the same parts share a line."""
    methods: dict[str, list[str]] = {}
    for row in rows:
        if "seen" in row and not row["role"].startswith("ceiling"):
            methods.setdefault(seen_text(row["seen"]), []).append(row["method"])
    if methods:
        print("what each part has seen of the truth:")
    for text, names in methods.items():
        print(f"  {', '.join(names)}: {text}")


def print_counts(rows: list[dict[str, Any]], title: str) -> None:
    """Print rows for data without boxes: number of queries, time and failures of each method."""
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
    """Return the paired difference of mean IoU by refinement, and its interval."""
    if not refined:
        return []
    if "refined_by" not in row:
        return ["", ""]
    gain = row["refined_by"]
    return [f"{gain['mean']:+.3f}", TOO_FEW if gain["ci"] is None else "{:+.3f} to {:+.3f}".format(*gain["ci"])]


def _interval(ci: Any) -> str:
    return TOO_FEW if ci is None else f"{ci[0]:.3f}-{ci[1]:.3f}"


def _number(value: Any, form: str) -> str:
    return "" if value is None else form.format(value)
