"""Read the imports of the package, and draw the picture of the architecture page from them.

python docs/architecture.py

``docs/architecture.svg`` is a matrix: a row for each room that imports, a column for each room that is imported, and in
each cell the number of modules of the row that import the column. Rooms import only rooms above them, so all numbers
are below the diagonal.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from functools import cache
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PICTURE = Path(__file__).parent / "architecture.svg"
GROUND = ("moved", "errors", "types", "boxes", "frames", "runtime", "storage", "config", "registry")
"""Modules and rooms that every other room may import, from the ground up."""
ROOMS = (
    "language", "data", "fitting", "clip", "features", "language_models", "evaluation", "learned", "baselines",
    "diffusion", "envs", "agents", "pictures", "cli",
)  # fmt: skip
"""The other rooms, from the ground up: a room imports only rooms before it in this list."""
CELL_PX, LABEL_PX = 24, 130


def main() -> None:
    """Write the picture."""
    PICTURE.write_text(picture())


def imported(tree: ast.AST, module: str, is_package: bool) -> Iterator[tuple[str, bool]]:
    """Yield each module of vg_gym that a module imports, and whether it does so for type checking only.

    Args:
        tree: syntax tree of the module.
        module: dotted name of the module.
        is_package: whether the module is the ``__init__`` of a package.
    """
    home = module.split(".") if is_package else module.split(".")[:-1]
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        for name in _names(node, home):
            if name.split(".")[0] == "vg_gym":
                yield name, id(node) in for_types


def _names(node: ast.AST, home: list[str]) -> list[str]:
    """Return the dotted names that a statement or a call imports."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        start = ".".join(home[: len(home) - node.level + 1]) if node.level else ""
        base = ".".join(part for part in (start, node.module) if part)
        return [f"{base}.{alias.name}" for alias in node.names]
    if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
        return [a.value for a in node.args[:1] if isinstance(a, ast.Constant) and isinstance(a.value, str)]
    return []


@cache
def modules() -> dict[str, tuple[ast.Module, bool]]:
    """Return every module of the package by name: its syntax tree, and whether it is a package."""
    trees: dict[str, tuple[ast.Module, bool]] = {}
    for file in sorted((ROOT / "vg_gym").rglob("*.py")):
        parts = file.relative_to(ROOT).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        trees[".".join(parts[:-1] if is_package else parts)] = (ast.parse(file.read_text()), is_package)
    return trees


def room_of(module: str) -> str:
    """Return the room of a dotted name.

    >>> room_of("vg_gym.envs.engine"), room_of("vg_gym")
    ('envs', '')
    """
    return (module.split(".") + [""])[1]


def imports_between_rooms() -> Counter[tuple[str, str]]:
    """Count, for each pair of rooms, the modules of the first that import the second."""
    pairs = {
        (module, room_of(name))
        for module, (tree, is_package) in modules().items()
        for name, _ in imported(tree, module, is_package)
    }
    return Counter((room_of(module), room) for module, room in pairs if room_of(module) and room)


def picture() -> str:
    """Return the matrix as SVG."""
    order, counts = (*GROUND, *ROOMS), imports_between_rooms()
    side = LABEL_PX + CELL_PX * len(order)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {side} {side}" font-family="sans-serif" font-size="12">',
        f'<rect width="{side}" height="{side}" fill="white"/>',
    ]
    for place, room in enumerate(order):
        middle = LABEL_PX + CELL_PX * (place + 0.5)
        parts.append(f'<text x="{LABEL_PX - 6}" y="{middle + 4}" text-anchor="end">{escape(room)}</text>')
        parts.append(f'<text transform="translate({middle + 4} {LABEL_PX - 6}) rotate(-90)">{escape(room)}</text>')
        parts.append(_cell(place, place, "#d0d0d0", ""))
    for (room, other), count in sorted(counts.items()):
        if room != other and {room, other} <= set(order):
            parts.append(_cell(order.index(room), order.index(other), _shade(count), str(count)))
    return "\n".join([*parts, "</svg>\n"])


def _cell(row: int, column: int, color: str, text: str) -> str:
    """Return a cell of the matrix, with its text in the middle."""
    x, y = LABEL_PX + CELL_PX * column, LABEL_PX + CELL_PX * row
    box = f'<rect x="{x}" y="{y}" width="{CELL_PX}" height="{CELL_PX}" fill="{color}" stroke="white"/>'
    return f'{box}<text x="{x + CELL_PX / 2}" y="{y + CELL_PX / 2 + 4}" text-anchor="middle">{text}</text>'


def _shade(count: int) -> str:
    """Return a blue that is the darker the larger the count, up to 20."""
    light = 235 - 6 * min(count, 20)
    return f"rgb({light - 30},{light - 5},255)"


if __name__ == "__main__":
    main()
