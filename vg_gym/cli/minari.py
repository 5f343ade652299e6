"""``vg-gym minari``."""

from __future__ import annotations

import argparse

from vg_gym.cli.env_options import add_options, env_arguments


def add(commands) -> None:
    """Add the subcommand to the parser's ``commands``."""
    parser = commands.add_parser("minari", help="write episodes of an agent as a Minari data set, for offline RL")
    parser.add_argument("dataset", metavar="NAME", help="name of the Minari data set, e.g. refshapes/oracle-v0")
    parser.add_argument("--env", default="RefShapes-Ground-v0", metavar="ID", help="environment (vg-gym list envs)")
    parser.add_argument("--agent", default="oracle", help="oracle (sees the target), random, or agent:NAME")
    parser.add_argument("--episodes", type=int, default=1000, metavar="N", help="number of episodes")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the episodes")
    add_options(parser)
    parser.set_defaults(command=write)


def write(options: argparse.Namespace) -> None:
    """Play episodes and write them.

    Raises:
        VGGymError: the environment or the agent is unknown, or Minari is missing or raises an error.
    """
    from vg_gym.agents.publishing.minari_data import write_minari

    arguments = env_arguments(options.env, options.options)
    written = write_minari(options.dataset, options.env, options.agent, options.episodes, options.seed, **arguments)
    about = written.storage.metadata
    ends = {"random": "ref_min_score", "oracle": "ref_max_score"}
    scores = ", ".join(f"{who} {about[end]:.3f}" for who, end in ends.items() if end in about)
    count = f"{written.total_episodes:,} episodes, {written.total_steps:,} steps"
    print(f"{options.dataset}: {count}, in {written.spec.data_path}")
    print(f"reference scores: {scores}; load with minari.load_dataset({options.dataset!r})")
