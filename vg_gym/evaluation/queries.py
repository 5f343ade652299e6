"""``queries.jsonl``: what was asked, what is true, and how well each method answered; results are paired by it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vg_gym.errors import VGGymError
from vg_gym.storage.files import replacing
from vg_gym.storage.texts import lines as text_lines
from vg_gym.storage.texts import read_text
from vg_gym.types import Sample

NAME = "queries.jsonl"
"""Of the file, beside ``results.json``."""


class ContentHash:
    """A hash of what is asked and what is true: keys, expressions and true boxes in their order."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def add(self, key: str, expression: str, box: list[float]) -> None:
        """Add a query."""
        self._digest.update(f"{key} {expression} {box}".encode())

    def __str__(self) -> str:
        return self._digest.hexdigest()[:16]


def hash_of_samples(samples: Iterable[Sample]) -> str:
    """The :class:`ContentHash` of samples."""
    content = ContentHash()
    for sample in samples:
        content.add(sample.query.key, sample.query.expression, sample.box.tolist())
    return str(content)


def write_queries(folder: Path, samples: Sequence[Sample], rows: Sequence[dict[str, Any]]) -> None:
    """Write ``queries.jsonl``: a line for each sample.

    Args:
        folder: of the results.
        samples: N samples.
        rows: of the evaluator, with their N ``ious``.
    """
    with replacing(folder / NAME) as part, part.open("w") as file:
        for i, sample in enumerate(samples):
            line = {
                "key": sample.query.key,
                "expression": sample.query.expression,
                "kind": sample.kind,
                "image_id": sample.image_id,
                "box": sample.box.tolist(),
                "ious": {row["method"]: float(row["ious"][i]) for row in rows},  # all digits: none crosses a threshold
            }
            file.write(json.dumps(line) + "\n")


class Queries:
    """A ``queries.jsonl`` that was read.

    Args:
        path: of the file.
        content: the content hash that it must have.

    Raises:
        VGGymError: there is no such file, it is damaged, or it is of other results.
    """

    def __init__(self, path: Path, content: str):
        if not path.is_file():
            raise VGGymError(f"{path} is missing, and methods are paired by it: {_again(path)}")
        try:
            lines = [json.loads(text) for _, text in text_lines(read_text(path))]
            self.kinds = [str(line["kind"]) for line in lines]
            """The kind of each expression."""
            self.images = [str(line["image_id"]) for line in lines]
            """The image of each."""
            self._ious = [{str(k): float(v) for k, v in line["ious"].items()} for line in lines]
            found = ContentHash()
            for line in lines:
                found.add(line["key"], line["expression"], line["box"])
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise VGGymError(f"{path} is damaged ({type(error).__name__}: {error}): {_again(path)}") from None
        if str(found) != content:
            raise VGGymError(f"{path} is not of the results beside it: {_again(path)}")
        self.path = path

    def ious(self, method: str) -> np.ndarray:
        """The IoUs (N,) of a method.

        Raises:
            VGGymError: some query has none.
        """
        found = np.array([line.get(method, np.nan) for line in self._ious])
        if not ((found >= 0) & (found <= 1 + 1e-6)).all():
            raise VGGymError(f"{self.path} lacks IoUs of {method}, or has impossible ones: {_again(self.path)}")
        return found


def _again(path: Path) -> str:
    return f"run the evaluation into {path.parent} again, which keeps its predictions"
