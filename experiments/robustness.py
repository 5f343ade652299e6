"""Losses of methods under other phrasings, changed pictures, bad initial boxes and changed scenes.

python experiments/robustness.py --methods agent:refshapes,ssd-clip,mdetr --json out.json ssd-clip.parse=true

Each perturbation of :mod:`vg_gym.data.perturbations` is one pass over the samples. The difference of Acc@0.5 to the
unperturbed samples is paired, with its 95 % interval over images, and counts the samples that the perturbation
changes. Initial boxes are given to methods that refine boxes. Where the expression means nothing any more (target
erased, words of another scene, nonsense), the table shows how often the score of the answer falls: 0.5 is chance, 1 is
right. Predictions are saved in ``--out`` batch by batch, so the same command resumes.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym import registry
from vg_gym.cli.figures import write_figures
from vg_gym.cli.run import run
from vg_gym.config import read_pairs
from vg_gym.data.perturbations import INITIAL_BOXES, MEANINGLESS, NAMES, initial_box, perturbed
from vg_gym.evaluation import metrics
from vg_gym.evaluation.columns import Answers
from vg_gym.evaluation.evaluator import Evaluator
from vg_gym.evaluation.intervals import SIGNED, difference_interval, interval_text
from vg_gym.evaluation.methods import GrounderFactory, default_clip, options_of
from vg_gym.storage.lazy_sequence import LazySequence
from vg_gym.types import GroundingDataset, Sample

RECENT_SAMPLES = 256
"""Number of perturbed samples that stay in memory."""


@dataclass
class Passed:
    """Answers of a method to all samples after one perturbation."""

    hits: np.ndarray
    """Whether the IoU with the target is at least 0.5, float64 (N,)."""
    scores: np.ndarray
    """Scores of the answers (N,); NaN where the method has none."""


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--methods", default="agent:refshapes,ssd-clip,mdetr", help="grounders, with commas between them")
    p.add_argument("--dataset", default="refshapes")
    p.add_argument("--split", default="test")
    p.add_argument("--limit", type=int, default=200, help="number of samples, from the first on")
    p.add_argument("--seed", type=int, default=0, help="seed of noise, typing errors and choices")
    p.add_argument("--changes", default=",".join((*NAMES, *INITIAL_BOXES)), help="perturbations, with commas")
    p.add_argument("--out", type=Path, default=Path("results/robustness"), help="folder of the saved predictions")
    p.add_argument("--json", type=Path, help="also write the figures there")
    p.add_argument("options", nargs="*", metavar="METHOD.KEY=VALUE", help="options of methods")
    o = p.parse_args()
    options = read_pairs(o.options)
    figures: dict[str, float | str] = {}
    for method in o.methods.split(","):
        rows = list(rows_of(method, options, o))
        print(f"\n{method}\n\n{markdown(rows)}")
        for row in rows:
            figures |= {f"{method} {row['change']} {key}": value for key, value in row.items() if key != "change"}
    if o.json:
        write_figures(o.json, figures)


def rows_of(method: str, options: dict[str, dict[str, Any]], o: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield the row of the unperturbed samples, then one for each perturbation of a method."""
    data = registry.open_dataset(o.dataset, o.split)
    settings = {"dataset": o.dataset, "split": o.split, "limit": o.limit, "seed": o.seed}
    evaluator = Evaluator(data, o.out, settings, o.limit)
    clip = default_clip([method], o.dataset)
    factory = GrounderFactory(method, options_of(method, options), clip, o.dataset, "train", None, o.split)
    inputs, samples = factory.description.inputs, evaluator.samples
    name = method + "".join(f" {key}={value}" for key, value in options_of(method, options).items())

    def passed(change: str, changed: Sequence[Sample], boxes: np.ndarray | None = None) -> Passed:
        queries = LazySequence(len(changed), lambda i: changed[i].query, RECENT_SAMPLES)
        lines = evaluator.predict(f"{name}?{change}", factory, boxes, queries, inputs)
        return scored(Answers.of(lines), changed)

    plain = passed("unperturbed", samples)
    yield {"change": "unperturbed", "acc@0.5": float(plain.hits.mean()), "n": len(samples)}
    for change in o.changes.split(","):
        if change in INITIAL_BOXES:
            if not registry.grounder_spec(method).refines:
                continue
            changed, where = samples, np.ones(len(samples), dtype=bool)
            boxes = np.stack([initial_box(sample, change, data) for sample in samples])
        else:
            changed = changed_samples(samples, change, data, o.seed)
            where, boxes = np.array([is_changed(*pair) for pair in zip(samples, changed, strict=True)]), None
        if where.any():
            yield row_of(change, passed(change, changed, boxes), plain, where, evaluator.columns.groups)


def changed_samples(samples: Sequence[Sample], change: str, data: GroundingDataset, seed: int) -> Sequence[Sample]:
    """Return samples after a perturbation; each is made on access."""
    return LazySequence(len(samples), lambda i: perturbed(samples[i], change, data, seed), RECENT_SAMPLES)


def is_changed(before: Sample, after: Sample) -> bool:
    """Return whether a perturbation changed the words or the picture of a sample."""
    a, b = before.query, after.query
    return a.expression != b.expression or a.image.key != b.image.key


def scored(answers: Answers, samples: Sequence[Sample]) -> Passed:
    """Return hits and scores of answers to samples that mean one thing."""
    truth = np.stack([sample.box for sample in samples])
    ious = np.where(answers.has_box, box_ops.pixel_iou(np.nan_to_num(answers.boxes), truth), 0.0)
    return Passed(metrics.hits(ious).astype(np.float64), answers.scores)


def row_of(change: str, after: Passed, before: Passed, where: np.ndarray, groups: np.ndarray) -> dict[str, Any]:
    """Return the row of a perturbation, over the samples that it changes.

    Args:
        change: name of the perturbation.
        after: answers after it.
        before: answers without it.
        where: samples that it changes, bool (N,).
        groups: N image ids.
    """
    difference = after.hits[where] - before.hits[where]
    row: dict[str, Any] = {"change": change, "acc@0.5": float(after.hits[where].mean()), "n": int(where.sum())}
    row |= {"difference": float(difference.mean())}
    if (interval := difference_interval(difference, groups[where])) is not None:
        row |= dict(zip(("low", "high"), interval, strict=True))
    if change in MEANINGLESS and not np.isnan(before.scores).all():
        row["score falls"] = float(falls(before.scores[where], after.scores[where]).mean())
    return row


def falls(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return 1 where a score falls, 0.5 where it stays, 0 where it rises; no score is the lowest."""
    before, after = np.nan_to_num(before, nan=-np.inf), np.nan_to_num(after, nan=-np.inf)
    return (after < before) + 0.5 * (after == before)


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Return rows as a Markdown table."""
    lines = ["| perturbation | n | Acc@0.5 | difference | score falls |", "|---|---|---|---|---|"]
    for row in rows:
        interval = interval_text((row["low"], row["high"]) if "low" in row else None, SIGNED)
        difference = f"{row['difference']:+.3f} ({interval})" if "difference" in row else ""
        score = f"{row['score falls']:.3f}" if "score falls" in row else ""
        lines.append(f"| {row['change']} | {row['n']} | {row['acc@0.5']:.3f} | {difference} | {score} |")
    return "\n".join(lines)


if __name__ == "__main__":
    run(main)
