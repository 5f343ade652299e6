"""Inputs of a run, its data and initial weights, which must be unchanged when it resumes."""

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
"""Name of the file in the folder of a run."""
STARTED_IN, MADE_OF = "started in", "made of"
START = "weights to start from"
"""Name of the initial weights. A resumed run does not use them, so a change of them is only a warning."""


def write_origin(folder: Path, marks: Mapping[str, str]) -> None:
    """Write the hashes of a run's inputs and the current folder to a file."""
    write_json(folder / ORIGIN, {STARTED_IN: os.getcwd(), MADE_OF: dict(marks)})


def check_origin(folder: Path, marks: Mapping[str, str]) -> None:
    """Reject changed data of a resumed run; changed initial weights are a warning.

    Args:
        folder: folder of the run.
        marks: name -> current hash of each input.

    Raises:
        VGGymError: an input differs; the message names it.
    """
    before: Any = _read(folder).get(MADE_OF, {})
    for name, mark in marks.items():
        old = before.get(name, mark)
        if old == mark:
            continue
        if name == START:
            warnings.warn(
                f"{folder}: the {START} have changed since the run began ({old}, now {mark}); it resumes with its own",
                stacklevel=2,
            )
            continue
        raise VGGymError(
            f"{folder}: the {name} differs from that at the start of the run ({old}, now {mark}): restore it, or train "
            "another model with out=FOLDER"
        )


def started_in(folder: Path) -> Path | None:
    """Return the folder in which a run was started, or None if unknown."""
    place = _read(folder).get(STARTED_IN)
    return Path(place) if isinstance(place, str) else None


def _read(folder: Path) -> dict[str, Any]:
    """Read the file of a run; runs of earlier versions have none, which gives an empty dictionary."""
    path = folder / ORIGIN
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict) or not isinstance(content.get(MADE_OF), dict):
            raise ValueError(f"it lacks the key {MADE_OF!r}")
        return content
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise VGGymError(f"{path} is damaged ({error}); remove it to resume without this check") from error


def weights_mark(path: Path) -> str:
    """Return a hash of a file or folder of weights."""
    return f"content {fingerprint(path)[:12]}"
