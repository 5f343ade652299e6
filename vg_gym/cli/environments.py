"""``vg-gym play``, ``minari`` and ``demonstrations``: commands that play episodes of an environment."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import gymnasium

from vg_gym import ENVIRONMENTS
from vg_gym.cli.parsers import add_command
from vg_gym.config import read_pairs
from vg_gym.errors import VGGymError, unknown

FOR_PEOPLE = {"min_steps": 1, "max_steps": 60, "image_pool": 0}
"""Options of ``play`` that replace the environment's defaults; people need more steps than agents."""
CHAT_DEFAULTS = {"mistakes": 0.0, "calls": "words", "frame": "0-1000", "size": 512}
"""Options of ``demonstrations --format chat`` alone, and their defaults."""


def add_play(commands) -> None:
    """Add the subcommand to the parser's ``commands``."""
    parser = add_command(commands, "play", "Move the box yourself, with the keyboard", play)
    parser.add_argument("env", metavar="ID", help="environment, e.g. RefShapes-Ground-v0 (vg-gym list envs)")
    parser.add_argument("--seed", type=int, metavar="N", help="seed of the first episode; default: random")
    _add_options(parser)


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


def add_minari(commands) -> None:
    """Add the subcommand to the parser's ``commands``."""
    about = "Write episodes of an agent as a Minari data set, for offline RL"
    parser = add_command(commands, "minari", about, write)
    parser.add_argument("dataset", metavar="NAME", help="name of the Minari data set, e.g. refshapes/oracle-v0")
    parser.add_argument("--env", default="RefShapes-Ground-v0", metavar="ID", help="environment (vg-gym list envs)")
    parser.add_argument("--agent", default="oracle", help="oracle (sees the target), random, or agent:NAME")
    parser.add_argument("--episodes", type=int, default=1000, metavar="N", help="number of episodes")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the episodes")
    _add_options(parser)


def write(options: argparse.Namespace) -> None:
    """Play episodes and write them.

    Raises:
        VGGymError: the environment or the agent is unknown, or Minari is missing or raises an error.
    """
    from vg_gym.agents.publishing.minari_data import write_minari

    arguments = env_arguments(options.env, options.options)
    written = write_minari(options.dataset, options.env, options.agent, options.episodes, options.seed, **arguments)
    _report(options.dataset, written)


def _report(name: str, written: Any) -> None:
    """Print the size, the place and the reference scores of a Minari data set."""
    about = written.storage.metadata
    ends = {"random": "ref_min_score", "oracle": "ref_max_score"}
    scores = ", ".join(f"{who} {about[end]:.3f}" for who, end in ends.items() if end in about)
    count = f"{written.total_episodes:,} episodes, {written.total_steps:,} steps"
    print(f"{name}: {count}, in {written.spec.data_path}")
    print(f"reference scores: {scores}; load with minari.load_dataset({name!r})")


def add_demonstrations(commands) -> None:
    """Add the subcommand to the parser's ``commands``."""
    about = "Write episodes of an agent as conversations with pictures, for fine-tuning. Or as a Minari data set"
    parser = add_command(commands, "demonstrations", about, demonstrate)
    parser.add_argument("dataset", metavar="DATASET", help="data set to play, e.g. refscenes (vg-gym list datasets)")
    parser.add_argument("--agent", default="oracle", help="oracle (sees the target), random, or agent:NAME")
    parser.add_argument("--episodes", type=int, default=1000, metavar="N", help="number of episodes")
    parser.add_argument("--format", default="chat", choices=("chat", "minari"), help="conversations, or Minari")
    parser.add_argument("--out", required=True, help="folder of the conversations, or name of the Minari data set")
    parser.add_argument("--mistakes", type=float, metavar="P", help="chat: probability of a random move")
    parser.add_argument("--calls", help="chat: answers in words, or calls of tools")
    parser.add_argument("--frame", help="chat: frame of boxes")
    parser.add_argument("--size", type=int, metavar="PIXELS", help="chat: longer side of the pictures")
    parser.set_defaults(**CHAT_DEFAULTS)
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the episodes")
    _add_options(parser)


def demonstrate(options: argparse.Namespace) -> None:
    """Play episodes and write them.

    Raises:
        VGGymError: the data set, the agent or an option is unknown, or a package is missing.
    """
    arguments = pairs_of(options.options)
    if options.format == "minari":
        for name, default in CHAT_DEFAULTS.items():
            if getattr(options, name) != default:
                raise VGGymError(f"--{name} is for --format chat: Minari data sets hold an agent's own actions")
        from vg_gym.agents.publishing.minari_data import write_minari

        env_id = next((name for name, data in ENVIRONMENTS.items() if data == options.dataset), "RefShapes-Ground-v0")
        arguments = {**arguments, "dataset": options.dataset}
        _report(
            options.out, write_minari(options.out, env_id, options.agent, options.episodes, options.seed, **arguments)
        )
        return
    from vg_gym.agents.publishing.demonstrations import Demonstrations, write_demonstrations

    names = ("dataset", "agent", "mistakes", "calls", "frame", "size", "seed")
    what = Demonstrations(**{name: getattr(options, name) for name in names})
    totals = write_demonstrations(Path(options.out), what, options.episodes, options.line, **arguments)
    print(f"{options.out}: {', '.join(f'{name} {value:,.4g}' for name, value in totals.items())}")
    print(f"load with datasets.load_dataset({options.out!r})")


def _add_options(parser: argparse.ArgumentParser) -> None:
    about = (
        "options of the environment, e.g. action=edges dataset_options.scenes=100: the fields of EnvOptions, and "
        "split, root, clip"
    )
    parser.add_argument("options", nargs="*", metavar="OPTION=VALUE", help=about)


def env_arguments(env_id: str, pairs: list[str]) -> dict[str, Any]:
    """Return the keyword arguments for ``gymnasium.make(env_id)``.

    Raises:
        VGGymError: the id is not one of vg_gym's, or a pair is not OPTION=VALUE.
    """
    if env_id not in ENVIRONMENTS:
        raise unknown("environment", env_id, ENVIRONMENTS)
    return pairs_of(pairs)


def pairs_of(pairs: list[str]) -> dict[str, Any]:
    """Return the options of ``OPTION=VALUE`` pairs.

    Raises:
        VGGymError: a pair is not OPTION=VALUE.
    """
    for pair in pairs:
        if "=" not in pair:
            raise VGGymError(f"{pair!r} is not OPTION=VALUE, e.g. action=edges")
    return read_pairs(pairs)
