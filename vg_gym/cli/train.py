"""``vg-gym train agent``, ``grounder``, ``detector``, ``clip``: the training scripts, wherever one is."""

from __future__ import annotations

import argparse
from importlib import import_module

WHAT = ("agent", "grounder", "detector", "clip")
"""What can be trained; ``vg_gym.cli.train_WHAT`` does it."""


def add(commands) -> None:
    """Add the subcommand to the parser's ``commands``."""
    parser = commands.add_parser("train", help="train an agent, a grounder, a detector or a CLIP", add_help=False)
    parser.add_argument("what", choices=WHAT)
    parser.add_argument(
        "arguments", nargs=argparse.REMAINDER, help="config files or names, KEY=VALUE; --help lists all"
    )
    parser.set_defaults(command=train)


def train(options: argparse.Namespace) -> None:
    """Run the training."""
    import_module(f"vg_gym.cli.train_{options.what}").main(options.arguments)
