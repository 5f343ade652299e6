"""``results.json`` and ``queries.jsonl``: writing them, and reading those of other people, with all values checked.

``queries.jsonl`` has expression, true box and IoUs of all methods for each query. It serves to pair results.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vg_gym.errors import VGGymError
from vg_gym.storage.files import replacing, write_json
from vg_gym.storage.outputs import holds, refuse_foreign_in
from vg_gym.storage.texts import lines as text_lines
from vg_gym.storage.texts import read_text
from vg_gym.types import Sample

FILE = "results.json"
"""Name of the file with the results of an evaluation."""
QUERIES_FILE = "queries.jsonl"
"""Name of the file with the queries, in the folder of ``results.json``."""
WRITTEN = (
    FILE, QUERIES_FILE, "predictions.jsonl", "settings.json", "inputs.json", "report.html", "refined.png",
)  # fmt: skip
"""Names of all files that an evaluation may write into its folder."""
SETUP = ("dataset", "split", "limit", "content hash")
"""Properties that are equal in comparable results."""
FIGURES = ("mean_iou", "acc@0.5", "acc@0.75")
"""Columns of every row with values from 0 to 1; None if no expression has exactly one true box."""
INTERVALS = ("mean_iou_ci", "acc@0.5_ci")
"""Columns of intervals; None with too few images."""
SET_FIGURES = ("n_acc", "t_acc", "pr@f1", "pr@f1_many", "set_f1", "auroc")
"""Columns with values from 0 to 1 of rows for data with empty or multiple targets; None where they are undefined."""
POINTS = "points"
"""Value of ``answers`` in the row of a method that answers with points, and so without IoUs; other rows lack it."""
SET_INTERVALS = ("n_acc_ci", "t_acc_ci", "pr@f1_ci", "pr@f1_many_ci", "set_f1_ci")
"""Columns of intervals of such rows."""


def write_results(out: Path, meta: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """Write ``results.json`` into a folder as strict JSON, atomically."""
    write_json(out / FILE, {"meta": meta, "rows": rows})


class ContentHash:
    """Hash of keys, expressions and true boxes in their order."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def add(self, key: str, expression: str, boxes: list[list[float]]) -> None:
        """Add a query to the hash."""
        self._digest.update(f"{key} {expression} {boxes[0] if len(boxes) == 1 else boxes}".encode())

    def __str__(self) -> str:
        return self._digest.hexdigest()[:16]


def hash_of_samples(samples: Iterable[Sample]) -> str:
    """Return the :class:`ContentHash` of samples."""
    content = ContentHash()
    for sample in samples:
        content.add(sample.query.key, sample.query.expression, sample.boxes.tolist())
    return str(content)


def write_queries(folder: Path, samples: Sequence[Sample], rows: Sequence[dict[str, Any]]) -> None:
    """Write ``queries.jsonl`` with one line per sample.

    A sample with one true box has ``box``, others have ``boxes``, and no IoUs. Answers with points have none either.

    Args:
        folder: folder of the results.
        samples: N samples.
        rows: rows of the evaluator with ``ious`` (N,), and with ``f1`` (N,) for data with empty or multiple targets.
    """
    boxed = [row for row in rows if "answers" not in row]
    with replacing(folder / QUERIES_FILE) as part, part.open("w") as file:
        for i, sample in enumerate(samples):
            line = {
                "key": sample.query.key,
                "expression": sample.query.expression,
                "kind": sample.kind,
                "image_id": sample.image_id,
                **boxes_by_name(sample.boxes.tolist()),
                # Not rounded, since rounding could cross a threshold.
                "ious": {row["method"]: float(row["ious"][i]) for row in boxed} if len(sample.boxes) == 1 else {},
            }
            if f1 := {row["method"]: float(row["f1"][i]) for row in rows if "f1" in row}:
                line["f1"] = f1
            file.write(json.dumps(line) + "\n")


