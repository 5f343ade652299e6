"""``vg-gym compare``."""

from __future__ import annotations

import argparse
from pathlib import Path


def add(commands) -> None:
    """Add the subcommand to the parser's ``commands``."""
    about = "compare two runs query by query, with confidence intervals"
    parser = commands.add_parser("compare", help=about, description=f"{about[0].upper()}{about[1:]}: B minus A.")
    parser.add_argument("first", type=Path, metavar="A", help="a results.json, or its folder")
    parser.add_argument("second", type=Path, metavar="B", help="another one, or A again to compare two of its methods")
    parser.add_argument("--a", metavar="METHOD", help="method of A; by default all methods that A and B share")
    parser.add_argument("--b", metavar="METHOD", help="method of B; by default that of --a")
    parser.add_argument("--out", type=Path, default=Path("compare.png"), metavar="FILE.png", help="file of the plot")
    parser.set_defaults(command=compare)


def compare(options: argparse.Namespace) -> None:
    """Print and draw paired differences.

    Raises:
        VGGymError: the results have different queries, or the methods are ambiguous.
    """
    from vg_gym.evaluation.paired import pair_results
    from vg_gym.evaluation.report.plots import draw_pairs, png
    from vg_gym.evaluation.results import read_results
    from vg_gym.evaluation.tables import print_pairs
    from vg_gym.storage.files import replacing
    from vg_gym.storage.outputs import is_own_picture, refuse_foreign

    refuse_foreign(options.out, is_own_picture)
    first, second = read_results(options.first), read_results(options.second)
    pairs = pair_results(first, second, options.a, options.b)
    print(f"A: {first.path}\nB: {second.path}")
    print_pairs(pairs, f"{first.title}: B - A, paired; 95 % intervals over images")
    for pair in pairs:
        figures = "; ".join(
            f"{name} {pair.figures[f'{key}_a']:.3f} (A), {pair.figures[f'{key}_b']:.3f} (B)"
            for name, key in (("mean IoU", "mean_iou"), ("Acc@0.5", "accuracy"))
        )
        print(f"{pair.name}: {figures}")
    with replacing(options.out) as part:
        part.write_bytes(png(draw_pairs(pairs, f"{first.title}; A: {first.name}, B: {second.name}")))
    print(f"drawn: {options.out}")
