"""JSON file with the figures of a benchmark, from which ``docs/tables.py`` fills the tables of the docs."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from vg_gym.evaluation.comparison import LIBRARIES
from vg_gym.storage.files import write_json


def write_figures(path: Path, figures: Mapping[str, float | str], command: str | None = None) -> None:
    """Write figures by name with their command, date and versions, atomically.

    Args:
        path: JSON file: ``{"meta": {...}, "figures": {...}}``.
        figures: name -> measured value.
        command: command that made the figures; default: the command of this process.
    """
    meta = {
        "command": command or shlex.join(["python", *sys.argv]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"python": sys.version.split()[0], **{name: version(name) for name in LIBRARIES}},
    }
    write_json(path, {"meta": meta, "figures": dict(figures)})
