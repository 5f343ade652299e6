"""What a run was made of: its data, and weights that it began with. A run that goes on must find the same."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vg_gym.errors import VGGymError
from vg_gym.storage.files import fingerprint, write_json

ORIGIN = "origin.json"
"""The file in the folder of a run."""
STARTED_IN, MADE_OF = "started in", "made of"
START = "weights to start from"
"""A run has weights of its own by the time it goes on, so others than these do it no harm."""


def write_origin(folder: Path, marks: Mapping[str, str]) -> None:
    """Write down what a run is made of, and where it was started."""
    write_json(folder / ORIGIN, {STARTED_IN: os.getcwd(), MADE_OF: dict(marks)})


def check_origin(folder: Path, marks: Mapping[str, str]) -> None:
    """Refuse to go on with other data than a run began with; other weights to start from are a warning.

    Args:
        folder: of the run.
        marks: what it would be made of now.

    Raises:
        VGGymError: something differs; the message names it.
    """
    before: Any = _read(folder).get(MADE_OF, {})
    for name, mark in marks.items():
        old = before.get(name, mark)
        if old == mark:
            continue
        if name == START:
            warnings.warn(
                f"{folder}: the {START} have changed since the run began ({old}, now {mark}); it goes on with its own",
                stacklevel=2,
            )
            continue
        raise VGGymError(
            f"{folder}: the {name} is another than the run began with ({old}, now {mark}): put it back, or train "
            "another with out=FOLDER"
        )


def started_in(folder: Path) -> Path | None:
    """The folder in which a run was started, as far as it is known."""
    place = _read(folder).get(STARTED_IN)
    return Path(place) if isinstance(place, str) else None


def _read(folder: Path) -> dict[str, Any]:
    """The file of a run; nothing where there is none, as runs of earlier versions have none."""
    path = folder / ORIGIN
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict) or not isinstance(content.get(MADE_OF), dict):
            raise ValueError(f"it does not say what the run is {MADE_OF}")
        return content
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise VGGymError(f"{path} is damaged ({error}); remove it, and what it says is not compared") from error


def weights_mark(path: Path) -> str:
    """A hash of the files of weights."""
    return f"content {fingerprint(path)[:12]}"
