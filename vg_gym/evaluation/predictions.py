"""``predictions.jsonl``: every prediction as it is made, so that a run that was killed goes on where it stopped.

Lines stay in the file. What is kept in memory is where each of them begins: 17 MB for a million of a method.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vg_gym.errors import VGGymError
from vg_gym.evaluation.methods import Line
from vg_gym.storage.files import make_folder, replacing, write_json, writing

INPUTS = "inputs.json"
"""Name of the file that says what the predictions of each method depend on."""
MADE_AGAIN = "made_again"
"""Name of what a line holds that ends the predictions of a method before it: the names of the inputs that changed."""
MOST = 1e9
"""What no number of a prediction reaches; NaN does not stay below it either."""


def key_hashes(keys: Iterable[str], count: int) -> np.ndarray:
    """Hashes int64 (N,) of ``count`` keys, which hold for this process."""
    return np.fromiter(map(hash, keys), np.int64, count)


class Lines(Sequence[Line]):
    """Lines of a file, read when they are asked for.

    Args:
        path: of the file.
        places: where they begin (N,), in bytes.
    """

    def __init__(self, path: Path, places: np.ndarray):
        self._path, self._places = path, places

    def __len__(self) -> int:
        """Number of lines."""
        return len(self._places)

    def __iter__(self) -> Iterator[Line]:
        """All lines, with the file opened once."""
        with self._path.open("rb") as file:
            for place in self._places.tolist():
                file.seek(place)
                yield json.loads(file.readline())

    def __getitem__(self, index):  # type: ignore[override]
        """A line, or the lines of a slice or of indices."""
        chosen = Lines(self._path, np.atleast_1d(self._places[index]))
        return next(iter(chosen)) if np.ndim(self._places[index]) == 0 else chosen


class _Places:
    """Where the lines of one method begin, by the hash of their key."""

    def __init__(self) -> None:
        self._hashes, self._starts, self._failed = array("q"), array("q"), array("b")
        self._sorted: tuple[np.ndarray, np.ndarray] | None = None

    def add(self, key: str, start: int, failed: bool) -> None:
        """Add a line; of two with one key the last counts."""
        self._hashes.append(hash(key))
        self._starts.append(start)
        self._failed.append(failed)
        self._sorted = None

    def find(self, hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where the lines with some hashes (N,) begin, -1 where there is none; and whether they are failures."""
        if self._sorted is None:
            mine = np.array(self._hashes, np.int64)
            order = np.argsort(mine, kind="stable")
            self._sorted = mine[order], order
        known, order = self._sorted
        at = np.searchsorted(known, hashes, side="right") - 1  # the last of equal ones; -1 becomes the greatest
        there = known[at] == hashes
        rows = order[at]
        return np.where(there, np.array(self._starts)[rows], -1), there & np.array(self._failed, bool)[rows]


