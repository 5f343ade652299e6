"""The command ``vg-gym`` with its subcommands."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from vg_gym import __version__
from vg_gym.cli import (
    cache,
    data_sets,
    demo,
    environments,
    evaluate,
    finished_runs,
    ground,
    listing,
    recipe,
    train,
    tune,
)
from vg_gym.cli.parsers import DEBUG_HELP, Parser
from vg_gym.cli.run import run, without_debug

SUBCOMMANDS: dict[str, Callable[[Any], None]] = {
    "ground": ground.add,
    "demo": demo.add,
    "train": train.add,
    "tune": tune.add,
    "evaluate": evaluate.add,
    "compare": finished_runs.add_compare,
    "leaderboard": finished_runs.add_leaderboard,
    "list": listing.add_list,
    "play": environments.add_play,
    "push": finished_runs.add_push,
    "minari": environments.add_minari,
    "demonstrations": environments.add_demonstrations,
    "features": data_sets.add_features,
    "download": data_sets.add_download,
    "cache": cache.add,
    "recipe": recipe.add,
    "info": listing.add_info,
}
"""Name of a subcommand -> function that adds its parser to those of ``vg-gym``."""
SCRIPTS: dict[tuple[str, ...], Callable[[Sequence[str]], None]] = {
    ("evaluate",): evaluate.subcommand,
    ("tune", "agent"): tune.main,
    **{("train", what): partial(train.main, what) for what in train.TRAININGS},
}
"""First words of a command line -> function that parses the other words itself, also ``--help``."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of ``vg-gym``."""
    arguments = without_debug(sys.argv[1:] if arguments is None else arguments)
    for words, script in SCRIPTS.items():
        if tuple(arguments[: len(words)]) == words:
            run(partial(script, arguments[len(words) :]))
            return
    options = _parsed(arguments)
    run(lambda: options.command(options))


def _parsed(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the command line; ``OPTION=VALUE`` may also follow ``--flags``, which argparse alone does not support."""
    parser = _parser()
    namespace = argparse.Namespace(line=shlex.join(["vg-gym", *arguments]))
    options, more = parser.parse_known_args(arguments, namespace)
    pairs = [word for word in more if "=" in word and not word.startswith("-")]
    if more and (more != pairs or not hasattr(options, "options")):
        getattr(options, "parser", parser).error(f"unrecognized arguments: {' '.join(more)}")
    if pairs:
        options.options += pairs
    return options


def _parser() -> argparse.ArgumentParser:
    about = "Visual grounding: an image and a referring expression to a box."
    parser = Parser(prog="vg-gym", description=about, epilog=DEBUG_HELP)
    parser.add_argument("--version", action="version", version=f"vg-gym {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for add in SUBCOMMANDS.values():
        add(commands)
    return parser
