"""How every command reads its line and prints its help."""

from __future__ import annotations

import argparse
from typing import Any


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Help with the default behind every option that has one."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        none = action.default is None or action.default is False or action.default in ("", [])
        return action.help if none or "%(default)" in (action.help or "") else super()._get_help_string(action)


class Parser(argparse.ArgumentParser):
    """A parser whose help has defaults; subcommands get one of the same kind."""

    def __init__(self, **options: Any):
        super().__init__(**{"formatter_class": HelpFormatter, **options})


def add_plugins(parser: argparse.ArgumentParser) -> None:
    """Add ``--plugins``, which whoever runs the command gives to :func:`vg_gym.registry.load_plugins`."""
    about = "modules, with commas between, that register grounders, data sets or proposers; the current folder's too"
    parser.add_argument("--plugins", default="", metavar="MODULE", help=about)
