"""Hooks of MkDocs."""

import re

ROLE = re.compile(r":(?:mod|class|func|data|meth|attr):<code>~?([^<]*)</code>")
"""A reference of Sphinx, as docstrings have them, once Markdown has read it."""


def on_page_content(html: str, **_) -> str:
    """Show references as code."""
    return ROLE.sub(r"<code>\1</code>", html)
