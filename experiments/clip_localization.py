"""Localisation by a CLIP on val: R@1 among the true boxes by crop and dense scores, and its best window.

python experiments/clip_localization.py [CLIP] [--dataset refscenes --samples 1000 --json out.json]

"Kind right" is the share of expressions whose best true box has the target's category. R@1 divided by it is the share
of right choices within that category, where attributes, places and relations decide.
"""

import argparse
from pathlib import Path

from vg_gym.cli.figures import write_figures
from vg_gym.clip import load_clip
from vg_gym.clip.finetuning.localization import localization_report
from vg_gym.registry import open_dataset


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("clip", nargs="?", default="refshapes")
    parser.add_argument("--dataset", default="refshapes")
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    dataset = open_dataset(options.dataset, "val")
    report = localization_report(load_clip(options.clip), dataset, options.samples)
    columns = {
        "dense_r1": "R@1 of true boxes, dense", "dense_category": "kind right", "crop_r1": "R@1 by crops",
        "crop_category": "kind right", "window_iou": "IoU of the window with the highest cosine",
    }  # fmt: skip
    print(f"| kind | n | {' | '.join(columns.values())} |")
    print("|---|---|" + "---|" * len(columns))
    for kind, row in report.items():
        print(f"| {kind} | {row['n']} | " + " | ".join(f"{row[name]:.3f}" for name in columns) + " |")
    if options.json:
        found = {f"{kind}: {what}": figure for kind, row in report.items() for what, figure in row.items()}
        write_figures(options.json, found)


if __name__ == "__main__":
    main()
