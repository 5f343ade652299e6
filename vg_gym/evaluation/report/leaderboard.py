"""Leaderboard: the ranked rows of several results on the same queries."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vg_gym.errors import VGGymError
from vg_gym.evaluation.intervals import interval_text
from vg_gym.evaluation.report.page import render
from vg_gym.evaluation.results import FILE, POINTS, Results, check_one_setup, is_ranked, printable, read_results
from vg_gym.registry.seen import seen_text
from vg_gym.storage.files import write_text

ORDERS = {"mean-iou": "mean_iou", "acc": "acc@0.5", "f1": "pr@f1"}
"""Ranking criterion -> its column."""
SET_COLUMNS = {"n_acc": "N-acc", "t_acc": "T-acc", "pr@f1": "Pr@F1"}
"""Column of data with empty or multiple targets -> its heading."""
PAGE = "leaderboard.html"
"""Name of the page in the folder of results."""


@dataclass(frozen=True)
class Entry:
    """Line of a leaderboard."""

    rank: int | None
    """Rank from 1; None for a floor or a ceiling, which is sorted by its values but not ranked, and for points."""
    run: str
    """Folder or file of the run, relative to the folder of the leaderboard."""
    row: dict[str, Any]
    """Row of ``results.json``."""


def read_folder(folder: Path) -> list[Results]:
    """Read all results below a folder, in files ``results.json`` or ``NAME.results.json``.

    Raises:
        VGGymError: no results were found, a file is damaged, or the results are not of the same queries.
    """
    if not folder.is_dir():
        raise VGGymError(f"{folder} is not a folder: name one that contains the {FILE} of several runs")
    names = sorted(p for p in folder.rglob(f"*{FILE}") if p.name == FILE or p.name.endswith(f".{FILE}"))
    if not names:
        raise VGGymError(f"{folder} contains no {FILE}: evaluate with --out {folder / 'NAME'}")
    results = [read_results(name) for name in names]
    check_one_setup(results)
    return results


def ranked(results: Sequence[Results], folder: Path, by: str = "mean-iou") -> list[Entry]:
    """Return the entries of a leaderboard, best first. Rows shared by several runs, such as floors, appear once.

    Args:
        results: results on the same queries.
        folder: folder that contains them.
        by: a key of :data:`ORDERS`.
    """
    column = ORDERS[by]
    rows: dict[tuple, tuple[dict[str, Any], str]] = {}
    for result in results:
        for row in result.rows:
            same = (row["method"], row["role"], row["mean_iou"], row["acc@0.5"], repr(row.get("nothing_below")))
            rows.setdefault(same, (row, _run(result.path, folder)))
    entries, rank, place, previous = [], 0, 0, None
    for row, run in sorted(rows.values(), key=lambda entry: -(entry[0].get(column) or 0)):
        if not is_ranked(row) or row.get("answers") == POINTS:
            entries.append(Entry(None, run, row))
            continue
        place += 1
        rank = rank if row.get(column) == previous else place  # equal figures share a rank
        previous = row.get(column)
        entries.append(Entry(rank, run, row))
    return entries


def _run(path: Path, folder: Path) -> str:
    named = path.parent if path.name == FILE else path.with_name(path.name.removesuffix(f".{FILE}"))
    return printable(named.relative_to(folder).as_posix() if named != folder else folder.resolve().name)


def kinds_of(entries: Sequence[Entry]) -> list[str]:
    """Return the kinds of expression for which rows have values, sorted."""
    return sorted({kind for entry in entries for kind in entry.row["by_kind"]})


def markdown(entries: Sequence[Entry]) -> str:
    """Return a Markdown table of entries; the columns of kinds are Acc@0.5."""
    kinds = kinds_of(entries)
    sets = tuple(SET_COLUMNS) if has_sets(entries) else ()
    points = ("pointing",) if has_points(entries) else ()
    figures = [*points, "mean IoU", "Acc@0.5", "Acc@0.75", *(SET_COLUMNS[name] for name in sets)]
    columns = ["#", "method", "run", *figures, *map(_cell, kinds), "ms", "failed", "has seen"]
    lines = [columns, ["---"] * len(columns), *(_line(entry, kinds, points, sets) for entry in entries)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def has_sets(entries: Sequence[Entry]) -> bool:
    """Return whether rows have the columns of data with empty or multiple targets."""
    return any("set_f1" in entry.row for entry in entries)


def has_points(entries: Sequence[Entry]) -> bool:
    """Return whether a method answers with points, so that pointing accuracy is shown."""
    return any(entry.row.get("answers") == POINTS for entry in entries)


def of_kind(row: dict[str, Any], kind: str) -> float | None:
    """Return Acc@0.5 of a kind, Pr@F1 of a kind without single targets, or None if the row lacks the kind."""
    figures = row["by_kind"].get(kind, {})
    accuracy = figures.get("acc@0.5")
    return figures.get("pr@f1") if accuracy is None else accuracy


def _line(entry: Entry, kinds: Sequence[str], points: Sequence[str], sets: Sequence[str]) -> list[str]:
    row = entry.row
    about = row["method"] if is_ranked(row) else f"{row['method']} ({row['role']})"
    return [
        "" if entry.rank is None else str(entry.rank),
        _cell(about),
        _cell(entry.run),
        *(_share(row.get(name), row.get(f"{name}_ci")) for name in (*points, "mean_iou", "acc@0.5")),
        _number(row["acc@0.75"]),
        *(_share(row.get(name), row.get(f"{name}_ci")) for name in sets),
        *(_number(of_kind(row, kind)) for kind in kinds),
        "" if row["ms_per_query"] is None else f"{row['ms_per_query']:.1f}",
        f"{row['failures']}",
        _cell(seen_text(row["seen"])),
    ]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _share(value: float | None, ci: Sequence[float] | None) -> str:
    return "" if value is None else f"{value:.3f} ({interval_text(ci)})"


def _cell(text: str) -> str:
    """Escape text for a Markdown table: it can neither break the table nor contain HTML."""
    return html.escape(text, quote=False).replace("\\", "\\\\").replace("|", "\\|").replace("`", "'")


def write_leaderboard(path: Path, entries: Sequence[Entry], results: Sequence[Results], by: str) -> None:
    """Write the HTML page of a leaderboard.

    Args:
        path: path of the page.
        entries: entries, best first.
        results: results of the entries.
        by: criterion of the ranking, a key of :data:`ORDERS`.
    """
    page = render(
        "leaderboard.html", ("tables.js",), entries=entries, kinds=kinds_of(entries), title=results[0].title,
        content=results[0].meta["content"], runs=len(results), column=ORDERS[by],
        sets=SET_COLUMNS if has_sets(entries) else {}, points=has_points(entries), of_kind=of_kind,
    )  # fmt: skip
    write_text(path, page)
