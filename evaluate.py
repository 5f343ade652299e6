"""Compare methods of visual grounding under one evaluator.

python evaluate.py --methods clip-window,agent:refshapes --dataset refshapes --split test --out results/first
python evaluate.py --methods clip-window --dataset refcocog-umd --root DIR --clip ViT-B-32:openai --out results/b32
python evaluate.py --methods mdetr --dataset refcocog-umd --root DIR --runner ray --workers 8 --out results/mdetr
python evaluate.py --recorded FILE.json --out results/recorded
"""

import argparse
import shlex
import sys

from vg_gym.cli.run import run
from vg_gym.evaluation.comparison import Comparison
from vg_gym.evaluation.options import method_options
from vg_gym.runners import RUNNERS


def main() -> None:
    """Parse the command line and run the comparison."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--methods", default="", help="comma-separated grounders (vg-gym info lists them) and ceilings")
    p.add_argument("--dataset", help="refshapes, refcocog-umd, ...")
    p.add_argument("--split", default="test")
    p.add_argument("--train-split", default="train", help="what the constant box is fitted on (default: %(default)s)")
    p.add_argument("--root", help="folder of a data set on disk")
    p.add_argument("--clip", default="refshapes", help="CLIP of methods and crop metrics (default: %(default)s; none)")
    p.add_argument("--limit", type=int, help="only the first so many expressions")
    p.add_argument("--refine", metavar="METHOD", help="also start METHOD[,METHOD] from all methods' boxes")
    p.add_argument("--predictions", metavar="FILE.jsonl", help="also evaluate recorded predictions")
    p.add_argument("--recorded", metavar="FILE.json", help="evaluate recorded detections with CLIP scores")
    p.add_argument("--probes", action="store_true", help="also empty, shuffled and swapped expressions")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--fresh", action="store_true", help="throw earlier predictions in --out away")
    p.add_argument("--runner", choices=RUNNERS, default="local", help="where methods predict (default: %(default)s)")
    p.add_argument("--workers", type=int, default=0, metavar="N", help="processes of --runner ray; 0: one for each CPU")
    p.add_argument("--out", required=True, help="folder of results")
    p.add_argument(
        "options",
        nargs="*",
        metavar="METHOD.KEY=VALUE",
        help="options; KEY=1,2,4 is a row each",
    )
    given = vars(p.parse_args())
    given["methods"] = [name for name in given["methods"].split(",") if name]
    given["options"] = method_options(given["options"])
    Comparison(**given, command=f"python {shlex.join(sys.argv)}").run()


if __name__ == "__main__":
    run(main)
