"""``predictions.jsonl``: every prediction as it is made, so that a run that was killed goes on where it stopped."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vg_gym.errors import VGGymError
from vg_gym.evaluation.methods import Line
from vg_gym.storage.files import make_folder, write_json, write_text, writing

MOST = 1e9
"""What no number of a prediction reaches; NaN does not stay below it either."""


class PredictionFile:
    """The predictions in a folder, by method and query; all are made with the same settings.

    Args:
        folder: holds ``predictions.jsonl`` and ``settings.json``.
        settings: what all predictions in the folder agree in.
        fresh: throw earlier predictions away.

    Raises:
        VGGymError: the folder holds predictions made with other settings.
    """

    def __init__(self, folder: Path, settings: dict[str, Any], fresh: bool = False):
        make_folder(folder)
        self.path = folder / "predictions.jsonl"
        if fresh:
            with writing(self.path):
                self.path.unlink(missing_ok=True)
        settings = json.loads(json.dumps(settings))
        if self.path.is_file():
            _compare(settings, folder)
        write_json(folder / "settings.json", settings)
        self._lines = _read(self.path)

    def __contains__(self, name: tuple[str, str]) -> bool:
        """Whether there is a prediction of (method, key of the query)."""
        return name in self._lines

    def __getitem__(self, name: tuple[str, str]) -> Line:
        """The prediction of (method, key of the query)."""
        return self._lines[name]

    def knows(self, method: str) -> bool:
        """Whether there is any prediction of a method."""
        return any(name == method for name, _ in self._lines)

    def missing(self, method: str, keys: Sequence[str], retry_failures: bool = False) -> list[int]:
        """Which of the queries with some keys have no prediction of a method, or where asked for one that failed."""
        found = [self._lines.get((method, key)) for key in keys]
        return [i for i, line in enumerate(found) if line is None or (retry_failures and "failure" in line)]

    def append(self, method: str, lines: Sequence[Line]) -> None:
        """Keep predictions of a method, here and in the file."""
        named = [{"method": method, **line} for line in lines]
        with writing(self.path), self.path.open("a") as file:
            file.writelines(f"{json.dumps(line)}\n" for line in named)
        self._lines.update({(method, line["key"]): line for line in named})


def _compare(settings: dict[str, Any], folder: Path) -> None:
    """Refuse to mix predictions made with different settings."""
    path = folder / "settings.json"
    if not path.is_file():
        return
    try:
        before = dict(json.loads(path.read_text()))
    except (ValueError, TypeError):
        raise VGGymError(f"{path} is damaged, and {folder} holds predictions; use another --out, or --fresh") from None
    changed = sorted(k for k in {*before, *settings} if before.get(k) != settings.get(k))
    if changed:
        raise VGGymError(
            f"{folder} holds predictions made with other {', '.join(changed)}; use another --out, or --fresh"
        )


def _is_prediction(line: Any) -> bool:
    """Whether a line says what the evaluator reads of it, in the types that it writes."""
    if not isinstance(line, dict) or not all(isinstance(line.get(name), str) for name in ("method", "key")):
        return False
    box, proposals = line.get("box", ""), line.get("proposals", [])
    return (
        (_is_box(box) or (box is None and "failure" in line))
        and isinstance(proposals, list)
        and all(map(_is_box, proposals))
        and all(_is_number(line[name]) for name in ("ms", "evaluations", "score") if name in line)
        and all(isinstance(line[name], str) for name in ("failure", "source", "answer") if name in line)
    )


def _is_box(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 4 and all(map(_is_number, value))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < MOST


def _read(path: Path) -> dict[tuple[str, str], Line]:
    """Predictions on file; a line cut off by a kill, or damaged, is dropped, in the file too."""
    if not path.is_file():
        return {}
    found, good = {}, []
    for text in path.read_text(errors="replace").split("\n"):
        try:
            line = json.loads(text)
            if _is_prediction(line):
                found[line["method"], line["key"]] = line
                good.append(text)
        except (ValueError, RecursionError):
            continue
    write_text(path, "".join(f"{text}\n" for text in good))
    return found
