"""Scores as answers to "is anything meant?": AUROC of every grounder by kind of emptiness, and its answers of several.

python experiments/existence_scores.py [GROUNDER ...] [--split val --scenes 100 --json out.json]

Half of the expressions of refshapes-any mean one object, a quarter several and a quarter nothing: their object was
erased from the picture, or one attribute was changed, or they belong to another picture. The AUROC compares the scores
of all expressions that mean something with those of each kind; ``same words`` compares the erased ones with the same
words on the picture with the object. "N-acc" is the share of empty expressions refused at a threshold below which 2 %
of the others lie (T-acc .98), fitted on val. "own" are the same shares of a grounder that says "nothing" by
itself. Shares of right answers follow: one box with an IoU of .5 for single objects, without and with the threshold,
and exactly the right boxes for several (Pr@(F1=1)) without it.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym import registry
from vg_gym.cli.figures import write_figures
from vg_gym.data.worlds.refshapes.dataset import RefShapes
from vg_gym.data.worlds.refshapes.expressions import Expression
from vg_gym.data.worlds.refshapes.scenes import COLORS, FILLS, SHAPES
from vg_gym.data.worlds.refshapes.sets import meant
from vg_gym.evaluation.set_metrics import auroc, fit_threshold, set_f1
from vg_gym.language.number import number
from vg_gym.types import Prediction, Sample, best_boxes

GROUNDERS = (
    "yolo-clip", "ssd-clip", "detr-clip", "reclip", "contours-clip", "clip-window", "seg-clip", "adapting-clip",
    "mdetr", "transvg", "dynamic-mdetr", "red", "diffusion", "agent:refshapes", "agent:refshapes-any",
)  # fmt: skip
FITTED_ON_SCENES = 250
"""Pictures of val on which thresholds are fitted."""
COLUMNS = (
    "all", "erased", "same words", "changed", "other", "one thing", "plural", "threshold", "N-acc", "T-acc",
    "own N-acc", "own T-acc", "Acc@0.5", "rejecting", "Pr@(F1=1) many",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("grounders", nargs="*", default=GROUNDERS)
    parser.add_argument("--split", default="val", choices=("train", "val", "test"))
    parser.add_argument("--scenes", type=int, default=100, help="pictures, each with four expressions")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    data = registry.open_dataset("refshapes-any", options.split, scenes=options.scenes)
    samples, fitted_on = list(data), list(registry.open_dataset("refshapes-any", "val", scenes=FITTED_ON_SCENES))
    kinds = np.array([kind_of(data, sample) for sample in samples])
    print(f"{len(samples)} expressions of refshapes-any {options.split}; thresholds from {len(fitted_on)} of val")
    print(f"{'grounder':16}" + "".join(f"{column:>15}" for column in COLUMNS))
    figures = {}
    for name in options.grounders:
        start, grounder = time.perf_counter(), registry.grounder(name)
        predictions = grounder.ground([s.query for s in samples])
        validation = predictions[: len(fitted_on)] if options.split == "val" else None
        if options.split != "val" or len(samples) < len(fitted_on):
            validation = grounder.ground([s.query for s in fitted_on])
        threshold = fit_threshold(scores_of(validation), np.array([len(s.boxes) > 0 for s in fitted_on]))
        row = measures(samples, kinds, predictions, threshold)
        print(f"{name:16}" + "".join(f"{row[c]:15.3f}" for c in COLUMNS) + f"  {time.perf_counter() - start:.0f} s")
        figures |= {f"{name}: {column}": row[column] for column in COLUMNS}
    if options.json:
        write_figures(options.json, figures)


def kind_of(data: RefShapes, sample: Sample) -> str:
    """Return ``one`` or ``many``, or the kind of emptiness: ``erased``, ``changed`` or ``other``."""
    if len(sample.boxes):
        return "one" if len(sample.boxes) == 1 else "many"
    if sample.image_id % 2:  # the second of two pictures lacks an object, and its empty expression meant that object
        return "erased"
    record = data.record(sample.image_id - data[0].image_id)
    (expression,) = (r.expression for r in record.references() if r.text == sample.query.expression and not r.targets)
    return "changed" if any(meant(e, record.scene()) for e in changed_phrases(expression)) else "other"


def changed_phrases(expression: Expression) -> Iterator[Expression]:
    """Yield the expressions whose head has another shape, colour or fill."""
    for name, values in {"shape": SHAPES, "color": COLORS, "fill": FILLS}.items():
        own = getattr(expression.head, name)
        for value in values if own in values else ():
            if value != own:
                yield replace(expression, head=replace(expression.head, **{name: value}))


def scores_of(predictions: Sequence[Prediction]) -> np.ndarray:
    """Return the scores (N,); an answer without a score has 0."""
    return np.array([prediction.score or 0.0 for prediction in predictions])


def measures(
    samples: Sequence[Sample], kinds: np.ndarray, predictions: Sequence[Prediction], threshold: float
) -> dict[str, float]:
    """Return the values of :data:`COLUMNS`."""
    scores, full = scores_of(predictions), np.isin(kinds, ("one", "many"))
    plural = np.array([number(s.query.expression).plural for s in samples])
    texts = {(s.image_id, s.query.expression) for s, kind in zip(samples, kinds, strict=True) if kind == "erased"}
    same_words = np.array([(s.image_id + 1, s.query.expression) in texts for s in samples])
    erased = kinds == "erased"
    groups = {
        "all": (full, ~full), "erased": (full, erased), "same words": (full & same_words, erased),
        "changed": (full, kinds == "changed"), "other": (full, kinds == "other"),
        "one thing": (full & ~plural, ~full & ~plural), "plural": (full & plural, ~full & plural),
    }  # fmt: skip
    row = {name: auroc(scores[yes | no], yes[yes | no]) for name, (yes, no) in groups.items()}
    boxes, true = best_boxes(predictions, [s.query for s in samples]), [s.boxes for s in samples]
    one, many = np.flatnonzero(kinds == "one"), np.flatnonzero(kinds == "many")
    ious = box_ops.pixel_iou(boxes[one], np.stack([true[i][0] for i in one]))
    return row | {
        "threshold": threshold,
        "N-acc": float((scores[~full] < threshold).mean()),
        "T-acc": float((scores[full] >= threshold).mean()),
        "own N-acc": float(np.mean([not len(predictions[i].boxes) for i in np.flatnonzero(~full)])),
        "own T-acc": float(np.mean([len(predictions[i].boxes) > 0 for i in np.flatnonzero(full)])),
        "Acc@0.5": float((ious >= 0.5).mean()),
        "rejecting": float(((ious >= 0.5) & (scores[one] >= threshold)).mean()),
        "Pr@(F1=1) many": float(np.mean([set_f1(predictions[i].boxes, true[i]) == 1 for i in many])),
    }


if __name__ == "__main__":
    main()
