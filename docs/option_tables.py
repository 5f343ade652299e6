"""Tables of options, rewritten between their markers from the dataclasses.

python docs/option_tables.py

A table stands between ``<!-- options: MODULE.CLASS -->`` and ``<!-- /options -->``; ``<!-- options: MODULE.CLASS beyond
MODULE.CLASS -->`` leaves out what is the same in another.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path

from docstrings import ROLE

from vg_gym.cli.option_docs import Option, options_in

PAGES = sorted(Path(__file__).parent.rglob("*.md"))
"""Where tables may stand."""
MARKED = re.compile(r"(<!-- options: ([\w.]+)(?: beyond ([\w.]+))? -->\n).*?(?=<!-- /options -->)", re.DOTALL)
"""A table with the marker before it: the marker, the class, the class whose options are left out."""


def main() -> None:
    """Write the tables of all pages."""
    for page in PAGES:
        page.write_text(rewritten(page.read_text()))


def rewritten(text: str) -> str:
    """A page with all its tables as the classes have them."""
    return MARKED.sub(lambda found: f"{found[1]}{option_table(found[2], found[3])}\n", text)


def stale() -> list[str]:
    """The pages whose tables are not those of the classes."""
    return [page.name for page in PAGES if rewritten(page.read_text()) != page.read_text()]


def option_table(name: str, beyond: str | None = None) -> str:
    """The options of a dataclass as a table.

    Args:
        name: ``package.module.Class``.
        beyond: another, whose options are left out where they are the same.
    """
    known = options_in(load(beyond)) if beyond else []
    rows = (option_row(option) for option in options_in(load(name)) if option not in known)
    return table(("option", "default", "may be", "what"), rows)


def load(name: str) -> type:
    """The class at ``package.module.Class``."""
    module, _, owner = name.rpartition(".")
    return getattr(import_module(module), owner)


def option_row(option: Option) -> tuple[str, ...]:
    """A row of a table of options."""
    return f"`{option.name}`", f"`{option.default!r}`", option.allowed, markdown(option.about).replace("|", "\\|")


def markdown(text: str) -> str:
    """Docstring text as Markdown; what of a table goes on below an empty first cell is joined with its row."""
    text = re.sub(r" *\|\n *\| +\| +\| *", " ", text)
    return re.sub("(?<!`)``(?!`)", "`", ROLE.sub(r"`\1`", text))


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table as Markdown."""
    lines = [tuple(head), *(tuple(row) for row in rows)]
    first, *rest = (f"| {' | '.join(line)} |" for line in lines)
    return "\n".join([first, "|" + "---|" * len(lines[0]), *rest])


if __name__ == "__main__":
    main()
