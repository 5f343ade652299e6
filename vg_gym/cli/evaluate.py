"""``evaluate.py`` and ``vg-gym evaluate``."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from dataclasses import MISSING, fields
from typing import TYPE_CHECKING

from vg_gym.cli.option_docs import field_docs
from vg_gym.cli.parsers import DEBUG_HELP, Parser, add_plugins
from vg_gym.data.rows import FORMATS
from vg_gym.frames import FRAMES
from vg_gym.registry import load_plugins
from vg_gym.runtime.runners import RUNNERS

if TYPE_CHECKING:
    from vg_gym.evaluation.comparison import Comparison

ABOUT = "compare methods under one evaluator"
METAVARS = {
    "methods": "NAME[,NAME]", "out": "FOLDER", "dataset": "NAME", "root": "FOLDER", "limit": "N",
    "refine": "NAME[,NAME]", "iterate": "N",
    "api_base": "URL", "api_concurrency": "N", "predictions": "FILE", "recorded": "FILE.json", "workers": "N",
}  # fmt: skip
"""Option -> placeholder of its value in the help."""
NO_FLAGS = ("options", "dataset_options", "command")
"""Fields of ``Comparison`` without a flag of their own."""


def add(commands) -> None:
    """Add the subcommand to the parser's ``commands``; :func:`main` parses its arguments, including ``--help``.

    Its options are fields of a class that imports torch and CLIP; the other commands start without these imports.
    """
    commands.add_parser("evaluate", help=ABOUT, add_help=False)


def subcommand(arguments: Sequence[str]) -> None:
    """Run ``vg-gym evaluate``."""
    main(f"{ABOUT.capitalize()}.", arguments, "vg-gym evaluate")


def main(usage: str | None = None, arguments: Sequence[str] | None = None, program: str | None = None) -> None:
    """Parse the command line and run the comparison.

    Args:
        usage: text above the options in ``--help``.
        arguments: arguments of the command; by default those of the command line.
        program: name of the command; by default the running script.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    typed = shlex.join([*(shlex.split(program) if program else ("python", sys.argv[0])), *arguments])
    _compare(_parser(usage, program).parse_args(arguments), typed)


def _compare(arguments: argparse.Namespace, command: str) -> None:
    from vg_gym.evaluation.comparison import Comparison
    from vg_gym.evaluation.methods import DATASET, method_options

    load_plugins(arguments.plugins)
    options = method_options(arguments.options)
    values = {f.name: getattr(arguments, f.name) for f in fields(Comparison) if hasattr(arguments, f.name)}
    values["methods"] = [name.strip() for name in arguments.methods.split(",") if name.strip()]
    values["dataset_options"] = options.pop(DATASET, {})
    Comparison(**{**values, "options": options, "command": command}).run()


def command_of(comparison: Comparison, plugins: str = "") -> str:
    """Return the command line that starts or resumes a comparison.

    Args:
        comparison: the comparison.
        plugins: modules that it needs, separated by commas.
    """
    words = ["vg-gym", "evaluate", "--methods", ",".join(comparison.methods)]
    for f in fields(comparison):
        value = getattr(comparison, f.name)
        if f.name not in NO_FLAGS and f.name not in ("methods", "fresh") and value != f.default:
            flag = f"--{f.name.replace('_', '-')}"
            words += [flag] if value is True else [flag, str(value)]
    words += ["--plugins", plugins] if plugins else []
    owned = {**comparison.options, "dataset_options": comparison.dataset_options}
    pairs = [(f"{owner}.{key}", value) for owner, options in owned.items() for key, value in options.items()]
    words += [f"{name}={'null' if value is None else value}" for name, value in pairs]
    return shlex.join(words)


def _parser(usage: str | None = None, program: str | None = None) -> argparse.ArgumentParser:
    """Return a parser with an option for each field of ``Comparison``, with its docstring and default."""
    from vg_gym.evaluation.comparison import Comparison

    parser, docs = Parser(prog=program, description=usage, epilog=DEBUG_HELP), field_docs(Comparison)
    for f in fields(Comparison):
        flag, about = f"--{f.name.replace('_', '-')}", docs[f.name].replace("%", "%%")
        if f.name in NO_FLAGS:
            continue
        if f.default is False:
            parser.add_argument(flag, action="store_true", help=about)
            continue
        parser.add_argument(
            flag,
            type=int if "int" in str(f.type) else str,
            default="" if f.default is MISSING else f.default,
            required=f.name == "out",
            choices={"runner": RUNNERS, "frame": FRAMES, "box_format": FORMATS}.get(f.name),
            metavar=METAVARS.get(f.name),
            help=about,
        )
    add_plugins(parser)
    parser.add_argument(
        "options",
        nargs="*",
        metavar="METHOD.KEY=VALUE",
        help="Option of a method, e.g. clip-window.score=cosine. Several numbers, e.g. diffusion.steps=1,2,4, give one "
        "row each: diffusion[steps=1]. dataset_options.KEY=VALUE is an option of the evaluated split, e.g. the seed of "
        "RefShapes.",
    )
    return parser
