"""``vg-gym play``."""

from __future__ import annotations

import argparse
from typing import Any

import gymnasium
from omegaconf import OmegaConf

from vg_gym import ENVIRONMENTS
from vg_gym.errors import VGGymError, unknown

FOR_PEOPLE = {"min_steps": 1, "max_steps": 60, "image_pool": 0}
"""Options that differ from the environment's defaults, as people look before they act."""


def add(commands) -> None:
    """Add the subcommand to the parser's ``commands``."""
    parser = commands.add_parser("play", help="move the box yourself, with the keyboard")
    parser.add_argument("env", metavar="ID", help="an environment, e.g. RefShapes-Ground-v0 (vg-gym list envs)")
    parser.add_argument(
        "options", nargs="*", metavar="OPTION=VALUE", help="seed=N, or of the environment, e.g. action=classic"
    )
    parser.set_defaults(command=play)


def play(options: argparse.Namespace) -> None:
    """Open a window and play until it is closed; each episode's result is printed.

    Raises:
        VGGymError: the environment is unknown, pygame is missing, or there is no display.
    """
    if options.env not in ENVIRONMENTS:
        raise unknown("environment", options.env, ENVIRONMENTS)
    try:
        import pygame
        from gymnasium.utils.play import play as play_env
    except (ImportError, gymnasium.error.DependencyNotInstalled) as error:
        raise VGGymError('a window needs pygame: pip install "vg_gym[play]"') from error
    given: Any = OmegaConf.to_container(OmegaConf.from_dotlist(options.options))
    seed = given.pop("seed", None)
    env = gymnasium.make(options.env, render_mode="rgb_array", **{**FOR_PEOPLE, **given})
    grounding: Any = env.unwrapped
    grounding.show_target = False
    print(grounding.key_help())
    try:
        play_env(env, callback=_report, seed=seed, wait_on_player=True)
    except pygame.error as error:
        raise VGGymError(f"no window can be opened ({error}): play needs a display") from error
    finally:
        env.close()


def _report(before, after, action, reward, terminated, truncated, info) -> None:
    if terminated or truncated:
        iou = f"  IoU {info['iou']:.2f}" if "iou" in info else ""
        print(f"score {info['clip_score']:.2f}{iou}  {'hit' if info.get('is_success') else 'over'}", flush=True)
