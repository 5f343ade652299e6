"""Writing files so that nothing is ever half there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary name beside ``path`` to write to; renamed to ``path`` at the end, removed after an error."""
    part = path.with_name(f"{path.name}.part")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    with replacing(path) as part:
        part.write_text(text)


def write_json(path: Path, content: Any) -> None:
    """Write strict JSON, whole or not at all.

    Raises:
        ValueError: there is a NaN or an infinity in it.
    """
    write_text(path, json.dumps(content, indent=1, allow_nan=False))
