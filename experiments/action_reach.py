"""Reach of each action set: mean IoU of a greedy oracle that starts from the full image, by number of moves.

python experiments/action_reach.py [--dataset refshapes] [--split val] [--samples 1000] [--json out.json]
"""

import argparse
from pathlib import Path

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym.agents.oracle import climb
from vg_gym.cli.figures import write_figures
from vg_gym.envs.actions import make_actions
from vg_gym.registry import open_dataset

MOVES = (5, 8, 10, 12, 15, 20)
SETS = {
    "classic (0.3)": ("classic", 0.3, 0.08),
    "edges (0.3, 0.08)": ("edges", 0.3, 0.08),
    "multi-edges (0.3, 0.08)": ("multi-edges", 0.3, 0.08),
    "multi-edges (0.3, 0.1)": ("multi-edges", 0.3, 0.1),
    "multi-edges (0.4, 0.1)": ("multi-edges", 0.4, 0.1),
    "multi-edges (0.4, 0.08)": ("multi-edges", 0.4, 0.08),
    "fine-edges (0.3, 0.08, 0.02)": ("fine-edges", 0.3, 0.08),
    "fine-edges (0.4, 0.1, 0.02)": ("fine-edges", 0.4, 0.1),
    "continuous": ("continuous", 0.3, 0.08),
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--dataset", default="refshapes")
    parser.add_argument("--split", default="val")
    parser.add_argument("--samples", type=int, default=1000, help="use the first of the split")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    dataset = open_dataset(options.dataset, options.split)[: options.samples]
    targets = np.stack([box_ops.normalize(s.box, s.query.image.size) for s in dataset])
    full = np.tile(box_ops.FULL, (len(targets), 1))
    where = f"{len(targets)} expressions of {options.dataset} {options.split}"
    print(f"Greedy oracle from the full image, {where}: mean IoU (Acc@0.5)")
    print(f"{'action set':30}" + "".join(f"{f'{n} moves':>16}" for n in MOVES))
    figures: dict[str, float] = {}
    for label, (name, coarse, fine) in SETS.items():
        path = climb(make_actions(name, coarse, fine), full, targets, max(MOVES))
        ious = [box_ops.iou(path[n], targets) for n in MOVES]
        for n, iou in zip(MOVES, ious, strict=True):
            figures |= {f"{label}, {n} moves: mean IoU": float(iou.mean())}
            figures |= {f"{label}, {n} moves: Acc@0.5": float((iou >= 0.5).mean())}
        print(f"{label:30}" + "".join(f"{i.mean():9.3f} ({(i >= 0.5).mean():.2f})" for i in ious))
    if options.json:
        write_figures(options.json, figures)


if __name__ == "__main__":
    main()
