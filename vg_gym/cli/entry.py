"""The command ``vg-gym``, with one module per subcommand."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence

from vg_gym import __version__
from vg_gym.cli import (
    compare,
    demo,
    download,
    evaluate,
    features,
    ground,
    info,
    leaderboard,
    listing,
    minari,
    play,
    push,
    train,
)
from vg_gym.cli.parsing import Parser
from vg_gym.cli.run import run

SUBCOMMANDS = (
    ground, demo, train, evaluate, compare, leaderboard, listing, play, push, minari, features, download, info,
)  # fmt: skip
"""Modules of the subcommands. Each has ``add(commands)``, which adds a parser with a default ``command(options)``."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of ``vg-gym``."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = _parsed(arguments)
    run(lambda: options.command(options))


def _parsed(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the command line; ``OPTION=VALUE`` may also follow ``--flags``, which argparse alone does not support."""
    parser = _parser()
    namespace = argparse.Namespace(line=shlex.join(["vg-gym", *arguments]))
    options, more = parser.parse_known_args(arguments, namespace)
    pairs = [word for word in more if "=" in word and not word.startswith("-")]
    if more and (more != pairs or not hasattr(options, "options")):
        parser.error(f"unrecognized arguments: {' '.join(more)}")
    if pairs:
        options.options += pairs
    return options


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="vg-gym", description="Visual grounding: an image and a referring expression to a box.")
    parser.add_argument("--version", action="version", version=f"vg-gym {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for subcommand in SUBCOMMANDS:
        subcommand.add(commands)
    return parser
