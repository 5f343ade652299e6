"""An environment and its options on the command line: ``ID OPTION=VALUE ...``."""

from __future__ import annotations

import argparse
from typing import Any

from omegaconf import OmegaConf

from vg_gym import ENVIRONMENTS
from vg_gym.config import read_pairs
from vg_gym.errors import VGGymError, unknown


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the positional ``OPTION=VALUE`` to a parser."""
    about = (
        "options of the environment, e.g. action=edges dataset_options.scenes=100 (fields of EnvOptions, split, root, "
        "clip)"
    )
    parser.add_argument("options", nargs="*", metavar="OPTION=VALUE", help=about)


def env_arguments(env_id: str, pairs: list[str]) -> dict[str, Any]:
    """Return the keyword arguments for ``gymnasium.make(env_id)``.

    Raises:
        VGGymError: the id is not one of vg_gym's, or a pair is not OPTION=VALUE.
    """
    if env_id not in ENVIRONMENTS:
        raise unknown("environment", env_id, ENVIRONMENTS)
    for pair in pairs:
        if "=" not in pair:
            raise VGGymError(f"{pair!r} is not OPTION=VALUE, e.g. action=edges")
    arguments: Any = OmegaConf.to_container(read_pairs(pairs))
    return arguments
