"""A leaderboard: the rows of several results on the same queries, ranked."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vg_gym.errors import VGGymError
from vg_gym.evaluation.intervals import TOO_FEW
from vg_gym.evaluation.page import render
from vg_gym.evaluation.saved import FILE, Results, check_one_setup, is_ranked, printable, read_results
from vg_gym.registry.seen import seen_text
from vg_gym.storage.files import write_text

ORDERS = {"mean-iou": "mean_iou", "acc": "acc@0.5"}
"""What to rank by -> its column."""
PAGE = "leaderboard.html"
"""The page's name, in the folder of results."""


@dataclass(frozen=True)
class Entry:
    """A line of a leaderboard."""

    rank: int | None
    """From 1; None of a floor or a ceiling, which stands where its figures put it."""
    run: str
    """Where it comes from: the folder or file, below the leaderboard's."""
    row: dict[str, Any]
    """Of ``results.json``."""


def read_folder(folder: Path) -> list[Results]:
    """All results below a folder, in files ``results.json`` or ``NAME.results.json``.

    Raises:
        VGGymError: there are none, one is damaged, or they are not of the same queries.
    """
    if not folder.is_dir():
        raise VGGymError(f"{folder} is no folder: name one with {FILE} of several runs below it")
    names = sorted(p for p in folder.rglob(f"*{FILE}") if p.name == FILE or p.name.endswith(f".{FILE}"))
    if not names:
        raise VGGymError(f"{folder} has no {FILE} below it: evaluate with --out {folder / 'NAME'}")
    results = [read_results(name) for name in names]
    check_one_setup(results)
    return results


def ranked(results: Sequence[Results], folder: Path, by: str = "mean-iou") -> list[Entry]:
    """The entries of a leaderboard, best first; what several runs have alike, floors above all, is there once.

    Args:
        results: on the same queries.
        folder: that they are below.
        by: a key of :data:`ORDERS`.
    """
    column = ORDERS[by]
    found: dict[tuple, tuple[dict[str, Any], str]] = {}
    for one in results:
        for row in one.rows:
            same = (row["method"], row["role"], row["mean_iou"], row["acc@0.5"])
            found.setdefault(same, (row, _run(one.path, folder)))
    entries, rank, place, last = [], 0, 0, None
    for row, run in sorted(found.values(), key=lambda entry: -entry[0][column]):
        if not is_ranked(row):
            entries.append(Entry(None, run, row))
            continue
        place += 1
        rank = rank if row[column] == last else place  # equal figures share a rank
        last = row[column]
        entries.append(Entry(rank, run, row))
    return entries


def _run(path: Path, folder: Path) -> str:
    named = path.parent if path.name == FILE else path.with_name(path.name.removesuffix(f".{FILE}"))
    return printable(named.relative_to(folder).as_posix() if named != folder else folder.resolve().name)


def kinds_of(entries: Sequence[Entry]) -> list[str]:
    """The kinds of expression that rows have figures of."""
    return sorted({kind for entry in entries for kind in entry.row["by_kind"]})


def markdown(entries: Sequence[Entry]) -> str:
    """Entries as a table in Markdown; the columns of kinds are Acc@0.5."""
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
        _with_interval(row["mean_iou"], row["mean_iou_ci"]),
        _with_interval(row["acc@0.5"], row["acc@0.5_ci"]),
        f"{row['acc@0.75']:.3f}",
        *of_kinds,
        "" if row["ms_per_query"] is None else f"{row['ms_per_query']:.1f}",
        f"{row['failures']}",
        _cell(seen_text(row["seen"])),
    ]


def _with_interval(value: float, ci: Sequence[float] | None) -> str:
    return f"{value:.3f} ({TOO_FEW})" if ci is None else f"{value:.3f} ({ci[0]:.3f}-{ci[1]:.3f})"


def _cell(text: str) -> str:
    """Text that cannot break a table of Markdown, nor be HTML in it."""
    return html.escape(text, quote=False).replace("\\", "\\\\").replace("|", "\\|").replace("`", "'")


def write_leaderboard(path: Path, entries: Sequence[Entry], results: Sequence[Results], by: str) -> None:
    """Write the page.

    Args:
        path: of the page.
        entries: best first.
        results: that they come from.
        by: what they are ranked by.
    """
    page = render(
        "leaderboard.html", ("tables.js",), entries=entries, kinds=kinds_of(entries), title=results[0].title,
        content=results[0].meta["content"], runs=len(results), column=ORDERS[by],
    )  # fmt: skip
    write_text(path, page)
