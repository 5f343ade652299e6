"""The tables of results, rewritten between their markers from the files in docs/results/data.

    python docs/tables.py                                         write every table anew
    python docs/tables.py extract NAME results/first/results.json  take a table's figures from a run, and write it anew
    python docs/tables.py extract NAME results/hard/results.json hard   the same for the part ``hard`` of its rows
    python docs/tables.py extract NAME out.json                    the same of a benchmark, ``--json out.json``

On a page a table stands between ``<!-- table: NAME -->`` and ``<!-- /table -->``;
``<!-- table: NAME; mdetr, red -->`` shows the rows of those methods alone. A file NAME.json has

- ``command``: what makes the figures, one or several; each stands on the page that has the whole table;
- ``source``: where they are from;
- ``columns``: title -> the cell as a format of ``row``, or several, of which the first that a row has figures for is
  shown, and nothing where it has none;
- ``rows``: each a ``label``, a ``method`` where it is a row of ``results.json``, and figures, called as they are there.
  What refines a method's boxes is in its ``refined``, the best of its proposals in its ``proposal_oracle``.
  Of a benchmark a row says in ``figures`` which of the benchmark's figures its own are.
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
"""A file for each table."""
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
"""Where tables may stand."""
TABLE = re.compile(r"(<!-- table: ([\w-]+)(?:; ([^>]+))? -->\n).*?(?=<!-- /table -->)", re.DOTALL)
"""A table with the marker before it: the marker, the name, the methods."""
ORACLE = " proposal-oracle"
"""End of the names of rows of ``results.json`` that hold the best proposals of a method."""

Row = dict[str, Any]


def main(arguments: list[str]) -> None:
    """Take figures from a run, where asked to, and write the tables."""
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
    """A page with all its tables as the files have them."""
    return TABLE.sub(lambda found: found[1] + rendered(read(found[2]), found[3]), text)


def read(name: str) -> dict[str, Any]:
    """The file of a table."""
    return json.loads((DATA / f"{name}.json").read_text())


def rendered(table: dict[str, Any], methods: str | None = None) -> str:
    """A table as Markdown.

    Args:
        table: what its file holds.
        methods: those to show, with commas between; all where there are none.
    """
    columns, rows = table["columns"], table["rows"]
    if methods:
        named = {row.get("method"): row for row in rows}
        rows = [named[method.strip()] for method in methods.split(",")]
    lines = [[cell(form, row) for form in columns.values()] for row in rows]
    head, *body = (f"| {' | '.join(line)} |\n" for line in [columns, *lines])
    return f"{head}|{'---|' * len(columns)}\n{''.join(body)}"


def cell(form: str | list[str], row: Row) -> str:
    """A cell of a row: the first format that it has all figures for.

    >>> cell(["{row[iou]:.2f} ({row[ci][0]:.1f})", "{row[iou]:.2f}"], {"iou": 0.5}), cell("{row[ms]}", {"iou": 0.5})
    ('0.50', '')
    """
    for one in [form] if isinstance(form, str) else form:
        if all(look_up(row, path) is not None for path in paths(one)):
            return one.format(row=row)
    return ""


def paths(form: str) -> list[list[str]]:
    """What a format reads of a row.

    >>> paths("{row[ci][0]:.1f} of {row[n]}")
    [['ci', '0'], ['n']]
    """
    return [re.findall(r"\[([^]]+)\]", name) for _, name, _, _ in Formatter().parse(form) if name]


def look_up(row: Row, path: Iterable[str]) -> Any:
    """The figure at a path; None where there is none."""
    found: Any = row
    for key in path:
        try:
            found = found[int(key)] if isinstance(found, list) else found[key]
        except (KeyError, IndexError, TypeError):
            return None
    return found


def extract(file: Path, results: Path, part: str = "") -> None:
    """Give a table's file the figures of a run, those that its columns show.

    Args:
        file: of the table.
        results: the ``results.json`` of the command that the file names, or what a benchmark wrote.
        part: of the rows, which takes the figures, where a table is of several runs.
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
    """Figures of a benchmark by the names that a row has for them; what is no count to three digits.

    >>> measured({"rate": "steps/s", "n": "steps"}, {"steps/s": 35412.3, "steps": 70123}, Path("out.json"))
    {'rate': 35400, 'n': 70123}
    """
    if missing := sorted(set(names.values()) - figures.keys()):
        sys.exit(f"{results} lacks {'; '.join(missing)}: run the whole command")
    return {key: three_digits(figures[name]) for key, name in names.items()}


def three_digits(figure: float | str) -> float | str:
    """A measured number to three digits, whole where that makes it whole; a count or a text as it is.

    >>> three_digits(35412.3), three_digits(1.516), three_digits(35412), three_digits("2 images")
    (35400, 1.52, 35412, '2 images')
    """
    if isinstance(figure, str):
        return figure
    rounded = float(f"{figure:.3g}")
    return figure if isinstance(figure, int) else int(rounded) if rounded.is_integer() else rounded


def take_rows(table: dict[str, Any], rows: list[Row], part: str) -> None:
    """Give a table's rows the figures of rows of ``results.json``, those that its columns show."""
    forms = [form for column in table["columns"].values() for form in ([column] if isinstance(column, str) else column)]
    used = [path for form in forms for path in paths(form)]
    keys = sorted({path[1] for path in used if path[0] == part} if part else {path[0] for path in used} - {"label"})
    found = by_method(rows)
    for row in table["rows"]:
        new = {key: rounded(found[row["method"]][key]) for key in keys if key in found[row["method"]]}
        row.update({part: new} if part else new)


def commands(table: dict[str, Any]) -> list[str]:
    """The commands that make a table; none where its figures are of others."""
    return [table["command"]] if isinstance(table["command"], str) else table["command"]


def by_method(rows: list[Row]) -> dict[str, Row]:
    """Rows of ``results.json`` by method, with what was made of their boxes inside."""
    found = {row["method"]: dict(row) for row in rows}
    for row in rows:
        if "refines" in row:
            refiner = row["method"].removeprefix(f"{row['refines']} + ")
            found[row["refines"]].setdefault("refined", {})[refiner] = row
        if row["method"].endswith(ORACLE):
            found[row["method"].removesuffix(ORACLE)]["proposal_oracle"] = row
    return found


KEPT = ("mean_iou", "mean_iou_ci", "acc@0.5", "acc@0.5_ci", "refined_by", "refined_by_acc@0.5")
"""Of rows inside rows."""


def rounded(figure: Any) -> Any:
    """A figure, or what holds figures, to five places; of a row inside a row what tables show."""
    if isinstance(figure, dict):
        kept = [key for key in figure if "method" not in figure or key in KEPT]
        return {key: rounded(figure[key]) for key in kept}
    if isinstance(figure, list):
        return [rounded(part) for part in figure]
    return round(figure, 5) if isinstance(figure, float) else figure


def write(file: Path, table: dict[str, Any]) -> None:
    """Write a table's file, a row a line."""
    head = {key: value for key, value in table.items() if key != "rows"}
    rows = ",\n".join(f"  {json.dumps(row, ensure_ascii=False)}" for row in table["rows"])
    start = json.dumps(head, indent=1, ensure_ascii=False).removesuffix("\n}")
    file.write_text(f'{start},\n "rows": [\n{rows}\n ]\n}}\n')


if __name__ == "__main__":
    main(sys.argv[1:])
