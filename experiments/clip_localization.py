"""Localisation by a CLIP on RefShapes val: R@1 among the true boxes by crop and dense scores, and its best window.

python experiments/clip_localization.py [CLIP] [--samples 1000 --json out.json]
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
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    dataset = open_dataset("refshapes", "val")
    report = localization_report(load_clip(options.clip), dataset, options.samples)
    print("| kind | n | R@1 of true boxes, dense | R@1 by crops | IoU of the window with the highest cosine |")
    print("|---|---|---|---|---|")
    for kind, row in report.items():
        print(f"| {kind} | {row['n']} | {row['dense_r1']:.3f} | {row['crop_r1']:.3f} | {row['window_iou']:.3f} |")
    if options.json:
        found = {f"{kind}: {what}": figure for kind, row in report.items() for what, figure in row.items()}
        write_figures(options.json, found)


if __name__ == "__main__":
    main()
