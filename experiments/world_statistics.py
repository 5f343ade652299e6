"""Statistics of a world beside those of RefCOCOg-umd val, which the built-in scenes follow.

python experiments/world_statistics.py [--dataset refscenes] [--split test] [--samples 2000] [--json out.json]

Areas are those of the targets' boxes as fractions of the picture. Relations and superlatives are those that
``vg_gym.language`` finds in the words. The figures of RefCOCOg are from its 4,896 expressions of val.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym.baselines.priors import best_constant_box
from vg_gym.cli.figures import write_figures
from vg_gym.language.parsing import parse
from vg_gym.registry import open_dataset
from vg_gym.types import Sample

REFCOCOG = {
    "area .05": 0.053, "area .25": 0.081, "area .5": 0.142, "area .75": 0.261, "area .95": 0.560,
    "constant box": 0.209, "words mean": 8.5, "words .05": 3.0, "words .5": 8.0, "words .95": 16.0,
    "different words": 2889.0, "relations": 0.107, "superlatives": 0.082,
}  # fmt: skip
"""Statistic -> its value on RefCOCOg-umd val; the last two as this file measures them."""
RANGES = {
    **{name: (0.75 * value, 1.25 * value) for name, value in REFCOCOG.items() if name.startswith("area")},
    "constant box": (0.15, 0.25), "words mean": (7.0, 10.0), "words .95": (14.0, 18.0),
    "different words": (300.0, np.inf), "relations": (0.10, 0.35), "superlatives": (0.10, 0.35),
}  # fmt: skip
"""Statistic -> the range in which that of the built-in scenes must lie, for 2,000 samples."""
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def statistics(samples: Iterable[Sample]) -> dict[str, float]:
    """Return the statistics of samples with one target each, by the names of :data:`REFCOCOG`."""
    rows = list(samples)
    boxes = np.stack([box_ops.normalize(row.box, row.query.image.size) for row in rows]).astype(np.float32)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    words = [re.findall("[a-z0-9'-]+", row.query.expression.lower()) for row in rows]
    counts = [len(line) for line in words]
    parsed = [parse(row.query.expression) for row in rows]
    return {
        **{f"area {_short(q)}": float(np.quantile(areas, q)) for q in QUANTILES},
        "constant box": float(box_ops.iou(best_constant_box(boxes), boxes).mean()),
        "words mean": float(np.mean(counts)),
        **{f"words {_short(q)}": float(np.quantile(counts, q)) for q in (0.05, 0.5, 0.95)},
        "different words": float(len({word for line in words for word in line})),
        "relations": float(np.mean([p.relation is not None for p in parsed])),
        "superlatives": float(np.mean([bool(p.superlatives) for p in parsed])),
    }


def _short(quantile: float) -> str:
    return f"{quantile:g}".lstrip("0")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="refscenes")
    parser.add_argument("--split", default="test")
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    dataset = open_dataset(options.dataset, options.split)
    measured = statistics(dataset[: options.samples])
    print(f"{'':18}{'RefCOCOg-umd val':>18}{options.dataset:>14}  range")
    for name, value in measured.items():
        low, high = RANGES.get(name, (-np.inf, np.inf))
        note = "" if name not in RANGES else f"{low:.3g} to {high:.3g}" + ("" if low <= value <= high else "  OUTSIDE")
        print(f"{name:18}{REFCOCOG[name]:18.3f}{value:14.3f}  {note}")
    if options.json:
        write_figures(options.json, measured)


if __name__ == "__main__":
    main()
