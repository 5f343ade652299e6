"""Order of the methods on a built-in world against their published order on RefCOCOg: Spearman's rho, Kendall's tau.

python experiments/published_order.py                      # RefShapes, from docs/results/data
python experiments/published_order.py results/refscenes/results.json    # any run of evaluate.py
python experiments/published_order.py reclip=results/reclip/results.json ...    # its only method, under another name

Two published lists are compared, each in its own metric. ``accuracy`` is Acc@0.5 on RefCOCOg's val-u split; a method
whose authors state its place, but whose figure could not be read in a source, has a rank and no figure. ``iou`` is the
mean IoU of pipelines of student projects on RefCOCOg test. With so few methods only the order counts: the p-value is
exact, over all orders.
"""

import argparse
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import kendalltau

from vg_gym.cli.figures import write_figures
from vg_gym.cli.run import run
from vg_gym.errors import VGGymError

DATA = Path(__file__).resolve().parents[1] / "docs/results/data"
TABLES = ("learned", "pipelines")
"""Tables of RefShapes with all methods of the lists."""
FEWEST = 3
"""Fewest methods whose order is compared."""


@dataclass(frozen=True)
class Published:
    """Place of a method in a published list."""

    method: str
    """Name of the method in this project."""
    place: float
    """Place in the list, from 1; methods whose order is not known share the mean of their places."""
    figure: str
    """The published figure; empty if none was read in a source."""
    source: str
    """Where the figure or the place is stated."""


LISTS: dict[str, tuple[str, tuple[Published, ...]]] = {
    "accuracy": (
        "acc@0.5",
        (
            Published("mdetr", 1, "81.64", "README of github.com/ashkamath/mdetr, ResNet-101"),
            Published("dynamic-mdetr", 2.5, "", "abstract of arXiv 2209.13959: above TransVG"),
            Published("red", 2.5, "", "abstract of arXiv 2112.15324: improves the methods that it is added to"),
            Published("transvg", 4, "68.7", "README of github.com/djiajunustc/TransVG, ResNet-101"),
            Published("reclip", 5, "59.3", "arXiv 2204.05991, docs/results/pipelines.md"),
            Published("adapting-clip", 6, "", "wizwand.com: 16.7 on RefCOCO val, where ReCLIP has 54.04"),
        ),
    ),
    "iou": (
        "mean_iou",
        (
            Published("mdetr", 1, ".617", "docs/results/pipelines.md"),
            Published("detr-clip", 2, ".560", "docs/results/pipelines.md"),
            Published("yolo-clip", 3, ".554", "docs/results/pipelines.md"),
            Published("seg-clip", 4, ".219", "docs/results/pipelines.md, watershed"),
            Published("ssd-clip", 5, ".172", "docs/results/pipelines.md"),
        ),
    ),
}
"""Name of a list -> the column of our results that is compared, and the methods from the best to the worst."""


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument(
        "results", nargs="*", metavar="[NAME=]FILE",
        help="results.json of a run; with NAME, its only method stands for that one (default: RefShapes' tables)",
    )  # fmt: skip
    p.add_argument("--json", type=Path, help="also write the figures there")
    o = p.parse_args()
    rows = {row["method"]: row for results in o.results or tables() for row in read(results) if "method" in row}
    figures: dict[str, float | str] = {}
    for name, (column, published) in LISTS.items():
        found = [entry for entry in published if column in rows.get(entry.method, {})]
        print(f"\n{name}, {column}\n\n| method | published | place | here | place here |\n|---|---|---|---|---|")
        values = [float(rows[entry.method][column]) for entry in found]
        for entry, value, place in zip(found, values, places(values), strict=True):
            print(f"| {entry.method} | {entry.figure or 'place only'} | {entry.place:g} | {value:.3f} | {place:g} |")
        if missing := [entry.method for entry in published if entry not in found]:
            print(f"\nnot in these results: {', '.join(missing)}")
        if len(found) < FEWEST:
            print(f"{len(found)} methods have no order that could agree; {FEWEST} are needed")
            continue
        for key, value in coefficients([entry.place for entry in found], values).items():
            print(f"{key}: {value:.3f}")
            figures[f"{name} {key}"] = value
    if o.json:
        write_figures(o.json, figures)


def tables() -> Iterator[str]:
    """Yield the files of RefShapes' tables."""
    return (str(DATA / f"{name}.json") for name in TABLES)


def read(results: str) -> list[dict]:
    """Return the rows of a table or of a run, ``FILE``; of ``NAME=FILE``, its only method under that name.

    Raises:
        VGGymError: ``NAME=FILE`` has several methods, or none.
    """
    name, _, path = results.rpartition("=")
    rows = json.loads(Path(path).read_text())["rows"]
    if not name:
        return rows
    methods = [row for row in rows if row.get("role") == "method"]
    if len(methods) != 1:
        raise VGGymError(f"{path} has {len(methods)} methods; {results!r} renames the only one")
    return [{**methods[0], "method": name}]


def places(values: Sequence[float]) -> list[float]:
    """Return the places of values from the largest, 1 for the best; equal values share the mean of their places."""
    return [
        sum(other > value for other in values) + (1 + sum(other == value for other in values)) / 2 for value in values
    ]


def coefficients(published: Sequence[float], values: Sequence[float]) -> Mapping[str, float]:
    """Return Spearman's rho and Kendall's tau-b of published places and values, and the exact p-value of rho.

    The p-value is the share of all orders of the values whose rho is at least as large.
    """
    here = places(values)
    orders = np.array(list(itertools.permutations(here)))
    rhos = np.corrcoef(np.asarray(published), orders)[0, 1:]
    rho = float(rhos[0])  # the first permutation is the order itself
    return {
        "n": float(len(here)),
        "Spearman": rho,
        "Kendall": float(kendalltau(published, here).statistic),
        "p": float((rhos >= rho - 1e-9).mean()),
    }


if __name__ == "__main__":
    run(main)
