"""Tables on the terminal: results of an evaluation, and paired differences of two.

A table fits into the width of the terminal, 80 columns where the output is a file. Intervals stand beside their values
if there is room, else below them. Columns without room are left out, the least important first, and a line names them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vg_gym.evaluation.intervals import SIGNED, interval_text
from vg_gym.evaluation.paired import Pair
from vg_gym.registry.seen import seen_text

NAME_COLUMNS = 30
"""Width in characters below which a column of names is not narrowed; longer names take several lines."""
MAX_WIDTH = 10_000
"""Width in characters in which the full width of a table is measured."""
STYLES = {"floor": "dim", "method": "bold"}
"""Role -> style of its line."""
Cell = tuple[str, str]
"""Text of a cell, and its interval or remark; either may be empty."""


@dataclass(frozen=True)
class Line:
    """Line of a table."""

    name: Cell
    """Name, and the role of what is named."""
    cells: dict[str, Cell]
    """Heading -> cell."""
    style: str = ""
    """Style of rich."""


def print_table(rows: list[dict[str, Any]], title: str) -> None:
    """Print rows in the order in which they were added: floors, then methods and ceilings."""
    order: tuple[str, ...] = SET_COLUMNS if any("set_f1" in row for row in rows) else COLUMNS
    if any("answers" in row for row in rows):
        order = ("pointing", *order)
    if not any(row.get("failures") for row in rows):
        order = tuple(name for name in order if name != "failed")
    _print(f"{title}; intervals: 95 %, over images", "method", _lines(rows, order), order)
    print_thresholds(rows)
    print_seen(rows)


def print_counts(rows: list[dict[str, Any]], title: str) -> None:
    """Print rows for data without boxes: number of queries, time and failures of each method."""
    order = ("queries", "ms", "failed", *TEXT_COLUMNS, "evals")
    _print(title, "method", _lines(rows, order), order)


def _lines(rows: list[dict[str, Any]], order: Sequence[str]) -> list[Line]:
    """Return the lines of rows with the columns in ``order``, sorted as in :data:`COLUMN_CELLS`."""
    names = [name for name in COLUMN_CELLS if name in order]
    return [
        Line(
            (row["method"], row["role"]),
            {name: COLUMN_CELLS[name](row) for name in names},
            STYLES.get(row["role"], ""),
        )
        for row in rows
    ]


def print_pairs(pairs: Sequence[Pair], title: str) -> None:
    """Print a table of differences: one line for all queries and one for each kind of every pair."""
    lines, measure = [], pairs[0].measure
    for pair in pairs:
        for at, difference in enumerate(pair.differences):
            cells = {
                "n": (f"{difference.n:,}", ""),
                measure.mean: (f"{difference.mean:+.3f}", interval_text(difference.mean_ci, SIGNED)),
                measure.accuracy: (f"{difference.accuracy:+.3f}", interval_text(difference.accuracy_ci, SIGNED)),
                "only A right": (f"{difference.only_a:,}", ""),
                "only B right": (f"{difference.only_b:,}", ""),
            }
            name = (f"  {difference.kind or 'all'}", "") if at else (pair.name, difference.kind or "all")
            lines.append(Line(name, cells, "" if at else "bold"))
    _print(title, "B - A", lines, (measure.mean, measure.accuracy, "n", "only B right", "only A right"),
           "a wider terminal shows them")  # fmt: skip


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


def _print(
    title: str, heading: str, lines: Sequence[Line], order: Sequence[str],
    elsewhere: str = "results.json has all figures",
) -> None:  # fmt: skip
    """Print a table.

    Args:
        title: text above it.
        heading: heading of the names.
        lines: its lines.
        order: headings of the columns, the most important first; empty columns are left out.
        elsewhere: where the columns are to be seen for which the terminal is too narrow.
    """
    console = Console()
    names = [name for name in lines[0].cells if name in order and any(line.cells[name][0] for line in lines)]
    if _width(heading, lines, names, beside=True) <= console.width:
        console.print(_table(title, heading, lines, names, beside=True))
        return
    narrow = []
    while _width(heading, lines, names, beside=False) > console.width and len(names) > 1:
        narrow.append(next(name for name in reversed(order) if name in names))
        names.remove(narrow[-1])
    console.print(_table(title, heading, lines, names, beside=False))
    if narrow:
        print(f"no room for {', '.join(narrow)} in {console.width} columns; {elsewhere}")


def _width(heading: str, lines: Sequence[Line], names: Sequence[str], beside: bool) -> int:
    """Return the smallest width in characters of a table with some columns, whose long names take several lines."""
    bare = [Line(("", "x" if any(line.name[1] for line in lines) else ""), line.cells) for line in lines]
    numbers = Console(width=MAX_WIDTH).measure(_table("", "", bare, names, beside)).maximum
    texts = [[line.name[0] for line in lines], [line.name[1] for line in lines]]
    widths = [min(NAME_COLUMNS, max(map(len, [heading, *column]))) for column in texts]
    return numbers + (sum(widths) if beside else max(widths))


def _table(title: str, heading: str, lines: Sequence[Line], names: Sequence[str], beside: bool) -> Table:
    """Return a table whose cells have their intervals beside or below the values."""
    table = Table(title=Text(title), box=box.SIMPLE, pad_edge=False, title_justify="left")
    has_roles = beside and any(line.name[1] for line in lines)
    for text in (heading, "role") if has_roles else (heading,):
        table.add_column(text, overflow="fold")
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    joined = _beside if beside else _below
    for line in lines:
        first = [Text(line.name[0]), Text(line.name[1], "not bold")] if has_roles else [_below(line.name)]
        table.add_row(*first, *(joined(line.cells[name]) for name in names), style=line.style)
    return table


def _beside(cell: Cell) -> Text:
    """Return a value with its interval in the same line."""
    return Text(cell[0]).append(f" {cell[1]}" if cell[1] else "", "not bold")


def _below(cell: Cell) -> Text:
    """Return a value with its interval in the next line."""
    return Text(cell[0]).append(f"\n{cell[1]}" if cell[1] else "", "not bold")


def _share(name: str) -> Callable[[dict[str, Any]], Cell]:
    """Return the function from a row to the cell of a share, with its interval if the row has one."""

    def cell(row: dict[str, Any]) -> Cell:
        value = row.get(name)
        if value is None:
            return "", ""
        return f"{value:.3f}", interval_text(row[f"{name}_ci"]) if f"{name}_ci" in row else ""

    return cell


def _number(name: str, form: str) -> Callable[[dict[str, Any]], Cell]:
    """Return the function from a row to the cell of a number."""
    return lambda row: ("" if row.get(name) is None else form.format(row[name]), "")


def _gain(row: dict[str, Any]) -> Cell:
    """Return the cell with the gain of a refinement."""
    gain = row.get("refined_by")
    return (f"{gain['mean']:+.3f}", interval_text(gain["ci"], SIGNED)) if gain else ("", "")


TEXT_COLUMNS = ("unparsed", "tokens in", "tokens out", "s")
"""Columns of models that write texts; tokens and seconds are means per query."""
TURN_COLUMNS = ("wrong made right", "right made wrong")
"""Columns of refined rows."""
COLUMN_CELLS: dict[str, Callable[[dict[str, Any]], Cell]] = {
    "pointing": _share("pointing"),
    "mean IoU": _share("mean_iou"),
    "Acc@0.5": _share("acc@0.5"),
    "Acc@0.75": _share("acc@0.75"),
    "tightness": _share("tightness"),
    "N-acc": _share("n_acc"),
    "T-acc": _share("t_acc"),
    "Pr@F1": _share("pr@f1"),
    "Pr@F1, many": _share("pr@f1_many"),
    "set F1": _share("set_f1"),
    "AUROC": _share("auroc"),
    "refined by": _gain,
    "wrong made right": _share("share_made_right"),
    "right made wrong": _share("share_made_wrong"),
    "queries": _number("n", "{:,}"),
    "evals": _number("evaluations", "{:,.1f}"),
    "ms": _number("ms_per_query", "{:.1f}"),
    "failed": _number("failures", "{:,}"),
    "unparsed": _number("unparsed", "{:,}"),
    "tokens in": _number("prompt_tokens", "{:,.0f}"),
    "tokens out": _number("completion_tokens", "{:,.0f}"),
    "s": _number("seconds", "{:.2f}"),
}
"""Heading -> function from a row of ``results.json`` to its cell; tables have their columns in this order."""
COLUMNS = (
    "mean IoU", "Acc@0.5", "refined by", "failed", "ms", *TEXT_COLUMNS, *TURN_COLUMNS, "Acc@0.75", "evals", "tightness",
)  # fmt: skip
"""Columns of tables for data with one target, the most important first."""
SET_COLUMNS = (
    "Pr@F1", "N-acc", "T-acc", "refined by", "failed", "mean IoU", "Acc@0.5", "ms", *TEXT_COLUMNS, *TURN_COLUMNS,
    "set F1", "AUROC", "Pr@F1, many", "evals",
)  # fmt: skip
"""Columns of tables for data with empty or multiple targets, and of tables with thresholds."""
