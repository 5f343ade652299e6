"""Write the tables of results on all pages from the files in docs/results/data.

    python docs/tables.py                                              write every table
    python docs/tables.py extract NAME results/first/results.json      take the figures of a table from a run
    python docs/tables.py extract NAME results/hard/results.json hard  take those of the part ``hard`` of its rows
    python docs/tables.py extract NAME out.json                        take those of a benchmark, ``--json out.json``

A table stands between ``<!-- table: NAME -->`` and ``<!-- /table -->``. ``<!-- table: NAME; mdetr, red -->`` shows only
the rows of these methods. The file NAME.json has

- ``command``: one command that makes the figures, or a list; each stands on the page with the whole table;
- ``source``: origin and date of the figures;
- ``columns``: title -> format of the cell, which reads ``row``; the first of several formats for which the row has all
  figures is used, and the cell is empty if there is none;
- ``rows``: for each row its ``label``, its ``method`` if it comes from ``results.json``, and its figures under the
  names of ``results.json``. Refined rows are in ``refined``, the best proposals in ``proposal_oracle``. A row of a
  benchmark has ``figures``: name in the row -> name in the benchmark's file.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from string import Formatter
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "docs/results/data"
"""Folder with a file for each table."""
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
"""Pages on which tables may stand."""
TABLE = re.compile(r"(<!-- table: ([\w-]+)(?:; ([^>]+))? -->\n).*?(?=<!-- /table -->)", re.DOTALL)
"""Pattern of a table after its marker; its groups are the marker, the name and the methods."""
ORACLE = " proposal-oracle"
"""Suffix of the rows of ``results.json`` that hold the best proposals of a method."""

Row = dict[str, Any]


def main(arguments: list[str]) -> None:
    """Take figures from a run if the arguments name one, and write the tables."""
    if arguments:
        if arguments[0] != "extract" or len(arguments) not in (3, 4):
            sys.exit(__doc__)
        extract(DATA / f"{arguments[1]}.json", Path(arguments[2]), *arguments[3:])
    for page in PAGES:
        old = page.read_text()
        if (new := rewritten(old)) != old:
            page.write_text(new)
            print(page.relative_to(ROOT))


def rewritten(text: str) -> str:
    """Return a page with all its tables written from their files."""
    return TABLE.sub(lambda found: found[1] + rendered(read(found[2]), found[3]), text)


def read(name: str) -> dict[str, Any]:
    """Return the content of a table's file."""
    return json.loads((DATA / f"{name}.json").read_text())


def rendered(table: dict[str, Any], methods: str | None = None) -> str:
    """Return a table as Markdown.

    Args:
        table: content of its file.
        methods: comma-separated methods to show; default: all.
    """
    columns, rows = table["columns"], table["rows"]
    if methods:
        named = {row.get("method"): row for row in rows}
        rows = [named[method.strip()] for method in methods.split(",")]
    lines = [[cell(form, row) for form in columns.values()] for row in rows]
    head, *body = (f"| {' | '.join(line)} |\n" for line in [columns, *lines])
    return f"{head}|{'---|' * len(columns)}\n{''.join(body)}"


def cell(form: str | list[str], row: Row) -> str:
    """Return a cell of a row by the first format for which the row has all figures.

    >>> cell(["{row[iou]:.2f} ({row[ci][0]:.1f})", "{row[iou]:.2f}"], {"iou": 0.5}), cell("{row[ms]}", {"iou": 0.5})
    ('0.50', '')
    """
    for one in [form] if isinstance(form, str) else form:
        if all(look_up(row, path) is not None for path in paths(one)):
            return one.format(row=row)
    return ""


def paths(form: str) -> list[list[str]]:
    """Return the paths of the figures that a format reads from a row.

    >>> paths("{row[ci][0]:.1f} of {row[n]}")
    [['ci', '0'], ['n']]
    """
    return [re.findall(r"\[([^]]+)\]", name) for _, name, _, _ in Formatter().parse(form) if name]


def look_up(row: Row, path: Iterable[str]) -> Any:
    """Return the figure at a path, or None."""
    found: Any = row
    for key in path:
        try:
            found = found[int(key)] if isinstance(found, list) else found[key]
        except (KeyError, IndexError, TypeError):
            return None
    return found