def boxes_by_name(boxes: list[list[float]]) -> dict[str, Any]:
    """Return ``box`` for one true box, and ``boxes`` for none or several."""
    return {"box": boxes[0]} if len(boxes) == 1 else {"boxes": boxes}


@dataclass(frozen=True)
class Results:
    """Content of a ``results.json``; see :func:`read_results`."""

    path: Path
    """Path of the file."""
    meta: dict[str, Any]
    """Command, settings, date and versions."""
    rows: list[dict[str, Any]]
    """One row per method."""

    @property
    def setup(self) -> tuple[Any, ...]:
        """Values of :data:`SETUP`."""
        first = self.rows[0]
        return first["dataset"], first["split"], self.meta.get("limit"), self.meta["content"]

    @property
    def title(self) -> str:
        """Data set, split and number of expressions."""
        return f"{self.setup[0]}/{self.setup[1]}, {self.rows[0]['n']:,} expressions"

    @property
    def name(self) -> str:
        """Name of the run: the name of its folder."""
        return printable(self.path.resolve().parent.name)

    def row(self, method: str) -> dict[str, Any]:
        """Return the row of a method.

        Raises:
            VGGymError: the method is not in the results.
        """
        for row in self.rows:
            if row["method"] == method:
                return row
        raise VGGymError(f"{self.path} has no method {method!r}, but {', '.join(self.methods(floors=True))}")

    def methods(self, floors: bool = False) -> list[str]:
        """Return the names of the methods; ``floors`` adds those of floors and ceilings."""
        return [row["method"] for row in self.rows if floors or is_ranked(row)]

    def queries(self) -> Queries:
        """Read ``queries.jsonl`` in the same folder.

        Raises:
            VGGymError: the file is missing or damaged, or belongs to other results.
        """
        return Queries(self.path.parent / QUERIES_FILE, self.meta["content"])


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
            boxes = [line["boxes"] if "boxes" in line else [line["box"]] for line in lines]
            self.one = np.array([len(targets) == 1 for targets in boxes])
            """Mask of the expressions with exactly one true box, bool (N,)."""
            name = "ious" if self.one.all() else "f1"
            self._values = [{str(k): float(v) for k, v in line[name].items()} for line in lines]
            actual = ContentHash()
            for line, targets in zip(lines, boxes, strict=True):
                actual.add(line["key"], line["expression"], targets)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise VGGymError(f"{path} is damaged ({type(error).__name__}: {error}): {_again(path)}") from None
        if str(actual) != content:
            raise VGGymError(f"{path} does not belong to the results beside it: {_again(path)}")
        self.path = path

    def values(self, method: str) -> np.ndarray:
        """Return the IoUs (N,) of a method; for data with empty or multiple targets, the F1 of its sets of boxes.

        Raises:
            VGGymError: a value is missing or impossible.
        """
        values = np.array([line.get(method, np.nan) for line in self._values])
        if not ((values >= 0) & (values <= 1 + 1e-6)).all():
            name = "IoUs" if self.one.all() else "F1"
            raise VGGymError(f"{self.path} lacks {name} of {method}, or has impossible ones: {_again(self.path)}")
        return values


def _again(path: Path) -> str:
    return f"run the evaluation into {path.parent} again; its predictions are reused"


def refuse_other_folders(out: Path) -> None:
    """Raise an error if a folder has files with the names of an evaluation's files that no evaluation wrote.

    Raises:
        CannotWrite: the folder has such files.
    """
    is_own = holds(out / "settings.json", "content") or holds(out / FILE, "meta", "rows")
    refuse_foreign_in(out, WRITTEN, is_own)


def is_ranked(row: dict[str, Any]) -> bool:
    """Return whether a row is neither a floor nor a ceiling."""
    return not row["role"].startswith(("floor", "ceiling"))


