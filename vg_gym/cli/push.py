"""``vg-gym push``."""

from __future__ import annotations

import argparse


def add(commands) -> None:
    """Add the subcommand to the parser's ``commands``."""
    parser = commands.add_parser("push", help="upload a trained agent to the Hugging Face hub, with a model card")
    parser.add_argument("run", metavar="RUN", help="run folder of train_agent.py, or a built-in agent")
    parser.add_argument("repository", metavar="ORG/NAME", help="repository on the hub, created if it does not exist")
    parser.add_argument("--private", action="store_true", help="create a private repository")
    parser.add_argument(
        "--film",
        action="store_true",
        help="show episodes on the card even of data other than drawn scenes; this publishes pictures of the data",
    )
    parser.set_defaults(command=push)


def push(options: argparse.Namespace) -> None:
    """Upload the agent and print its name for loading."""
    from vg_gym.agents.publishing.sharing import push

    pushed = push(options.run, options.repository, options.private, options.film)
    print(f"{pushed.url}\nagent:hub:{options.repository} loads it; revision={pushed.commit} always means this version")
