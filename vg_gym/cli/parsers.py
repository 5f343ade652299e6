"""Parsers and help of all commands."""

from __future__ import annotations

import argparse
import re
import textwrap
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any, NoReturn

DEBUG_HELP = "--debug after any command shows the traceback of an error."
"""Last line of the help."""


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Formatter that adds its default to the help of every option that has one."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        none = action.default is None or action.default is False or action.default in ("", [])
        return action.help if none or "%(default)" in (action.help or "") else super()._get_help_string(action)


class Parser(argparse.ArgumentParser):
    """Parser whose help shows defaults, and whose errors are one line; its subcommands have the same kind of parser."""

    def __init__(self, **options: Any):
        super().__init__(**{"formatter_class": HelpFormatter, **options})

    def error(self, message: str) -> NoReturn:
        """Print an error on one line, with the nearest known word and the command that shows the help, and exit."""
        self.exit(2, f"{self.prog}: error: {message}{self._nearest(message)}; {self.prog} --help shows all\n")

    def _nearest(self, message: str) -> str:
        """Return the question whether a known flag or choice is meant; empty without a similar one."""
        if choice := re.search(r"invalid choice: '?(.+?)'? \(choose from (.*)\)", message):
            word, known = choice[1], re.findall(r"[\w+.-]+", choice[2])
        else:
            flag = re.search(r"unrecognized arguments:.*?(--[\w-]+)", message)
            word, known = flag[1] if flag else "", list(self._option_string_actions)
        near = get_close_matches(word, known, n=1)
        return f"; did you mean {near[0]}?" if near else ""


def add_command(commands: Any, name: str, about: str, command: Callable[[argparse.Namespace], object]) -> Parser:
    """Add a subcommand, and return its parser.

    Args:
        commands: subcommands of a parser.
        name: name of the subcommand.
        about: its description, of which the list of subcommands shows the first sentence.
        command: function that runs it with the parsed options.
    """
    short = about.partition(". ")[0]
    description = textwrap.fill(f"{about.rstrip('.')}.", 100)
    parser = commands.add_parser(name, help=f"{short[0].lower()}{short[1:]}", description=description)
    parser.set_defaults(command=command, parser=parser)
    return parser


def add_plugins(parser: argparse.ArgumentParser) -> None:
    """Add ``--plugins``; the command passes its value to :func:`vg_gym.registry.load_plugins`."""
    about = "comma-separated modules that register grounders, data sets or proposers; also from the current folder"
    parser.add_argument("--plugins", default="", metavar="MODULE", help=about)
