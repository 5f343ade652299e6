"""The notebook as a page of the site, with its pictures.

python docs/notebook_page.py

It runs ``notebooks/pipelines_zoo.ipynb`` (with packages of the extra ``test``), and writes ``docs/zoo.md`` and the
pictures in ``docs/zoo``.
"""

from __future__ import annotations

import base64
import io
import re
import shutil
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import nbclient
import nbformat
from PIL import Image

DOCS = Path(__file__).parent
NOTEBOOK = DOCS.parent / "notebooks/pipelines_zoo.ipynb"
PAGE = DOCS / "zoo.md"
PICTURES = DOCS / "zoo"
NOTE = (
    "This page is the notebook `notebooks/pipelines_zoo.ipynb` after a run. `python docs/notebook_page.py` writes it."
)
MAX_CELL_SECONDS = 3600
WIDTH = 660
"""Of a picture in the page, in pixels."""
QUALITY = 40
"""Of lossy WebP, from 0 to 100."""
NAME = re.compile(r"^#+ (.+)$|\*\*(.+?)\*\*", re.MULTILINE)
"""A heading, or what stands in bold."""


def main() -> None:
    """Run the notebook and write the page and its pictures."""
    blocks = list(markdown(run()))
    shutil.rmtree(PICTURES, ignore_errors=True)
    PICTURES.mkdir()
    for number, png in enumerate(block for block in blocks if isinstance(block, bytes)):
        smaller(png).save(PICTURES / file_name(number), quality=QUALITY, method=6)
    PAGE.write_text(page(blocks))


def run() -> nbformat.NotebookNode:
    """Return the notebook with the outputs of its cells."""
    book = nbformat.read(NOTEBOOK, as_version=4)
    folder = {"metadata": {"path": str(NOTEBOOK.parent)}}
    return nbclient.NotebookClient(book, timeout=MAX_CELL_SECONDS, resources=folder).execute()


def markdown(book: nbformat.NotebookNode) -> Iterator[str | bytes]:
    """Yield texts, code and outputs of a notebook as Markdown, and its pictures as PNG."""
    for cell in book.cells:
        if cell.cell_type == "markdown":
            yield cell.source
        else:
            yield f"```python\n{cell.source}\n```"
            yield from map(shown, cell.outputs)


def shown(output: nbformat.NotebookNode) -> str | bytes:
    """Return an output of a cell as Markdown or PNG."""
    if output.output_type == "stream":
        return f"```text\n{output.text.rstrip()}\n```"
    png = output.data.get("image/png")
    return base64.b64decode(png) if png else output.data["text/markdown"]


def page(blocks: list[str | bytes]) -> str:
    """Return the text of the page; the heading or the bold words above a picture describe it."""
    title, first = str(blocks[0]).split("\n", 1)
    lines, name, numbers = [title, NOTE], title, count()
    for block in [first.strip(), *blocks[1:]]:
        if isinstance(block, bytes):
            lines.append(f"![{name}]({PICTURES.name}/{file_name(next(numbers))})")
        else:
            lines.append(block)
            name = next(("".join(names) for names in reversed(NAME.findall(block))), name)
    return "\n\n".join(lines) + "\n"


def file_name(number: int) -> str:
    """Return the name of the file of a picture."""
    return f"{number:02d}.webp"


def smaller(png: bytes) -> Image.Image:
    """Return a picture of at most ``WIDTH`` pixels."""
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    picture.thumbnail((WIDTH, picture.height))
    return picture


if __name__ == "__main__":
    main()
