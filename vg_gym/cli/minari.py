"""``vg-gym minari``."""

from __future__ import annotations

import argparse

from vg_gym.cli.env_options import add_options, env_arguments


def add(commands) -> None:
    """Add the subcommand to the parser's ``commands``."""
    parser = commands.add_parser("minari", help="write episodes of an agent as a Minari data set, for offline RL")
    parser.add_argument("dataset", metavar="NAME", help="of the Minari data set, e.g. refshapes/oracle-v0")
    parser.add_argument("--env", default="RefShapes-Ground-v0", metavar="ID", help="the environment (vg-gym list envs)")
    parser.add_argument("--agent", default="oracle", help="oracle (sees the target), random, or agent:NAME")
    parser.add_argument("--episodes", type=int, default=1000, metavar="N", help="how many")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the episodes")
    add_options(parser)
    parser.set_defaults(command=write)


def write(options: argparse.Namespace) -> None:
    """Play and write.

    Raises:
        VGGymError: the environment or the agent is unknown, or Minari is missing or refuses.
    """
    from vg_gym.agents.minari_data import write_minari

    given = env_arguments(options.env, options.options)
    found = write_minari(options.dataset, options.env, options.agent, options.episodes, options.seed, **given)
    about = found.storage.metadata
    ends = {"random": "ref_min_score", "oracle": "ref_max_score"}
    told = ", ".join(f"{who} {about[end]:.3f}" for who, end in ends.items() if end in about)
    count = f"{found.total_episodes:,} episodes, {found.total_steps:,} steps"
    print(f"{options.dataset}: {count}, in {found.spec.data_path}")
    print(f"reference scores: {told}; load with minari.load_dataset({options.dataset!r})")