class PredictionFile:
    """The predictions in a folder, by method and query; all are of the same queries.

    Args:
        folder: holds ``predictions.jsonl``, ``settings.json`` and ``inputs.json``.
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
        self._places: dict[str, _Places] = {}
        self._inputs: dict[str, dict[str, str]] = {}
        if self.path.is_file():
            self._inputs = _read_inputs(folder / INPUTS)
            self._read()

    def __contains__(self, name: tuple[str, str]) -> bool:
        """Whether there is a prediction of (method, key of the query)."""
        return bool(self._find(name[0], key_hashes(name[1:], 1))[0][0] >= 0)

    def __getitem__(self, name: tuple[str, str]) -> Line:
        """The prediction of (method, key of the query)."""
        return self.lines(name[0], key_hashes(name[1:], 1))[0]

    def renew(self, method: str, inputs: Mapping[str, str]) -> list[str]:
        """Note what the predictions of a method depend on, and throw those away that were made with other inputs.

        Args:
            method: its name.
            inputs: name of a part -> its version or hash.

        Returns:
            Names of the parts that changed; none where there are no predictions of the method.
        """
        before, changed = self._inputs.get(method), []
        if self.knows(method) and before != inputs:
            names = ["vg_gym"] if before is None else {**before, **inputs}  # an older vg_gym noted nothing
            changed = [name for name in names if before is None or before.get(name) != inputs.get(name)]
            self._drop(method, changed)
        if before != inputs:
            self._inputs[method] = dict(inputs)
            write_json(self.path.with_name(INPUTS), self._inputs)
        return changed

    def _drop(self, method: str, changed: Sequence[str]) -> None:
        """Append a line after which the predictions before it no longer count; places of others in the file stay."""
        with writing(self.path), self.path.open("ab") as file:
            file.write(f"{json.dumps({'method': method, MADE_AGAIN: changed})}\n".encode())
        del self._places[method]

    def knows(self, method: str) -> bool:
        """Whether there is any prediction of a method."""
        return method in self._places

    def missing(self, method: str, hashes: np.ndarray, retry_failures: bool = False) -> np.ndarray:
        """Which of the queries whose keys have some hashes (N,) lack a prediction or, if asked for, failed."""
        starts, failed = self._find(method, hashes)
        return np.flatnonzero((starts < 0) | (failed if retry_failures else False))

    def lines(self, method: str, hashes: np.ndarray) -> Lines:
        """The predictions of a method for queries that all have one, by the hashes (N,) of their keys."""
        starts, _ = self._find(method, hashes)
        if (starts < 0).any():
            raise KeyError(f"{self.path} lacks predictions of {method}")
        return Lines(self.path, starts)

    def append(self, method: str, lines: Sequence[Line]) -> None:
        """Keep predictions of a method."""
        named = [{"method": method, **line} for line in lines]
        with writing(self.path), self.path.open("ab") as file:
            starts = []
            for line in named:
                starts.append(file.tell())
                file.write(f"{json.dumps(line)}\n".encode())
        for line, start in zip(named, starts, strict=True):
            self._note(line, start)

    def _find(self, method: str, hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if method not in self._places:
            return np.full(len(hashes), -1), np.zeros(len(hashes), bool)
        return self._places[method].find(hashes)

    def _note(self, line: Line, start: int) -> None:
        if MADE_AGAIN in line:
            self._places.pop(line["method"], None)
        else:
            self._places.setdefault(line["method"], _Places()).add(line["key"], start, "failure" in line)

    def _read(self) -> None:
        """Find the predictions on file."""
        if not self._note_all():
            self.tidy()
            self._places.clear()
            self._note_all()

    def tidy(self) -> None:
        """Leave only predictions that count in the file, without a line that was cut off by a kill.

        Lines that were given out before cannot be read after it.
        """
        lines = enumerate(_parsed(self.path))
        last = {line["method"]: number for number, (line, _) in lines if line is not None and MADE_AGAIN in line}
        with replacing(self.path) as part, part.open("wb") as file:
            for number, (line, text) in enumerate(_parsed(self.path)):
                if line is not None and number > last.get(line["method"], -1):
                    file.write(text.rstrip() + b"\n")

    def _note_all(self) -> bool:
        """Note the lines of the file; returns whether all of them are predictions that count."""
        start, whole = 0, True
        for line, text in _parsed(self.path):
            if line is not None:
                self._note(line, start)
            whole &= line is not None and MADE_AGAIN not in line and text.endswith(b"\n")
            start += len(text)
        return whole


def _parsed(path: Path) -> Iterator[tuple[Line | None, bytes]]:
    """(prediction or mark, its text) of each line of a file; None where the text is neither."""
    with path.open("rb") as file:
        for text in file:
            try:
                line = json.loads(text.decode())
                yield (line if _is_mark(line) or _is_prediction(line) else None), text
            except (ValueError, RecursionError):
                yield None, text


def _read_inputs(path: Path) -> dict[str, dict[str, str]]:
    """What predictions depend on, by method; nothing where that was not noted, so that they are made again."""
    try:
        return {str(method): dict(inputs) for method, inputs in json.loads(path.read_text()).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


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


def _is_mark(line: Any) -> bool:
    """Whether a line says that what is before it of a method no longer counts."""
    return isinstance(line, dict) and MADE_AGAIN in line and isinstance(line.get("method"), str)


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
