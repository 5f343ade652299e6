"""Protection of users' files: commands of vg_gym overwrite only files that they wrote."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from vg_gym.errors import CannotWrite

SOFTWARE = "vg_gym"
"""Name of the writer in the metadata of pictures and pages."""
SOFTWARE_TAG = 0x0131
"""Number of the EXIF field of that name."""
HEAD_BYTES = 2048
"""Bytes at the start of a page that are searched for that name."""


def refuse_foreign(path: Path, is_own: Callable[[Path], bool]) -> None:
    """Raise an error if a file or folder exists that a command of vg_gym did not write.

    Raises:
        CannotWrite: ``path`` exists and is not ours.
    """
    if path.exists() and not is_own(path):
        raise CannotWrite(f"{path} exists, and this command did not write it: set another --out, or move it away")


def refuse_foreign_in(folder: Path, names: Sequence[str], is_own: bool) -> None:
    """Raise an error if files would be overwritten in a folder to which no command of vg_gym wrote before.

    Args:
        folder: the folder.
        names: names of the files to write.
        is_own: True if a command of vg_gym wrote to the folder before.

    Raises:
        CannotWrite: some of the files exist in a folder that is not ours.
    """
    existing = [] if is_own else [name for name in names if (folder / name).exists()]
    if existing:
        raise CannotWrite(
            f"{folder} holds {', '.join(existing)}, which this command did not write: set another --out or move it away"
        )


def is_own_picture(path: Path) -> bool:
    """Return True if a file is a picture with our name in its metadata."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            return SOFTWARE in (image.info.get("Software"), image.getexif().get(SOFTWARE_TAG))
    except Exception:  # the file may be of any kind
        return False


def is_own_page(path: Path) -> bool:
    """Return True if a file is a page with our name in its head."""
    try:
        with path.open("rb") as file:
            return f'name="generator" content="{SOFTWARE}"'.encode() in file.read(HEAD_BYTES)
    except OSError:
        return False


def holds(path: Path, *names: str) -> bool:
    """Return True if a JSON or YAML file is an object with all of the given keys."""
    try:
        content: Any = (json.loads if path.suffix == ".json" else yaml.safe_load)(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return False
    return isinstance(content, dict) and all(name in content for name in names)
