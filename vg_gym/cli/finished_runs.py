"""``vg-gym compare``, ``leaderboard`` and ``push``: commands for the results and agents of finished runs."""

from __future__ import annotations

import argparse
from pathlib import Path

from vg_gym.cli.parsers import add_command


def add_compare(commands) -> None:
    """Add the subcommand to the parser's ``commands``."""
    about = "Compare two runs query by query, with confidence intervals. All differences are B minus A."
    parser = add_command(commands, "compare", about, compare)
    parser.add_argument("first", type=Path, metavar="A", help="a results.json, or its folder")
    parser.add_argument("second", type=Path, metavar="B", help="another one, or A again to compare two of its methods")
    parser.add_argument("--a", metavar="METHOD", help="method of A; by default all methods that A and B share")
    parser.add_argument("--b", metavar="METHOD", help="method of B; by default that of --a")
    parser.add_argument("--out", type=Path, default=Path("compare.png"), metavar="FILE.png", help="file of the plot")


def compare(options: argparse.Namespace) -> None:
    """Print and draw paired differences.

    Raises:
        VGGymError: the results have different queries, or the methods are ambiguous.
    """
    from vg_gym.evaluation.paired import pair_results
    from vg_gym.evaluation.report.plots import draw_pairs, png
    from vg_gym.evaluation.results import read_results
    from vg_gym.evaluation.terminal_tables import print_pairs
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
            for key, name in zip(("mean", "accuracy"), pair.measure, strict=False)
        )
        print(f"{pair.name}: {figures}")
    with replacing(options.out) as part:
        part.write_bytes(png(draw_pairs(pairs, f"{first.title}; A: {first.name}, B: {second.name}")))
    print(f"drawn: {options.out}")


def add_leaderboard(commands) -> None:
    """Add the subcommand to the parser's ``commands``."""
    about = (
        "Rank the methods of several runs on the same queries. It prints the table as Markdown and writes a page to "
        "--out. All runs must have the same queries; others are an error."
    )
    parser = add_command(commands, "leaderboard", about, leaderboard)
    about = "folder with results.json or NAME.results.json below it"
    parser.add_argument("folder", type=Path, metavar="DIR", help=about)
    parser.add_argument(
        "--by", choices=("mean-iou", "acc", "f1"), default="mean-iou", help="rank by mean IoU, Acc@0.5 or Pr@F1"
    )
    parser.add_argument("--out", type=Path, metavar="FILE.html", help="file of the page; default: DIR/leaderboard.html")


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


def add_push(commands) -> None:
    """Add the subcommand to the parser's ``commands``."""
    about = "Upload a trained agent to the Hugging Face hub, with a model card"
    parser = add_command(commands, "push", about, push)
    parser.add_argument("run", metavar="RUN", help="run folder of train_agent.py, or a built-in agent")
    parser.add_argument("repository", metavar="ORG/NAME", help="repository on the hub, created if it does not exist")
    parser.add_argument("--private", action="store_true", help="create a private repository")
    about = "show episodes on the card also for data that are not drawn scenes; this publishes pictures of the data"
    parser.add_argument("--film", action="store_true", help=about)


def push(options: argparse.Namespace) -> None:
    """Upload the agent and print its name for loading."""
    from vg_gym.agents.publishing.sharing import push as upload

    pushed = upload(options.run, options.repository, options.private, options.film)
    print(f"{pushed.url}\nagent:hub:{options.repository} loads it; revision={pushed.commit} always means this version")
