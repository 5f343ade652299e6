"""Documentation of options, read from dataclasses for ``--help`` and for the tables of the pages."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from dataclasses import MISSING, dataclass, fields, is_dataclass
from itertools import pairwise
from typing import Any, cast, get_args

from vg_gym.config import Range, annotations_of, packaged_configs


@dataclass(frozen=True)
class Option:
    """Documentation of one field of a dataclass of options."""

    name: str
    """Name with the names of the enclosing fields: ``clone.minutes``."""
    default: Any
    """Default; None for an option without one."""
    allowed: str
    """Range of a number in words, or empty."""
    about: str
    """Docstring of the field on one line, with code between double backticks."""


def options_in(schema: type, prefix: str = "") -> list[Option]:
    """Return every option of a dataclass.

    Args:
        schema: the dataclass; nested dataclasses are included.
        prefix: prefix of the names, e.g. ``clone.``.
    """
    about, options = _written_docs(schema), []
    for f in fields(schema):
        default = f.default if f.default is not MISSING else f.default_factory() if callable(f.default_factory) else ""
        if is_dataclass(default):
            options += options_in(type(default), f"{prefix}{f.name}.")
        else:
            options.append(
                Option(prefix + f.name, default, _range_in(annotations_of(schema)[f.name]), about.get(f.name, ""))
            )
    return options


def _range_in(hint: Any) -> str:
    """Return the range in a type, or in a part of it (``PositiveInt | None``), in words; empty without one."""
    return str(hint) if isinstance(hint, Range) else next(filter(None, map(_range_in, get_args(hint))), "")


def training_help(schema: type) -> str:
    """Return the text of ``--help`` of a training: its options and the configurations of the package."""
    packaged = textwrap.fill(", ".join(packaged_configs(schema)), 100)
    return (
        f"{_plain(inspect.getdoc(schema) or '')}\n\n"
        "usage: [CONFIG ...] [OPTION=VALUE ...]; later arguments override earlier ones\n\n"
        f"configs: YAML files, or by name\n{textwrap.indent(packaged, '  ')}\n\noptions:\n{described(schema)}"
    )


def described(schema: type) -> str:
    """Describe every option of a dataclass for ``--help``: its name, default, range and docstring."""
    lines = []
    for option in options_in(schema):
        default = "" if option.default is None else option.default
        bounds = f"   ({option.allowed})" if option.allowed else ""
        words = textwrap.indent(textwrap.fill(_plain(option.about), 100), "        ")
        lines.append(f"  {option.name}={default}{bounds}\n{words}")
    return "\n".join(lines)


def field_docs(schema: type) -> dict[str, str]:
    """Return the docstring of each field on one line, by the field's name; a class overrides its bases."""
    return {name: _plain(text) for name, text in _written_docs(schema).items()}


def _plain(text: str) -> str:
    """Return a docstring's text without backticks, Sphinx roles and references in parentheses.

    >>> _plain("a key of :data:`~vg_gym.registry.GROUNDERS` (:mod:`vg_gym.registry`), or ``none``")
    'a key of vg_gym.registry.GROUNDERS, or none'
    """
    text = re.sub(r"\s*\(:\w+:`[^`]+`\)", "", text)
    return re.sub(r":\w+:`~?([^`]+)`", r"\1", text).replace("``", "")


def _written_docs(schema: type) -> dict[str, str]:
    """Return :func:`field_docs` with backticks, from the source, since Python does not keep docstrings of fields."""
    docs: dict[str, str] = {}
    for owner in filter(is_dataclass, reversed(schema.__mro__)):
        body = cast(ast.ClassDef, ast.parse(textwrap.dedent(inspect.getsource(owner))).body[0]).body
        for field, text in pairwise(body):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
                    docs[field.target.id] = " ".join(str(text.value.value).split())
    return docs