def read_results(path: Path) -> Results:
    """Read ``results.json``; ``path`` is the file or its folder.

    Raises:
        VGGymError: the file is missing, or an evaluation did not write it.
    """
    inside = sorted(path.glob(f"*/{FILE}"))
    if path.is_dir():
        path = path / FILE
    if not path.is_file():
        hint = f"did you mean {inside[0].parent}? " if inside else ""
        raise VGGymError(f"{path} does not exist: {hint}name a results.json, or a folder that contains one")
    try:
        content = json.loads(read_text(path))
        meta = {**content["meta"], "content": str(content["meta"]["content"])}
        of_recorded = {"dataset": meta.get("recorded"), "split": "recorded"}
        results = Results(path, meta, [_checked({**of_recorded, **row}) for row in content["rows"]])
        if not results.rows or len({row["method"] for row in results.rows}) < len(results.rows):
            raise ValueError("no rows, or two of one method")
        if not isinstance(meta.get("limit"), int | None):
            raise ValueError(f"limit is {meta['limit']!r:.40}")
        return results
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        reason = f"{type(error).__name__}: {error}".rstrip(": ")
        raise VGGymError(f"{path} is not results of this evaluator ({reason})") from None


def _checked(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row with printable names and valid numbers.

    Raises:
        ValueError: a number is impossible, or the role is missing.
    """
    names = {name: printable(str(row[name])) for name in ("method", "role", "dataset", "split")}
    if not names["role"].strip():
        raise ValueError(f"{names['method']} has no role")
    figures = {name: _share(row[name]) for name in FIGURES}
    figures |= {name: _share(row[name]) for name in SET_FIGURES if name in row}
    intervals = {name: _interval(row[name]) for name in (*INTERVALS, *SET_INTERVALS) if name in (*INTERVALS, *row)}
    ms = None if row.get("ms_per_query") is None else float(row["ms_per_query"])
    counts = {"n": int(row["n"]), "failures": int(row.get("failures", 0)), "ms_per_query": ms}
    tightness = {"tightness": _share(row.get("tightness"))}
    seen_by_part = {printable(str(part)): printable(str(what)) for part, what in dict(row.get("seen") or {}).items()}
    by_kind = {
        printable(kind): {
            **{name: _share(part[name]) for name in ("mean_iou", "acc@0.5")},
            **{name: _share(part[name]) for name in ("set_f1", "pr@f1") if name in part},
        }
        for kind, part in row.get("by_kind", {}).items()
    }
    return {**row, **names, **figures, **intervals, **counts, **tightness, "seen": seen_by_part, "by_kind": by_kind}


def _interval(ends: Any) -> list[float | None] | None:
    return None if ends is None else [_share(ends[0]), _share(ends[1])]


def _share(value: Any) -> float | None:
    if value is None:
        return None
    if not 0 <= float(value) <= 1 + 1e-6:
        raise ValueError(f"{value} is not between 0 and 1")
    return float(value)


def printable(text: str) -> str:
    r"""Replace characters that would move the cursor of a terminal or break a line.

    >>> printable("a\x1b[2Jb")
    'a?[2Jb'
    """
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def check_one_setup(results: Sequence[Results]) -> None:
    """Raise an error if results are not of the same queries.

    Raises:
        VGGymError: data set, split, limit or content hash of some results differ from those of most. The message names
            them.
    """
    common, count = Counter(r.setup for r in results).most_common(1)[0]
    wrong = [r for r in results if r.setup != common]
    if not wrong:
        return
    usual = next(r.path for r in results if r.setup == common)
    others = f"{usual} has" if count == 1 or len(results) == 2 else f"{count} others have"
    setups = "; ".join(f"{r.path} has {_differences(r.setup, common, others)}" for r in wrong)
    raise VGGymError(
        f"not the same queries, so not comparable: {setups}. Name results of one data set, split and limit"
    )


def _differences(mine: tuple[Any, ...], common: tuple[Any, ...], others: str) -> str:
    return ", ".join(
        f"{name} {_printed(a)} where {others} {_printed(b)}"
        for name, a, b in zip(SETUP, mine, common, strict=True)
        if a != b
    )


def _printed(value: Any) -> str:
    return "none" if value is None else printable(str(value))
