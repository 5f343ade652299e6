"""Comparison of TransVG and TransVG + RED where a planted prior agrees with the target, and where it conflicts.

It tests whether RED removes a confounder. Train both on ``refshapes-biased`` with several seeds, then compare them on
the test split, which has no planted prior:

    for s in 0 1 2; do for m in transvg red; do
      python train_grounder.py configs/${m}_biased.yaml seed=$s out=runs/$m-biased-$s; done; done
    python experiments/deconfounding.py --runs "runs/{}-biased-{}/model" --scenes 2000
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from vg_gym import boxes as box_ops
from vg_gym.cli.run import run
from vg_gym.data.worlds.refshapes.dataset import RefShapes
from vg_gym.evaluation import metrics, probes
from vg_gym.evaluation.intervals import gap_interval
from vg_gym.learned.grounder import query_batch
from vg_gym.learned.model import GroundingModel
from vg_gym.learned.weights import load_model
from vg_gym.storage.files import write_json
from vg_gym.types import Query


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--runs", default="runs/{}-biased-{}/model", help="folders, by method and seed")
    p.add_argument(
        "--methods", nargs=2, default=["transvg", "red"], help="names of the plain and the deconfounded method"
    )
    p.add_argument("--seeds", nargs="+", default=["0", "1", "2"])
    p.add_argument("--average", action="store_true", help="RED's dictionary averaged by its prior alone, no attention")
    p.add_argument("--scenes", type=int, default=2000, help="test scenes, four expressions each")
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--json", type=Path, help="also write the figures there")
    o = p.parse_args()
    torch.set_num_threads(o.threads)
    data = RefShapes("refshapes-biased", "test", scenes=o.scenes)
    samples = data[:]
    agrees, groups = [data.prior_agrees(sample) for sample in samples], [sample.image_id for sample in samples]
    truth = np.stack([box_ops.normalize(sample.box, sample.query.image.size) for sample in samples])
    runs = [(method, seed) for method in o.methods for seed in o.seeds]
    models = [load_model(Path(o.runs.format(*run)))[1] for run in runs]
    if o.average:
        for model in models[len(o.seeds) :]:
            for part in (model.deconfounder.query, model.deconfounder.key):  # type: ignore[union-attr]
                for parameter in part.parameters():  # type: ignore[union-attr]
                    parameter.data.zero_()  # all words get equal attention, so only the prior remains
    found = predictions(models, [sample.query for sample in samples])
    ious = box_ops.iou(found, truth[None])
    rows = [row(*run, values, agrees, groups) for run, values in zip(runs, ious, strict=True)]
    print(f"{'':16}{'Acc@0.5':>9}{'agrees':>9}{'conflicts':>11}{'gap':>8}")
    for r in rows:
        print(f"{r['method'] + ' seed ' + r['seed']:16}{r['acc@0.5']:9.3f}{r['agree']:9.3f}{r['conflict']:11.3f}"
              f"{r['gap']:+8.3f}")  # fmt: skip
    hits = (ious >= 0.5).reshape(2, len(o.seeds), -1).mean(axis=1)
    difference = compared(hits[1], hits[0], agrees, groups)
    print(f"\nmean of {len(o.seeds)} seeds, {o.methods[1]} minus {o.methods[0]}, 95 % CI over images:")
    for name, found_ in difference.items():
        print(f"  {name:8}{found_['mean']:+.4f} ({found_['ci'][0]:+.4f} to {found_['ci'][1]:+.4f})")
    if o.json:
        write_json(o.json, {"rows": rows, "difference": difference})


def predictions(models: Sequence[GroundingModel], queries: Sequence[Query], size: int = 64) -> np.ndarray:
    """Return normalised boxes (M, N, 4). The models share frozen features, so each image is encoded once."""
    parts = []
    for at in tqdm(range(0, len(queries), size), desc="queries", unit="batch"):
        batch = query_batch(models[0], queries[at : at + size])
        with torch.inference_mode():
            batch = replace(batch, features=models[0].frozen_image_features(batch.images))
            parts.append(np.stack([model.predict(batch)[0].numpy() for model in models]))
    return np.concatenate(parts, axis=1)


def row(method: str, seed: str, ious: np.ndarray, agrees: list, groups: list) -> dict:
    """Return the results of one run."""
    gap = probes.planted_gap(ious, agrees, groups)
    assert gap is not None
    return {"method": method, "seed": seed, "acc@0.5": metrics.accuracy(ious, 0.5), **gap}


def compared(after: np.ndarray, before: np.ndarray, agrees: list, groups: list) -> dict:
    """Return the paired differences of the gap and of Acc@0.5 between the hits (N,) of two methods."""
    yes, no = (np.array([a is wanted for a in agrees]) for wanted in (True, False))
    gained = after - before
    return {
        "gap": {
            "mean": float(gained[yes].mean() - gained[no].mean()),
            "ci": gap_interval(gained, yes, no, groups, -1.0),
        },
        "Acc@0.5": metrics.paired_difference(after, before, groups),
    }


if __name__ == "__main__":
    run(main)
