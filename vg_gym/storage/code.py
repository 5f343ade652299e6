"""Hashes of source code that do not depend on how it is documented."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path

from vg_gym.storage.files import fingerprint


def code_fingerprint(files: Iterable[Path], *parts: object) -> str:
    """Return a hash of the statements of Python files and of other values; docstrings and comments do not count.

    Args:
        files: files of Python source code, in any order.
        *parts: other values, hashed as :func:`~vg_gym.storage.files.fingerprint` does.
    """
    return fingerprint(*(statements(file.read_text(encoding="utf-8")) for file in sorted(files)), *parts)


def statements(source: str) -> str:
    """Return source code without comments, docstrings and other bare strings.

    >>> statements("width = 3  # pixels")
    'width = 3'
    """
    return ast.unparse(_WithoutBareStrings().visit(ast.parse(source)))


class _WithoutBareStrings(ast.NodeTransformer):
    """Removes statements that are only a string."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:  # noqa: N802
        bare = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if bare else node
