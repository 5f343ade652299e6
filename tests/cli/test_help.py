"""Every command tells every option and its default."""

import argparse
import re

import pytest

from tests.test_registry import EXTRAS
from vg_gym.cli import evaluate
from vg_gym.cli.entry import _parser
from vg_gym.registry import GROUNDERS, PROPOSERS
from vg_gym.registry.checks import PACKAGES


def commands(parser, name=()):
    """Every command and its parser."""
    nested = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    for action in nested:
        for word, inner in action.choices.items():
            yield from commands(inner, (*name, word))
    if not nested:
        yield " ".join(name), parser


PARSERS = {name: parser for name, parser in commands(_parser()) if not name.startswith("train")}
PARSERS["evaluate"] = evaluate._parser()  # the command passes its line on to this one


@pytest.mark.parametrize("name", PARSERS)
def test_every_option_is_told_with_its_default(name):
    parser = PARSERS[name]
    said = re.sub(r"\s+", "", parser.format_help())
    for action in parser._actions:
        assert action.help, action
        if action.option_strings and action.default not in (None, False, "", [], argparse.SUPPRESS):
            assert f"(default:{action.default})" in said, action
    assert "Splitonwhichfittedmethodsarefitted.(default:train)" in said or name != "evaluate"


def test_the_packages_of_an_extra_are_known_where_an_extra_is_named():
    named = {spec.extra for spec in (*GROUNDERS.values(), *PROPOSERS.values())} - {""}
    assert named <= PACKAGES.keys() <= set(EXTRAS["options.extras_require"])
