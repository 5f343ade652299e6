"""Tune alpha and tau of the heat-map pipelines on a validation split.

python experiments/heat_map_tuning.py [--limit 200]           # both pipelines, built-in CLIP, RefShapes val
python experiments/heat_map_tuning.py --methods adapting-clip --dataset refcocog-umd --root DIR --clip ViT-B-32:openai

Segments are computed and scored once; the grid search uses these scores. The best pair by mean IoU is for
``vg_gym.baselines.heat_map_grounder.TUNED``.
"""

import argparse
import itertools

import numpy as np
from tqdm import tqdm

from vg_gym import boxes as box_ops
from vg_gym import registry
from vg_gym.baselines.box_search import best_box
from vg_gym.baselines.heat_maps import heat_map
from vg_gym.cli.run import run

TAUS = (0.005, 0.01, 0.02, 0.05, 0.1)
ALPHAS = (0.6, 0.8, 1.0, 1.5, 2.5, 4.0)


def main() -> None:
    """Search the grid and print the results, best first."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--methods", default="seg-clip,adapting-clip")
    p.add_argument("--dataset", default="refshapes")
    p.add_argument("--root")
    p.add_argument("--clip", default="refshapes")
    p.add_argument("--limit", type=int, default=200)
    given = p.parse_args()
    data = registry.open_dataset(given.dataset, "val", given.root)
    samples = [data[i] for i in range(min(given.limit, len(data)))]
    for method in given.methods.split(","):
        grounder = registry.grounder(method, clip=given.clip)
        scored = [grounder.cosines(s.query) for s in tqdm(samples, desc=method, unit="query", mininterval=5)]
        rows = [(*_judge(samples, scored, tau, alpha), alpha, tau) for tau, alpha in itertools.product(TAUS, ALPHAS)]
        print(f"\n{method}, {len(samples)} expressions of {given.dataset} val")
        print("mean IoU  Acc@0.5  alpha    tau")
        for iou, accuracy, alpha, tau in sorted(rows, reverse=True)[:6]:
            print(f"{iou:8.3f} {accuracy:8.3f} {alpha:6.2f} {tau:6.3f}")


def _judge(samples, scored, tau: float, alpha: float) -> tuple[float, float]:
    """Return mean IoU and Acc@0.5 for one pair."""
    ious = []
    for sample, (masks, cosines) in zip(samples, scored, strict=True):
        heat = heat_map(masks, cosines, tau)
        height, width = heat.shape
        box = best_box(heat, alpha)[0] / np.array([width, height, width, height])
        ious.append(float(box_ops.pixel_iou(box_ops.denormalize(box, sample.query.image.size), sample.box)))
    return float(np.mean(ious)), float(np.mean(np.array(ious) >= 0.5))


if __name__ == "__main__":
    run(main)
