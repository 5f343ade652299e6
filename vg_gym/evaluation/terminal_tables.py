"""Tables on the terminal: results of an evaluation, and paired differences of two."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from vg_gym.evaluation.intervals import SIGNED, interval_text
from vg_gym.evaluation.paired import Pair
from vg_gym.registry.seen import seen_text

LEFT_ALIGNED = ("method", "role", "B - A", "kind")
"""Columns of text; the others are numbers."""
FILE_COLUMNS = 168
"""Width of a table in characters where the output is not a terminal; wider tables say so."""


def print_table(rows: list[dict[str, Any]], title: str) -> None:
    """Print rows in the order in which they were added: floors, then methods and ceilings."""
    refined = any("refined_by" in row for row in rows)
    figures = ("mean IoU", "95 % CI", "Acc@0.5", "95 % CI", "Acc@0.75", "tightness", "evals", "ms", "failed")
    table = _table(title, ("method", "role", *figures, *(("refined by", "95 % CI") if refined else ())))
    for row in rows:
        gain = row.get("refined_by")
        table.add_row(
            escape(row["method"]),
            row["role"],
            f"{row['mean_iou']:.3f}",
            interval_text(row["mean_iou_ci"]),
            f"{row['acc@0.5']:.3f}",
            interval_text(row["acc@0.5_ci"]),
            f"{row['acc@0.75']:.3f}",
            _number(row.get("tightness"), "{:.3f}"),
            *_costs(row),
            *((f"{gain['mean']:+.3f}", interval_text(gain["ci"], SIGNED)) if gain else ()),
            style={"floor": "dim", "method": "bold"}.get(row["role"], ""),
        )
    _show(table, 228 if refined else 198)
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
    table = _table(title, ("method", "role", "queries", "evals", "ms", "failed"))
    for row in rows:
        table.add_row(escape(row["method"]), row["role"], f"{row['n']:,}", *_costs(row))
    _show(table)


def print_pairs(pairs: Sequence[Pair], title: str) -> None:
    """Print a table of differences: one line for all queries and one for each kind of every pair."""
    figures = ("n", "mean IoU", "95 % CI", "Acc@0.5", "95 % CI", "only A right", "only B right")
    table = _table(title, ("B - A", "kind", *figures))
    for pair in pairs:
        for at, difference in enumerate(pair.differences):
            table.add_row(
                "" if at else escape(pair.name),
                escape(difference.kind or "all"),
                f"{difference.n:,}",
                f"{difference.mean_iou:+.3f}",
                interval_text(difference.mean_iou_ci, SIGNED),
                f"{difference.accuracy:+.3f}",
                interval_text(difference.accuracy_ci, SIGNED),
                f"{difference.only_a:,}",
                f"{difference.only_b:,}",
                style="" if at else "bold",
            )
        table.add_section()
    _show(table)


def _table(title: str, columns: Sequence[str]) -> Table:
    table = Table(title=title)
    for name in columns:
        justify = "left" if name in LEFT_ALIGNED else "right"
        table.add_column(name, justify=justify, no_wrap=name in ("method", "B - A"))  # type: ignore[arg-type]
    return table


def _show(table: Table, file_columns: int = FILE_COLUMNS) -> None:
    Console(width=None if Console().is_terminal else file_columns).print(table)


def _costs(row: dict[str, Any]) -> tuple[str, str, str]:
    """Return the cells ``evals``, ``ms`` and ``failed``."""
    evaluations = _number(row.get("evaluations"), "{:,.1f}")
    return evaluations, _number(row.get("ms_per_query"), "{:.1f}"), _number(row.get("failures"), "{:,}")


def _number(value: Any, form: str) -> str:
    return "" if value is None else form.format(value)
