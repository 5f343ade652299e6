"""What ``evaluate.py`` runs."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from typing import Any

from vg_gym.answers.frames import FRAMES
from vg_gym.evaluation.comparison import Comparison
from vg_gym.evaluation.options import DATASET, method_options
from vg_gym.runners import RUNNERS


def add(commands) -> None:
    """Add the subcommand to the parser's ``commands``; its options are those of ``evaluate.py``."""
    about = "compare methods under one evaluator"  # below: no prefix, as all options are evaluate.py's to read
    parser = commands.add_parser("evaluate", help=about, add_help=False, prefix_chars="\0")
    parser.add_argument("arguments", nargs="*")
    parser.set_defaults(command=lambda options: main("Compare methods under one evaluator.", options.arguments))


def main(usage: str | None = None, arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and run the comparison.

    Args:
        usage: what ``--help`` prints above the options.
        arguments: of the command; default those that were typed.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    Comparison(**_options(usage, arguments), command=f"python {shlex.join([sys.argv[0], *arguments])}").run()


def _options(usage: str | None, arguments: Sequence[str]) -> dict[str, Any]:
    """The fields of a :class:`~vg_gym.evaluation.comparison.Comparison`."""
    given = vars(_parser(usage).parse_args(arguments))
    given["methods"] = [name for name in given["methods"].split(",") if name]
    given["options"] = method_options(given["options"])
    given["dataset_options"] = given["options"].pop(DATASET, {})
    return given


def _parser(usage: str | None) -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(description=usage, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--methods", default="", help="comma-separated grounders (vg-gym info lists them) and ceilings")
    p.add_argument("--dataset", help="refshapes, refcocog-umd, ...")
    p.add_argument("--split", default="test")
    p.add_argument("--train-split", default="train", help="what the constant box is fitted on (default: %(default)s)")
    p.add_argument("--root", help="folder of a data set on disk")
    p.add_argument("--clip", default="refshapes", help="CLIP of methods and crop metrics (default: %(default)s; none)")
    p.add_argument("--limit", type=int, help="only the first so many expressions")
    p.add_argument("--refine", metavar="METHOD", help="also start METHOD[,METHOD] from all methods' boxes")
    p.add_argument(
        "--predictions", metavar="FILE", help="also evaluate recorded answers: .jsonl, .csv, lmms-eval's logs"
    )
    p.add_argument("--frame", choices=FRAMES, help="of the boxes in --predictions (default: pixels)")
    p.add_argument("--recorded", metavar="FILE.json", help="evaluate recorded detections with CLIP scores")
    p.add_argument("--probes", action="store_true", help="also empty, shuffled and swapped expressions")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--fresh", action="store_true", help="throw earlier predictions in --out away")
    p.add_argument("--runner", choices=RUNNERS, default="local", help="where methods predict (default: %(default)s)")
    p.add_argument("--workers", type=int, default=0, metavar="N", help="processes of --runner ray; 0: one for each CPU")
    p.add_argument("--out", required=True, help="folder of results")
    about = "options; KEY=1,2,4 is a row each; dataset_options.KEY=VALUE for the data set"
    p.add_argument("options", nargs="*", metavar="METHOD.KEY=VALUE", help=about)
    return p
