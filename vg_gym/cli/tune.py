"""``vg-gym tune agent``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vg_gym.cli.parsers import DEBUG_HELP, Parser
from vg_gym.cli.run import configured
from vg_gym.config import is_pair
from vg_gym.errors import Interrupted, VGGymError

ABOUT = "search for the hyperparameters of an agent with Optuna"
SHOWN_TRIALS = 5
"""Number of the best trials that are printed at the end."""


def add(commands) -> None:
    """Add the subcommand to the parser's ``commands``; :func:`main` parses its arguments, including ``--help``."""
    parser = commands.add_parser("tune", help=ABOUT, description=f"{ABOUT.capitalize()}.")
    kinds = parser.add_subparsers(required=True, metavar="WHAT", help="`vg-gym tune WHAT --help` lists every option")
    kinds.add_parser("agent", help=ABOUT, add_help=False)


def parser() -> Parser:
    """Return the parser of ``vg-gym tune agent``."""
    about = f"{ABOUT.capitalize()}. A trial trains an agent in OUT/trial-0000; OUT/study.log has all trials. The same "
    about += "command resumes a search, or runs more trials."
    parser = Parser(prog="vg-gym tune agent", description=about, epilog=DEBUG_HELP)
    parser.add_argument("--out", type=Path, default=Path("runs/tune"), metavar="FOLDER", help="folder of the search")
    parser.add_argument(
        "--trials", type=int, default=50, metavar="N", help="number of trials, with those of earlier runs"
    )
    parser.add_argument(
        "options",
        nargs="*",
        metavar="CONFIG|OPTION=VALUE",
        help="options of all trials as for `vg-gym train agent`, e.g. dataset=mine.jsonl minutes=3. Options that are "
        "typed are not sampled.",
    )
    return parser


def main(arguments: Sequence[str]) -> None:
    """Search, then print the best trials and the command that trains with the options of the best one.

    Raises:
        Interrupted: Ctrl-C or SIGTERM; the same command resumes the search.
        VGGymError: Optuna is not installed, an option is wrong, or no trial was completed.
    """
    typed = parser().parse_intermixed_args(arguments)
    from vg_gym.agents.config import TrainConfig
    from vg_gym.agents.tuning import BEST, Search

    if typed.trials < 1:
        raise VGGymError(f"--trials is {typed.trials}; it must be at least 1")
    config = configured(TrainConfig, typed.options)
    fixed = frozenset(option.partition("=")[0] for option in typed.options if is_pair(option))
    try:
        study = Search(config, typed.out, fixed).run(typed.trials)
    except (KeyboardInterrupt, Interrupted):
        raise Interrupted(f"interrupted; the trials so far are in {typed.out}: the same command resumes") from None
    complete = [trial for trial in study.trials if trial.value is not None and trial.state.name == "COMPLETE"]
    if not complete:
        raise VGGymError(f"no trial in {typed.out} was completed; add trials with a larger --trials")
    print(f"{len(complete)} of {len(study.trials)} trials complete; the highest returns:")
    for trial in sorted(complete, key=lambda trial: -trial.value)[:SHOWN_TRIALS]:
        print(f"  trial {trial.number:4}  return {trial.value:.3f}  {_words(trial.params)}")
    print(f"train with the best options: vg-gym train agent {typed.out / BEST}")


def _words(options: dict[str, Any]) -> str:
    return " ".join(f"{name}={value:.3g}" for name, value in options.items())
