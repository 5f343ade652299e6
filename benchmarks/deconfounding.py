"""Does RED remove a confounder? TransVG against TransVG + RED, where a planted prior agrees and where it conflicts.

Train both on ``refshapes-biased``, several seeds each, then compare them on its test split, where nothing is planted:

    for s in 0 1 2; do for m in transvg red; do
      python train_grounder.py configs/${m}_biased.yaml seed=$s out=runs/$m-biased-$s; done; done
    python benchmarks/deconfounding.py --runs "runs/{}-biased-{}/model" --scenes 2000
"""

import argparse
from pathlib import Path

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym import registry
from vg_gym.cli import run
from vg_gym.data.refshapes import RefShapes
from vg_gym.evaluation import metrics, probes
from vg_gym.files import write_json


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--runs", default="runs/{}-biased-{}/model", help="folders, by method and seed")
    p.add_argument("--methods", nargs=2, default=["transvg", "red"], help="the plain method and the deconfounded one")
    p.add_argument("--seeds", nargs="+", default=["0", "1", "2"])
    p.add_argument("--scenes", type=int, default=2000, help="test scenes, four expressions each")
    p.add_argument("--json", type=Path, help="also write the figures there")
    options = p.parse_args()
    data = RefShapes("refshapes-biased", "test", scenes=options.scenes)
    samples = data[:]
    agrees = [data.prior_agrees(sample) for sample in samples]
    groups = [sample.image_id for sample in samples]
    truth = np.stack([sample.box for sample in samples])
    hits: dict[str, list[np.ndarray]] = {method: [] for method in options.methods}
    rows = []
    print(f"{'':16}{'Acc@0.5':>9}{'agrees':>9}{'conflicts':>11}{'gap':>8}")
    for method in options.methods:
        for seed in options.seeds:
            grounder = registry.grounder(method, weights=options.runs.format(method, seed))
            found = np.stack([p.box for p in grounder.ground([sample.query for sample in samples])])
            ious = box_ops.iou(found, truth)
            gap = probes.planted_gap(ious, agrees, groups)
            assert gap is not None
            hits[method].append((ious >= 0.5).astype(float))
            rows.append({"method": method, "seed": seed, "acc@0.5": metrics.accuracy(ious, 0.5), **gap})
            print(f"{method + ' seed ' + seed:16}{rows[-1]['acc@0.5']:9.3f}{gap['agree']:9.3f}{gap['conflict']:11.3f}"
                  f"{gap['gap']:+8.3f}")  # fmt: skip
    plain, red = (np.mean(hits[method], axis=0) for method in options.methods)
    yes, no = (np.array([a is wanted for a in agrees]) for wanted in (True, False))
    gained = red - plain
    gap = float(gained[yes].mean() - gained[no].mean())
    difference = {"gap": gap, "gap_ci": metrics.bootstrap_gap_ci(gained, yes, no, groups),
                  "acc@0.5": metrics.paired_difference(red, plain, groups)}  # fmt: skip
    (low, high), accuracy = difference["gap_ci"], difference["acc@0.5"]
    print(f"\nmean of {len(options.seeds)} seeds, {options.methods[1]} - {options.methods[0]}, 95 % CI over images:")
    print(f"  gap     {gap:+.4f} ({low:+.4f} to {high:+.4f})")
    print(f"  Acc@0.5 {accuracy['mean']:+.4f} ({accuracy['ci'][0]:+.4f} to {accuracy['ci'][1]:+.4f})")
    if options.json:
        write_json(options.json, {"rows": rows, "difference": difference})


if __name__ == "__main__":
    run(main)
