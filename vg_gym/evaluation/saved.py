"""Results that were written earlier, maybe by somebody else: read, checked, and held against each other."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vg_gym.errors import VGGymError
from vg_gym.evaluation.queries import NAME, Queries
from vg_gym.storage.outputs import holds, refuse_foreign_in
from vg_gym.storage.texts import read_text

FILE = "results.json"
"""What an evaluation writes into its folder."""
WRITTEN = (
    FILE, NAME, "predictions.jsonl", "settings.json", "inputs.json", "report.html", "refined.png",
)  # fmt: skip
"""What an evaluation may write into its folder."""
SETUP = ("dataset", "split", "limit", "content hash")
"""What results agree in that may stand beside each other."""
FIGURES = ("mean_iou", "acc@0.5", "acc@0.75")
"""Columns that every row has, from 0 to 1."""
INTERVALS = ("mean_iou_ci", "acc@0.5_ci")
"""Columns of pairs of figures; None with too few images."""


@dataclass(frozen=True)
class Results:
    """A ``results.json`` that was read: see :func:`read_results`."""

    path: Path
    """Of the file."""
    meta: dict[str, Any]
    """How the results came about."""
    rows: list[dict[str, Any]]
    """One a method."""

    @property
    def setup(self) -> tuple[Any, ...]:
        """The values of :data:`SETUP`."""
        first = self.rows[0]
        return first["dataset"], first["split"], self.meta.get("limit"), self.meta["content"]

    @property
    def title(self) -> str:
        """The data set, its split and how much of it."""
        return f"{self.setup[0]}/{self.setup[1]}, {self.rows[0]['n']:,} expressions"

    @property
    def name(self) -> str:
        """Of the run: its folder's."""
        return printable(self.path.resolve().parent.name)

    def row(self, method: str) -> dict[str, Any]:
        """The row of a method.

        Raises:
            VGGymError: there is none.
        """
        for row in self.rows:
            if row["method"] == method:
                return row
        raise VGGymError(f"{self.path} has no method {method!r}, but {', '.join(self.methods(floors=True))}")

    def methods(self, floors: bool = False) -> list[str]:
        """Names of its methods; floors and ceilings only where asked for."""
        return [row["method"] for row in self.rows if floors or is_ranked(row)]

    def queries(self) -> Queries:
        """The queries beside it.

        Raises:
            VGGymError: they are missing, damaged, or of other results.
        """
        return Queries(self.path.parent / NAME, self.meta["content"])


def refuse_other_folders(out: Path) -> None:
    """Refuse a folder that has files of the names of an evaluation's, and is not an evaluation's.

    Raises:
        CannotWrite: it is such a folder.
    """
    is_own = holds(out / "settings.json", "content") or holds(out / FILE, "meta", "rows")
    refuse_foreign_in(out, WRITTEN, is_own)


def is_ranked(row: dict[str, Any]) -> bool:
    """Whether a row is of a method, and no floor or ceiling."""
    return not row["role"].startswith(("floor", "ceiling"))


def read_results(path: Path) -> Results:
    """Read ``results.json``, or that in a folder.

    Raises:
        VGGymError: there is none, or it is not what an evaluation writes.
    """
    if path.is_dir():
        path = path / FILE
    if not path.is_file():
        raise VGGymError(f"{path} is not there: name a results.json, or a folder that has one")
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
    """A row whose names are printable and whose figures are figures."""
    names = {name: printable(str(row[name])) for name in ("method", "role", "dataset", "split")}
    if not names["role"].strip():
        raise ValueError(f"{names['method']} has no role")
    figures = {name: _share(row[name]) for name in FIGURES}
    intervals = {name: _interval(row[name]) for name in INTERVALS}
    ms = None if row.get("ms_per_query") is None else float(row["ms_per_query"])
    counts = {"n": int(row["n"]), "failures": int(row.get("failures", 0)), "ms_per_query": ms}
    tightness = {"tightness": None if row.get("tightness") is None else _share(row["tightness"])}
    seen = {printable(str(part)): printable(str(what)) for part, what in dict(row.get("seen") or {}).items()}
    by_kind = {
        printable(kind): {name: _share(part[name]) for name in ("mean_iou", "acc@0.5")}
        for kind, part in row.get("by_kind", {}).items()
    }
    return {**row, **names, **figures, **intervals, **counts, **tightness, "seen": seen, "by_kind": by_kind}


def _interval(ends: Any) -> list[float] | None:
    return None if ends is None else [_share(ends[0]), _share(ends[1])]


def _share(value: Any) -> float:
    if not 0 <= float(value) <= 1 + 1e-6:
        raise ValueError(f"{value} is not between 0 and 1")
    return float(value)


def printable(text: str) -> str:
    r"""Text without what moves a terminal's cursor or breaks a line.

    >>> printable("a\x1b[2Jb")
    'a?[2Jb'
    """
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def check_one_setup(results: Sequence[Results]) -> None:
    """Refuse to hold results against each other that are not of the same queries.

    Raises:
        VGGymError: data set, split, limit or content hash of some differ from those of most; it names them.
    """
    common, count = Counter(r.setup for r in results).most_common(1)[0]
    wrong = [r for r in results if r.setup != common]
    if not wrong:
        return
    usual = next(r.path for r in results if r.setup == common)
    others = f"{usual} has" if count == 1 or len(results) == 2 else f"{count} others have"
    said = "; ".join(f"{r.path} has {_differences(r.setup, common, others)}" for r in wrong)
    raise VGGymError(f"not the same queries, so not comparable: {said}")


def _differences(mine: tuple[Any, ...], common: tuple[Any, ...], others: str) -> str:
    return ", ".join(
        f"{name} {_said(a)} where {others} {_said(b)}" for name, a, b in zip(SETUP, mine, common, strict=True) if a != b
    )


def _said(value: Any) -> str:
    return "none" if value is None else printable(str(value))
