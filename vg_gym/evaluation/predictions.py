"""``predictions.jsonl``: all predictions, appended as they are computed, so that a killed run can resume.

The lines stay in the file. Only their byte offsets are in memory: 17 MB for a million predictions of a method.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vg_gym.errors import VGGymError
from vg_gym.evaluation.lines import Line, is_prediction
from vg_gym.storage.files import make_folder, replacing, write_json, writing

INPUTS = "inputs.json"
"""Name of the file with the versions and hashes that the predictions of each method depend on."""
MADE_AGAIN = "made_again"
"""Key of a line that makes all earlier predictions of its method outdated; the value names the changed inputs."""


def key_hashes(keys: Iterable[str], count: int) -> np.ndarray:
    """Return the hashes of ``count`` keys, int64 (N,); they are valid in this process only."""
    return np.fromiter(map(hash, keys), np.int64, count)


class Lines(Sequence[Line]):
    """Lines of a file, read on access.

    Args:
        path: path of the file.
        places: byte offsets of the lines, (N,).
    """

    def __init__(self, path: Path, places: np.ndarray):
        self._path, self._places = path, places

    def __len__(self) -> int:
        """Return the number of lines."""
        return len(self._places)

    def __iter__(self) -> Iterator[Line]:
        """Yield all lines; the file is opened once."""
        with self._path.open("rb") as file:
            for place in self._places.tolist():
                file.seek(place)
                yield json.loads(file.readline())

    def __getitem__(self, index):  # type: ignore[override]
        """Return a line, or the lines of a slice or of indices."""
        chosen = Lines(self._path, np.atleast_1d(self._places[index]))
        return next(iter(chosen)) if np.ndim(self._places[index]) == 0 else chosen


class _Places:
    """Byte offsets of the lines of one method by the hash of their key."""

    def __init__(self) -> None:
        self._hashes, self._starts, self._failed = array("q"), array("q"), array("b")
        self._sorted: tuple[np.ndarray, np.ndarray] | None = None

    def add(self, key: str, start: int, failed: bool) -> None:
        """Add a line; it replaces an earlier one with the same key."""
        self._hashes.append(hash(key))
        self._starts.append(start)
        self._failed.append(failed)
        self._sorted = None

    def find(self, hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the byte offsets (N,) of the lines with given hashes, -1 if missing, and whether they are failures."""
        if self._sorted is None:
            all_hashes = np.array(self._hashes, np.int64)
            order = np.argsort(all_hashes, kind="stable")
            self._sorted = all_hashes[order], order
        sorted_hashes, order = self._sorted
        # The last of equal hashes; -1 stands for the greatest hash.
        at = np.searchsorted(sorted_hashes, hashes, side="right") - 1
        exists = sorted_hashes[at] == hashes
        rows = order[at]
        return np.where(exists, np.array(self._starts)[rows], -1), exists & np.array(self._failed, bool)[rows]


