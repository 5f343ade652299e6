"""``vg-gym train agent``, ``grounder``, ``detector``, ``clip``: the training scripts, in any folder."""

from __future__ import annotations

import argparse
from importlib import import_module

TRAININGS = {
    "agent": "train an agent that moves a box, then compare it with baselines",
    "grounder": "train MDETR, TransVG, Dynamic MDETR, RED or box diffusion",
    "detector": "train a small object detector",
    "clip": "fine-tune a CLIP, or train one from scratch",
}
"""Name of a training -> its description; the module is ``vg_gym.cli.train_NAME``."""


def add(commands) -> None:
    """Add the subcommand to the parser's ``commands``."""
    about = "train an agent, a grounder, a detector or a CLIP"
    parser = commands.add_parser("train", help=about, description=f"{about[0].upper()}{about[1:]}.")
    kinds = parser.add_subparsers(required=True, metavar="WHAT", help="`vg-gym train WHAT --help` lists every option")
    for what, about in TRAININGS.items():  # without a prefix, so that the training parses all arguments, also --help
        kind = kinds.add_parser(what, help=about, add_help=False, prefix_chars="\0")
        kind.add_argument("arguments", nargs="*")
        kind.set_defaults(command=train, what=what)


def train(options: argparse.Namespace) -> None:
    """Run the training."""
    import_module(f"vg_gym.cli.train_{options.what}").main(options.arguments)
