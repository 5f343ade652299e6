"""Docstrings as Markdown: an extension of griffe, which reads the package for the site."""

import re
from typing import Any

import griffe

ROLE = re.compile(r":(?:mod|class|func|data|meth|attr):`~?([^`]+)`")
"""A reference as Sphinx has it."""
DOCTEST = re.compile(r"^( *)>>> .*(?:\n\1\S.*)*", re.MULTILINE)
"""Examples, up to an empty line."""


class Docstrings(griffe.Extension):
    """Show references and examples as code."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of an object, where it has one."""
        if obj.docstring:
            text = ROLE.sub(r"`\1`", obj.docstring.value)
            obj.docstring.value = DOCTEST.sub(_fenced, text)


def _fenced(found: re.Match[str]) -> str:
    return f"{found[1]}```pycon\n{found[0]}\n{found[1]}```"
