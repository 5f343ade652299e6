"""``vg-gym play``."""

from __future__ import annotations

import argparse
from typing import Any

import gymnasium

from vg_gym.cli.env_options import add_options, env_arguments

FOR_PEOPLE = {"min_steps": 1, "max_steps": 60, "image_pool": 0}
"""Options that replace the environment's defaults, since people look before they act."""


def add(commands) -> None:
    """Add the subcommand to the parser's ``commands``."""
    parser = commands.add_parser("play", help="move the box yourself, with the keyboard")
    parser.add_argument("env", metavar="ID", help="environment, e.g. RefShapes-Ground-v0 (vg-gym list envs)")
    parser.add_argument("--seed", type=int, metavar="N", help="seed of the first episode; default: random")
    add_options(parser)
    parser.set_defaults(command=play)


def play(options: argparse.Namespace) -> None:
    """Open a window, play until it is closed, and print the result of each episode.

    Raises:
        VGGymError: the environment or an option is unknown, or pygame or a display is missing.
    """
    arguments = {**FOR_PEOPLE, **env_arguments(options.env, options.options)}
    from vg_gym.envs.window import load_pygame

    load_pygame()  # an error about pygame comes before anything is loaded
    from vg_gym.envs.game import Game

    env: Any = gymnasium.make(options.env, render_mode="rgb_array", **arguments)
    Game(env.unwrapped, options.seed).run()
    env.close()
