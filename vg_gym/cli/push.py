"""``vg-gym push``."""

from __future__ import annotations

import argparse


def add(commands) -> None:
    """Add the subcommand to the parser's ``commands``."""
    parser = commands.add_parser("push", help="upload a trained agent to the Hugging Face hub, with a model card")
    parser.add_argument("run", metavar="RUN", help="a run folder of train_agent.py, or a built-in agent")
    parser.add_argument("repository", metavar="ORG/NAME", help="on the hub; made where there is none")
    parser.add_argument("--private", action="store_true", help="a new repository is seen by its owner alone")
    parser.add_argument(
        "--film",
        action="store_true",
        help="show episodes on the card even where the data are no drawn scenes; then pictures of them are published",
    )
    parser.set_defaults(command=push)


def push(options: argparse.Namespace) -> None:
    """Upload the agent, and say how it is loaded."""
    from vg_gym.agents.sharing import push

    pushed = push(options.run, options.repository, options.private, options.film)
    print(f"{pushed.url}\nagent:hub:{options.repository} loads it; revision={pushed.commit} names this one for good")
