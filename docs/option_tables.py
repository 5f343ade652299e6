"""Write the tables of options on all pages from the dataclasses.

python docs/option_tables.py

A table stands between ``<!-- options: MODULE.CLASS -->`` and ``<!-- /options -->``; ``<!-- options: MODULE.CLASS beyond
MODULE.CLASS -->`` leaves out the options that the second class has, too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path

from docstrings import ROLE

from vg_gym.cli.option_docs import Option, options_in

PAGES = sorted(Path(__file__).parent.rglob("*.md"))
"""Pages on which tables may stand."""
MARKED = re.compile(r"(<!-- options: ([\w.]+)(?: beyond ([\w.]+))? -->\n).*?(?=<!-- /options -->)", re.DOTALL)
"""Pattern of a table after its marker; its groups are the marker, the class and the class left out."""


def main() -> None:
    """Write the tables of all pages."""
    for page in PAGES:
        page.write_text(rewritten(page.read_text()))


def rewritten(text: str) -> str:
    """Return a page with all its tables written from the classes."""
    return MARKED.sub(lambda found: f"{found[1]}{option_table(found[2], found[3])}\n", text)


def stale() -> list[str]:
    """Return the pages whose tables differ from the classes."""
    return [page.name for page in PAGES if rewritten(page.read_text()) != page.read_text()]


def option_table(name: str, beyond: str | None = None) -> str:
    """Return the options of a dataclass as a table.

    Args:
        name: ``package.module.Class``.
        beyond: dataclass whose equal options are left out.
    """
    known = options_in(load(beyond)) if beyond else []
    rows = (option_row(option) for option in options_in(load(name)) if option not in known)
    return table(("option", "default", "may be", "what"), rows)


def load(name: str) -> type:
    """Return the class at ``package.module.Class``."""
    module, _, owner = name.rpartition(".")
    return getattr(import_module(module), owner)


def option_row(option: Option) -> tuple[str, ...]:
    """Row of a table of options."""
    return f"`{option.name}`", f"`{option.default!r}`", option.allowed, markdown(option.about).replace("|", "\\|")


def markdown(text: str) -> str:
    """Return docstring text as Markdown; a table line with an empty first cell is joined with the row above."""
    text = re.sub(r" *\|\n *\| +\| +\| *", " ", text)
    return re.sub("(?<!`)``(?!`)", "`", ROLE.sub(r"`\1`", text))


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table as Markdown."""
    lines = [tuple(head), *(tuple(row) for row in rows)]
    first, *rest = (f"| {' | '.join(line)} |" for line in lines)
    return "\n".join([first, "|" + "---|" * len(lines[0]), *rest])


if __name__ == "__main__":
    main()
