"""Tables on the terminal: results of an evaluation, and paired differences of two."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from vg_gym.evaluation.intervals import SIGNED, interval_text
from vg_gym.evaluation.paired import Pair
from vg_gym.evaluation.results import SET_FIGURES
from vg_gym.registry.seen import seen_text

LEFT_ALIGNED = ("method", "role", "B - A", "kind")
"""Columns of text; the others are numbers."""
SET_COLUMNS = (
    "N-acc", "95 % CI", "T-acc", "95 % CI", "Pr@F1", "95 % CI", "Pr@F1, many", "set F1", "AUROC",
)  # fmt: skip
"""Columns of data with empty or multiple targets, and of tables with thresholds."""
TEXT_COLUMNS = {
    "unparsed": ("unparsed", "{:,}"),
    "tokens in": ("prompt_tokens", "{:,.0f}"),
    "tokens out": ("completion_tokens", "{:,.0f}"),
    "s": ("seconds", "{:.2f}"),
}
"""Title -> column and format of tables with models that write texts; tokens and seconds are means per query."""
TURN_COLUMNS = {"wrong made right": "share_made_right", "right made wrong": "share_made_wrong"}
"""Title -> column of tables with refined rows."""
FILE_COLUMNS = 168
"""Width of a table in characters where the output is not a terminal; wider tables say so."""


def print_table(rows: list[dict[str, Any]], title: str) -> None:
    """Print rows in the order in which they were added: floors, then methods and ceilings."""
    refined, sets = any("refined_by" in row for row in rows), any("set_f1" in row for row in rows)
    more = SET_COLUMNS if sets else ("Acc@0.75", "tightness")
    texts = [name for name, (column, _) in TEXT_COLUMNS.items() if any(column in row for row in rows)]
    figures = ("mean IoU", "95 % CI", "Acc@0.5", "95 % CI", *more, "evals", "ms", "failed", *texts)
    table = _table(title, ("method", "role", *figures, *(("refined by", "95 % CI", *TURN_COLUMNS) if refined else ())))
    for row in rows:
        gain = row.get("refined_by")
        table.add_row(
            escape(row["method"]),
            row["role"],
            *_with_interval(row, "mean_iou"),
            *_with_interval(row, "acc@0.5"),
            *(_set_cells(row) if sets else (_share(row["acc@0.75"]), _share(row.get("tightness")))),
            *_costs(row),
            *_text_cells(row, texts),
            *((f"{gain['mean']:+.3f}", interval_text(gain["ci"], SIGNED)) if gain else ()),
            *(_share(row.get(column)) for column in TURN_COLUMNS.values() if gain),
            style={"floor": "dim", "method": "bold"}.get(row["role"], ""),
        )
    _show(table, 198 + (56 if refined else 0) + (40 if sets else 0) + 11 * len(texts))
    print_thresholds(rows)
    print_seen(rows)


def _set_cells(row: dict[str, Any]) -> list[str]:
    """Return the cells of :data:`SET_COLUMNS`; empty for a row without them."""
    with_interval = [cell for name in ("n_acc", "t_acc", "pr@f1") for cell in _with_interval(row, name)]
    return [*with_interval, *(_share(row.get(name)) for name in SET_FIGURES[3:])]


def _with_interval(row: dict[str, Any], name: str) -> tuple[str, str]:
    """Return the cells of a share and of its interval; empty without a value."""
    value = row.get(name)
    return _share(value), "" if value is None else interval_text(row[f"{name}_ci"])


def print_thresholds(rows: list[dict[str, Any]]) -> None:
    """Print below which score the answer of each method is that nothing fits, and where that score comes from."""
    for row in rows:
        if threshold := row.get("nothing_below"):
            fitted = f"fitted on {threshold.get('fitted_on')} ({threshold.get('n', 0):,} expressions with a target)"
            origin = fitted if "fitted_on" in threshold else "as given"
            print(f'{row["method"]} answers "nothing" where its score is below {threshold["value"]:.4g}, {origin}')


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
    texts = [name for name, (column, _) in TEXT_COLUMNS.items() if any(column in row for row in rows)]
    table = _table(title, ("method", "role", "queries", "evals", "ms", "failed", *texts))
    for row in rows:
        table.add_row(escape(row["method"]), row["role"], f"{row['n']:,}", *_costs(row), *_text_cells(row, texts))
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


def _text_cells(row: dict[str, Any], titles: Sequence[str]) -> list[str]:
    """Return the cells of some of :data:`TEXT_COLUMNS`."""
    columns = [TEXT_COLUMNS[title] for title in titles]
    return [_number(row.get(column), form) for column, form in columns]


def _share(value: Any) -> str:
    return _number(value, "{:.3f}")


def _number(value: Any, form: str) -> str:
    return "" if value is None else form.format(value)
