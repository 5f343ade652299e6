"""``vg-gym demo``."""

from __future__ import annotations

import argparse

from vg_gym.cli.listing import ready_grounders
from vg_gym.cli.parsers import add_command, add_plugins
from vg_gym.errors import importing
from vg_gym.registry import grounder_spec, load_plugins


def add(commands) -> None:
    """Add the subcommand to the parser's ``commands``."""
    about = "Open a web page that shows the answers of methods for a picture and a sentence"
    parser = add_command(commands, "demo", about, demo)
    parser.add_argument(
        "--methods",
        default="",
        metavar="NAMES",
        help="comma-separated grounders to offer beside those that are ready (vg-gym list grounders), "
        "e.g. agent:runs/latest,grounding-dino",
    )
    about = "CLIP of methods that need one; default: refshapes if it knows all words, otherwise ViT-B-32:openai"
    parser.add_argument("--clip", metavar="NAME", help=about)
    about = "initial value of the field for the score below which nothing fits; empty without it"
    parser.add_argument("--nothing-below", type=float, metavar="SCORE", help=about)
    about = "address of the server; 0.0.0.0 admits other machines"
    parser.add_argument("--host", default="127.0.0.1", help=about)
    parser.add_argument("--port", type=int, metavar="N", help="port; default: the first free one from 7860")
    add_plugins(parser)


def demo(options: argparse.Namespace) -> None:
    """Serve the page until Ctrl-C.

    Raises:
        VGGymError: Gradio is not installed, a method is unknown, or the port is in use.
    """
    load_plugins(options.plugins)
    extra_methods = [name for name in options.methods.split(",") if name]
    for name in extra_methods:
        grounder_spec(name)
    with importing("vg-gym demo", "gradio", "demo"):
        import gradio  # noqa: F401

    from vg_gym.pictures.demo_page import serve
    from vg_gym.pictures.ground import DRAWN

    methods = dict.fromkeys([*extra_methods, DRAWN[0], *ready_grounders()])
    serve(list(methods), options.host, options.port, options.clip, options.nothing_below)
