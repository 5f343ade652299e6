"""Extension of griffe, which reads the package for the site, that turns docstrings into Markdown."""

import re
from typing import Any

import griffe

ROLE = re.compile(r":(?:mod|class|func|data|meth|attr):`~?([^`]+)`")
"""Pattern of a Sphinx reference."""
DOCTEST = re.compile(r"^( *)>>> .*(?:\n\1\S.*)*", re.MULTILINE)
"""Pattern of an example, which ends at an empty line."""


class Docstrings(griffe.Extension):
    """Show references and examples as code."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of an object if it has one."""
        if obj.docstring:
            text = ROLE.sub(r"`\1`", obj.docstring.value)
            obj.docstring.value = DOCTEST.sub(_fenced, text)


def _fenced(found: re.Match[str]) -> str:
    return f"{found[1]}```pycon\n{found[0]}\n{found[1]}```"
