"""What a command may write over: what a command of vg_gym wrote before, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from vg_gym.errors import CannotWrite

SOFTWARE = "vg_gym"
"""Says in pictures and pages who wrote them."""
SOFTWARE_TAG = 0x0131
"""EXIF's number of the field that holds it."""
HEAD_BYTES = 2048
"""Of a page, within which it says so."""


def refuse_foreign(path: Path, is_own: Callable[[Path], bool]) -> None:
    """Refuse to write over a file that is not our own.

    Raises:
        CannotWrite: there is such a file, or a folder.
    """
    if path.exists() and not is_own(path):
        raise CannotWrite(f"{path} is there, and this command did not write it: name another --out, or move it away")


def refuse_foreign_in(folder: Path, names: Sequence[str], is_own: bool) -> None:
    """Refuse to write files into a folder that is not our own and has some of their names.

    Args:
        folder: the folder.
        names: of the files that are to be written.
        is_own: whether a command of vg_gym wrote to the folder before.

    Raises:
        CannotWrite: there are such files.
    """
    there = [] if is_own else [name for name in names if (folder / name).exists()]
    if there:
        raise CannotWrite(
            f"{folder} holds {', '.join(there)}, which this command did not write: name another --out, or move it away"
        )


def is_own_picture(path: Path) -> bool:
    """Whether a file is a picture that says it is ours."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            return SOFTWARE in (image.info.get("Software"), image.getexif().get(SOFTWARE_TAG))
    except Exception:  # it may be anybody's, and of any kind
        return False


def is_own_page(path: Path) -> bool:
    """Whether a file is a page that says it is ours."""
    try:
        with path.open("rb") as file:
            return f'name="generator" content="{SOFTWARE}"'.encode() in file.read(HEAD_BYTES)
    except OSError:
        return False


def holds(path: Path, *names: str) -> bool:
    """Whether a JSON or YAML file is an object with all of some names."""
    try:
        content: Any = (json.loads if path.suffix == ".json" else yaml.safe_load)(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return False
    return isinstance(content, dict) and all(name in content for name in names)
