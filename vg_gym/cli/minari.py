"""``vg-gym minari``."""

from __future__ import annotations

import argparse
from typing import Any

from omegaconf import OmegaConf

from vg_gym import ENVIRONMENTS
from vg_gym.errors import unknown


def add(commands) -> None:
    """Add the subcommand to the parser's ``commands``."""
    parser = commands.add_parser("minari", help="write episodes of an agent as a Minari data set, for offline RL")
    parser.add_argument("dataset", metavar="NAME", help="of the Minari data set, e.g. refshapes/oracle-v0")
    parser.add_argument("options", nargs="*", metavar="OPTION=VALUE", help="of the environment, e.g. reward=iou")
    parser.add_argument("--env", default="RefShapes-Ground-v0", metavar="ID", help="the environment (vg-gym list envs)")
    parser.add_argument("--agent", default="oracle", help="oracle (sees the target), random, or agent:NAME")
    parser.add_argument("--episodes", type=int, default=1000, metavar="N", help="how many")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the episodes")
    parser.set_defaults(command=write)


def write(options: argparse.Namespace) -> None:
    """Play and write.

    Raises:
        VGGymError: the environment or the agent is unknown, or Minari is missing or refuses.
    """
    from vg_gym.agents.minari_data import write_minari

    if options.env not in ENVIRONMENTS:
        raise unknown("environment", options.env, ENVIRONMENTS)
    given: Any = OmegaConf.to_container(OmegaConf.from_dotlist(options.options))
    found = write_minari(options.dataset, options.env, options.agent, options.episodes, options.seed, **given)
    low, high = (found.storage.metadata[f"ref_{end}_score"] for end in ("min", "max"))
    print(
        f"{options.dataset}: {found.total_episodes:,} episodes, {found.total_steps:,} steps, in {found.spec.data_path}"
    )
    print(f"reference scores: random {low:.3f}, oracle {high:.3f}; load with minari.load_dataset({options.dataset!r})")
