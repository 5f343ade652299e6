"""``vg-gym train agent``, ``grounder``, ``detector``, ``clip``: the training scripts, wherever one is."""

from __future__ import annotations

import argparse
from importlib import import_module

WHAT = {
    "agent": "an agent that moves a box, then its comparison with the floors",
    "grounder": "MDETR, TransVG, Dynamic MDETR, RED or box diffusion",
    "detector": "a small object detector",
    "clip": "a CLIP, fine-tuned or from nothing",
}
"""What can be trained; ``vg_gym.cli.train_WHAT`` does it."""


def add(commands) -> None:
    """Add the subcommand to the parser's ``commands``."""
    about = "train an agent, a grounder, a detector or a CLIP"
    parser = commands.add_parser("train", help=about, description=f"{about[0].upper()}{about[1:]}.")
    kinds = parser.add_subparsers(required=True, metavar="WHAT", help="`vg-gym train WHAT --help` lists every option")
    for what, trained in WHAT.items():  # no prefix, as all that follows is the training's to read, --help too
        kind = kinds.add_parser(what, help=trained, add_help=False, prefix_chars="\0")
        kind.add_argument("arguments", nargs="*")
        kind.set_defaults(command=train, what=what)


def train(options: argparse.Namespace) -> None:
    """Run the training."""
    import_module(f"vg_gym.cli.train_{options.what}").main(options.arguments)
