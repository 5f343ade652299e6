"""Configurations: a dataclass with documented fields, a YAML file, and ``key=value`` from the command line."""

from __future__ import annotations

import ast
import difflib
import inspect
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar, cast

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from vg_gym.errors import UnknownName, VGGymError, unknown
from vg_gym.storage.files import write_text

T = TypeVar("T")
CONFIGS = Path(__file__).parent / "configs"
"""The configurations that come with the package."""


def load_config(schema: type[T], arguments: Sequence[str]) -> T:
    """Build ``schema`` from its defaults, then YAML files, then ``key=value`` pairs, in the order given.

    Args:
        schema: a dataclass; its fields are the known keys and their types are checked. ``RENAMED``, where it has that,
            maps old keys to new ones for the error.
        arguments: paths of YAML files, names of those that come with the package (``mdetr_refshapes``), and
            ``key=value`` (nested: ``a.b=value``) strings; ``--help`` prints every option instead.

    Raises:
        VGGymError: a file is missing, a key unknown, or a value of the wrong type.
        SystemExit: help was asked for.
    """
    if {"-h", "--help"} & set(arguments):
        print(described(schema))
        sys.exit(0)
    config = OmegaConf.structured(schema)
    for argument in arguments:
        try:
            if "=" in argument:
                config = OmegaConf.merge(config, OmegaConf.from_dotlist([argument]))
            else:
                config = OmegaConf.merge(config, _read(argument))
        except OmegaConfBaseException as error:
            raise VGGymError(_explain(schema, argument, error)) from error
    return OmegaConf.to_object(config)  # type: ignore[return-value]


def described(schema: type, prefix: str = "") -> str:
    """Every option of a dataclass: its name, its default, and what its docstring says of it.

    Args:
        schema: the dataclass; those in its fields are described too.
        prefix: what stands before the names, e.g. ``clone.``.
    """
    about, lines = _docstrings(schema), []
    for f in fields(schema):
        default = f.default if f.default is not MISSING else f.default_factory() if callable(f.default_factory) else ""
        if is_dataclass(default):
            lines.append(described(type(default), f"{prefix}{f.name}."))
            continue
        words = " ".join(about.get(f.name, "").replace("``", "").split())
        shown = "" if default is None else default
        lines.append(f"  {prefix}{f.name}={shown}\n" + textwrap.indent(textwrap.fill(words, 100), "        "))
    return "\n".join(lines)


def _docstrings(schema: type) -> dict[str, str]:
    """The string below each field, by the field's name; those of the class itself before those of its bases."""
    found: dict[str, str] = {}
    for owner in reversed(schema.__mro__):
        if not is_dataclass(owner):
            continue
        body = cast(ast.ClassDef, ast.parse(textwrap.dedent(inspect.getsource(owner))).body[0]).body
        for field, text in pairwise(body):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
                    found[field.target.id] = str(text.value.value)
    return found


def _read(path: str):
    """A YAML file, or one of the package's by name."""
    packaged = {file.stem: file for file in CONFIGS.glob("*.yaml")}
    if Path(path).is_file():
        return OmegaConf.load(path)
    if path in packaged:
        return OmegaConf.load(packaged[path])
    near = difflib.get_close_matches(Path(path).stem, packaged, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise VGGymError(
        f"no config file {path!r}; {hint}give a YAML file, key=value, or one of: {', '.join(sorted(packaged))}"
    )


def _explain(schema: type, argument: str, error: OmegaConfBaseException) -> str:
    key = str(getattr(error, "full_key", None) or argument.partition("=")[0])
    known = [f.name for f in fields(schema)]  # type: ignore[arg-type]
    renamed = getattr(schema, "RENAMED", {})
    if key in renamed:
        return f"option {key!r} is called {renamed[key]!r} now"
    if key.split(".")[0] not in known:
        return str(unknown("option", key, known))
    return f"option {key!r} in {argument!r}: {str(error).splitlines()[0]}"


def options_from(schema: type[T], options: Mapping[str, Any]) -> T:
    """Build a dataclass of plain fields from keyword options.

    Raises:
        VGGymError: an option is not a field, or is of the wrong type.
    """
    known = [f.name for f in fields(schema)]  # type: ignore[arg-type]
    for name in options:
        if name not in known:
            # TorchRL, for one, tries an argument and reads from Python's words that there is none of this name.
            raise UnknownName(f"{unknown('option', name, known)} (unexpected keyword argument {name!r})")
    try:
        return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), dict(options)))  # type: ignore
    except OmegaConfBaseException as error:
        raise VGGymError(f"option {error.full_key!r}: {str(error).splitlines()[0]}") from error


def save_config(config: object, path: Path) -> None:
    """Write a config dataclass as YAML, by way of a temporary name."""
    write_text(path, OmegaConf.to_yaml(OmegaConf.structured(config)))
