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
from vg_gym.evaluation.results import FILE, Results, check_one_setup, is_ranked, printable, read_results
from vg_gym.registry.seen import seen_text
from vg_gym.storage.files import write_text

ORDERS = {"mean-iou": "mean_iou", "acc": "acc@0.5"}
"""Ranking criterion -> its column."""
PAGE = "leaderboard.html"
"""Name of the page in the folder of results."""


@dataclass(frozen=True)
class Entry:
    """Line of a leaderboard."""

    rank: int | None
    """Rank from 1; None for a floor or a ceiling, which is sorted by its values but not ranked."""
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
            same = (row["method"], row["role"], row["mean_iou"], row["acc@0.5"])
            rows.setdefault(same, (row, _run(result.path, folder)))
    entries, rank, place, previous = [], 0, 0, None
    for row, run in sorted(rows.values(), key=lambda entry: -entry[0][column]):
        if not is_ranked(row):
            entries.append(Entry(None, run, row))
            continue
        place += 1
        rank = rank if row[column] == previous else place  # equal figures share a rank
        previous = row[column]
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
    columns = ["#", "method", "run", "mean IoU", "Acc@0.5", "Acc@0.75", *map(_cell, kinds), "ms", "failed", "has seen"]
    lines = [columns, ["---"] * len(columns), *(_line(entry, kinds) for entry in entries)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _line(entry: Entry, kinds: Sequence[str]) -> list[str]:
    row = entry.row
    about = row["method"] if is_ranked(row) else f"{row['method']} ({row['role']})"
    of_kinds = [f"{row['by_kind'][kind]['acc@0.5']:.3f}" if kind in row["by_kind"] else "" for kind in kinds]
    return [
        "" if entry.rank is None else str(entry.rank),
        _cell(about),
        _cell(entry.run),
        f"{row['mean_iou']:.3f} ({interval_text(row['mean_iou_ci'])})",
        f"{row['acc@0.5']:.3f} ({interval_text(row['acc@0.5_ci'])})",
        f"{row['acc@0.75']:.3f}",
        *of_kinds,
        "" if row["ms_per_query"] is None else f"{row['ms_per_query']:.1f}",
        f"{row['failures']}",
        _cell(seen_text(row["seen"])),
    ]


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
    )  # fmt: skip
    write_text(path, page)