class PredictionFile:
    """Predictions in a folder by method and query; all are of the same queries.

    Args:
        folder: folder of ``predictions.jsonl``, ``settings.json`` and ``inputs.json``.
        settings: settings that are the same for all predictions in the folder.
        fresh: whether to delete earlier predictions.

    Raises:
        VGGymError: the folder contains predictions with other settings.
    """

    def __init__(self, folder: Path, settings: dict[str, Any], fresh: bool = False):
        self.path = folder / "predictions.jsonl"
        if fresh:
            with writing(self.path):
                self.path.unlink(missing_ok=True)
        settings = json.loads(json.dumps(settings))
        if self.path.is_file():
            _compare(settings, folder)
        self._settings: dict[str, Any] | None = settings
        """Settings that are not written yet; None once they are."""
        self._places: dict[str, _Places] = {}
        self._inputs: dict[str, dict[str, str]] = {}
        self._inputs_changed = False
        if self.path.is_file():
            self._inputs = _read_inputs(folder / INPUTS)
            self._read()

    def __contains__(self, name: tuple[str, str]) -> bool:
        """Return whether there is a prediction of (method, key of the query)."""
        return bool(self._find(name[0], key_hashes(name[1:], 1))[0][0] >= 0)

    def __getitem__(self, name: tuple[str, str]) -> Line:
        """Return the prediction of (method, key of the query)."""
        return self.lines(name[0], key_hashes(name[1:], 1))[0]

    def renew(self, method: str, inputs: Mapping[str, str]) -> list[str]:
        """Save the inputs of a method's predictions, and discard predictions that were made with other inputs.

        Args:
            method: name of the method.
            inputs: name of a part -> its version or hash.

        Returns:
            Names of the parts that changed; empty if the method lacks predictions.
        """
        before, changed = self._inputs.get(method), []
        if self.knows(method) and before != inputs:
            names = ["vg_gym"] if before is None else {**before, **inputs}  # older versions of vg_gym saved no inputs
            changed = [name for name in names if before is None or before.get(name) != inputs.get(name)]
            self._drop(method, changed)
        if before != inputs:
            self._inputs[method] = dict(inputs)
            self._inputs_changed = True
        return changed

    def _drop(self, method: str, changed: Sequence[str]) -> None:
        """Append a line that makes earlier predictions of a method outdated; other lines keep their byte offsets."""
        with writing(self.path), self.path.open("ab") as file:
            file.write(f"{json.dumps({'method': method, MADE_AGAIN: changed})}\n".encode())
        del self._places[method]

    def knows(self, method: str) -> bool:
        """Return whether there is any prediction of a method."""
        return method in self._places

    def missing(self, method: str, hashes: np.ndarray, retry_failures: bool = False) -> np.ndarray:
        """Return the indices of queries without a prediction and of failures to retry.

        Args:
            method: name of the method.
            hashes: hashes of the queries' keys, (N,).
            retry_failures: whether failures count as missing.
        """
        starts, failed = self._find(method, hashes)
        return np.flatnonzero((starts < 0) | (failed if retry_failures else False))

    def lines(self, method: str, hashes: np.ndarray) -> Lines:
        """Return the predictions of a method for queries by the hashes (N,) of their keys; all must have one."""
        starts, _ = self._find(method, hashes)
        if (starts < 0).any():
            raise KeyError(f"{self.path} lacks predictions of {method}")
        return Lines(self.path, starts)

    def append(self, method: str, lines: Sequence[Line]) -> None:
        """Append predictions of a method to the file; before the first ones nothing is written to the folder."""
        if not lines:
            return
        self._write_origin()
        named = [{"method": method, **line} for line in lines]
        with writing(self.path), self.path.open("ab") as file:
            starts = []
            for line in named:
                starts.append(file.tell())
                file.write(f"{json.dumps(line)}\n".encode())
        for line, start in zip(named, starts, strict=True):
            self._note(line, start)

    def _write_origin(self) -> None:
        """Write the settings of all predictions and the inputs of each method, if they are new."""
        if self._settings is not None:
            write_json(make_folder(self.path.parent) / "settings.json", self._settings)
            self._settings = None
        if self._inputs_changed:
            write_json(self.path.with_name(INPUTS), self._inputs)
            self._inputs_changed = False

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
        """Find the predictions in the file."""
        if not self._note_all():
            self.tidy()
            self._places.clear()
            self._note_all()

    def tidy(self) -> None:
        """Remove outdated predictions and cut-off lines from the file.

        :class:`Lines` that were returned before cannot be read afterwards.
        """
        lines = enumerate(_parsed(self.path))
        last = {line["method"]: number for number, (line, _) in lines if line is not None and MADE_AGAIN in line}
        with replacing(self.path) as part, part.open("wb") as file:
            for number, (line, text) in enumerate(_parsed(self.path)):
                if line is not None and number > last.get(line["method"], -1):
                    file.write(text.rstrip() + b"\n")

    def _note_all(self) -> bool:
        """Note the lines of the file, and return whether all of them are complete and current predictions."""
        start, whole = 0, True
        for line, text in _parsed(self.path):
            if line is not None:
                self._note(line, start)
            whole &= line is not None and MADE_AGAIN not in line and text.endswith(b"\n")
            start += len(text)
        return whole


def _parsed(path: Path) -> Iterator[tuple[Line | None, bytes]]:
    """Yield (prediction or mark, text) for each line of a file; None where the text is neither."""
    with path.open("rb") as file:
        for text in file:
            try:
                line = json.loads(text.decode())
                yield (line if _is_mark(line) or is_prediction(line) else None), text
            except (ValueError, RecursionError):
                yield None, text


def _read_inputs(path: Path) -> dict[str, dict[str, str]]:
    """Return the inputs of predictions by method; empty without a valid file, so that all are computed again."""
    try:
        return {str(method): dict(inputs) for method, inputs in json.loads(path.read_text()).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _compare(settings: dict[str, Any], folder: Path) -> None:
    """Raise an error if the folder contains predictions with other settings."""
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
    """Return whether a line makes earlier predictions of its method outdated."""
    return isinstance(line, dict) and MADE_AGAIN in line and isinstance(line.get("method"), str)
