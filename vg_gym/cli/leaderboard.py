"""``vg-gym leaderboard``."""

from __future__ import annotations

import argparse
from pathlib import Path


def add(commands) -> None:
    """Add the subcommand to the parser's ``commands``."""
    about = "rank the methods of several runs on the same queries"
    more = (
        "It prints the table as Markdown and writes a page to --out. All runs must have the same queries; others are "
        "an error."
    )
    parser = commands.add_parser("leaderboard", help=about, description=f"{about[0].upper()}{about[1:]}. {more}")
    parser.add_argument(
        "folder", type=Path, metavar="DIR", help="folder with results.json or NAME.results.json below it"
    )
    parser.add_argument("--by", choices=("mean-iou", "acc"), default="mean-iou", help="rank by mean IoU or by Acc@0.5")
    parser.add_argument("--out", type=Path, metavar="FILE.html", help="file of the page; default: DIR/leaderboard.html")
    parser.set_defaults(command=leaderboard)


def leaderboard(options: argparse.Namespace) -> None:
    """Print the table and write the page.

    Raises:
        VGGymError: the results are missing, or they have different queries.
    """
    from vg_gym.evaluation.report.leaderboard import PAGE, markdown, ranked, read_folder, write_leaderboard
    from vg_gym.storage.outputs import is_own_page, refuse_foreign

    results = read_folder(options.folder)
    entries = ranked(results, options.folder, options.by)
    out = options.out or options.folder / PAGE
    refuse_foreign(out, is_own_page)
    write_leaderboard(out, entries, results, options.by)
    print(f"{results[0].title}, {len(results)} run{'' if len(results) == 1 else 's'}: {out}\n")
    print(markdown(entries))