def extract(file: Path, results: Path, part: str = "") -> None:
    """Write the figures of a run into a table's file, as far as its columns show them.

    Args:
        file: file of the table.
        results: ``results.json`` of the command that the file names, or the JSON file of a benchmark.
        part: part of each row that takes the figures, if a table combines several runs.
    """
    table, run = json.loads(file.read_text()), json.loads(results.read_text())
    typed, meta = run["meta"]["command"], run["meta"]
    if typed not in commands(table):
        sys.exit(f"{results} was made by another command than {file.name} names: {typed}")
    if "rows" in run:
        take_rows(table, run["rows"], part)
    else:
        for row in table["rows"]:
            row.update(measured(row["figures"], run["figures"], results))
    kind = "results.json" if "rows" in run else "figures"
    table["source"] = f"{kind} of {meta['date'][:10]}, torch {meta['versions']['torch']}"
    write(file, table)


def measured(names: dict[str, str], figures: dict[str, float | str], results: Path) -> Row:
    """Return figures of a benchmark by their names in a row; measurements are rounded to three digits.

    >>> measured({"rate": "steps/s", "n": "steps"}, {"steps/s": 35412.3, "steps": 70123}, Path("out.json"))
    {'rate': 35400, 'n': 70123}
    """
    if missing := sorted(set(names.values()) - figures.keys()):
        sys.exit(f"{results} lacks {'; '.join(missing)}: run the whole command")
    return {key: three_digits(figures[name]) for key, name in names.items()}


def three_digits(figure: float | str) -> float | str:
    """Round a measurement to three digits, and return an int if it is whole; counts and texts stay unchanged.

    >>> three_digits(35412.3), three_digits(1.516), three_digits(35412), three_digits("2 images")
    (35400, 1.52, 35412, '2 images')
    """
    if isinstance(figure, str):
        return figure
    rounded = float(f"{figure:.3g}")
    return figure if isinstance(figure, int) else int(rounded) if rounded.is_integer() else rounded


def take_rows(table: dict[str, Any], rows: list[Row], part: str) -> None:
    """Copy figures from rows of ``results.json`` into a table's rows, as far as its columns show them."""
    forms = [form for column in table["columns"].values() for form in ([column] if isinstance(column, str) else column)]
    used = [path for form in forms for path in paths(form)]
    keys = sorted({path[1] for path in used if path[0] == part} if part else {path[0] for path in used} - {"label"})
    found = by_method(rows)
    for row in table["rows"]:
        new = {key: rounded(found[row["method"]][key]) for key in keys if key in found[row["method"]]}
        row.update({part: new} if part else new)


def commands(table: dict[str, Any]) -> list[str]:
    """Return the commands that make a table; the list is empty for published figures."""
    return [table["command"]] if isinstance(table["command"], str) else table["command"]


def by_method(rows: list[Row]) -> dict[str, Row]:
    """Return the rows of ``results.json`` by method; refined rows and proposal oracles go inside."""
    found = {row["method"]: dict(row) for row in rows}
    for row in rows:
        if "refines" in row:
            refiner = row["method"].removeprefix(f"{row['refines']} + ")
            found[row["refines"]].setdefault("refined", {})[refiner] = row
        if row["method"].endswith(ORACLE):
            found[row["method"].removesuffix(ORACLE)]["proposal_oracle"] = row
    return found


KEPT = ("mean_iou", "mean_iou_ci", "acc@0.5", "acc@0.5_ci", "refined_by", "refined_by_acc@0.5")
"""Figures that are copied from rows inside rows."""


def rounded(figure: Any) -> Any:
    """Round figures to five places, also inside lists and rows; rows inside rows keep only :data:`KEPT`."""
    if isinstance(figure, dict):
        kept = [key for key in figure if "method" not in figure or key in KEPT]
        return {key: rounded(figure[key]) for key in kept}
    if isinstance(figure, list):
        return [rounded(part) for part in figure]
    return round(figure, 5) if isinstance(figure, float) else figure


def write(file: Path, table: dict[str, Any]) -> None:
    """Write a table's file with one line per row."""
    head = {key: value for key, value in table.items() if key != "rows"}
    rows = ",\n".join(f"  {json.dumps(row, ensure_ascii=False)}" for row in table["rows"])
    start = json.dumps(head, indent=1, ensure_ascii=False).removesuffix("\n}")
    file.write_text(f'{start},\n "rows": [\n{rows}\n ]\n}}\n')


if __name__ == "__main__":
    main(sys.argv[1:])
