"""``queries.jsonl``: expression, true box and IoUs of all methods for each query. It serves to pair results."""

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
"""Name of the file in the folder of ``results.json``."""


class ContentHash:
    """Hash of keys, expressions and true boxes in their order."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def add(self, key: str, expression: str, box: list[float]) -> None:
        """Add a query to the hash."""
        self._digest.update(f"{key} {expression} {box}".encode())

    def __str__(self) -> str:
        return self._digest.hexdigest()[:16]


def hash_of_samples(samples: Iterable[Sample]) -> str:
    """Return the :class:`ContentHash` of samples."""
    content = ContentHash()
    for sample in samples:
        content.add(sample.query.key, sample.query.expression, sample.box.tolist())
    return str(content)


def write_queries(folder: Path, samples: Sequence[Sample], rows: Sequence[dict[str, Any]]) -> None:
    """Write ``queries.jsonl`` with one line per sample.

    Args:
        folder: folder of the results.
        samples: N samples.
        rows: rows of the evaluator with ``ious`` (N,).
    """
    with replacing(folder / NAME) as part, part.open("w") as file:
        for i, sample in enumerate(samples):
            line = {
                "key": sample.query.key,
                "expression": sample.query.expression,
                "kind": sample.kind,
                "image_id": sample.image_id,
                "box": sample.box.tolist(),
                # Not rounded, since rounding could cross a threshold.
                "ious": {row["method"]: float(row["ious"][i]) for row in rows},
            }
            file.write(json.dumps(line) + "\n")


class Queries:
    """Content of a ``queries.jsonl``.

    Args:
        path: path of the file.
        content: expected content hash.

    Raises:
        VGGymError: the file is missing or damaged, or belongs to other results.
    """

    def __init__(self, path: Path, content: str):
        if not path.is_file():
            raise VGGymError(f"{path} is missing, which is needed to pair methods: {_again(path)}")
        try:
            lines = [json.loads(text) for _, text in text_lines(read_text(path))]
            self.kinds = [str(line["kind"]) for line in lines]
            """Kind of each expression."""
            self.images = [str(line["image_id"]) for line in lines]
            """Image id of each expression."""
            self._ious = [{str(k): float(v) for k, v in line["ious"].items()} for line in lines]
            actual = ContentHash()
            for line in lines:
                actual.add(line["key"], line["expression"], line["box"])
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise VGGymError(f"{path} is damaged ({type(error).__name__}: {error}): {_again(path)}") from None
        if str(actual) != content:
            raise VGGymError(f"{path} does not belong to the results beside it: {_again(path)}")
        self.path = path

    def ious(self, method: str) -> np.ndarray:
        """Return the IoUs (N,) of a method.

        Raises:
            VGGymError: an IoU is missing or impossible.
        """
        ious = np.array([line.get(method, np.nan) for line in self._ious])
        if not ((ious >= 0) & (ious <= 1 + 1e-6)).all():
            raise VGGymError(f"{self.path} lacks IoUs of {method}, or has impossible ones: {_again(self.path)}")
        return ious


def _again(path: Path) -> str:
    return f"run the evaluation into {path.parent} again; its predictions are reused"
