"""Configurations: a dataclass with documented fields, a YAML file, and ``key=value`` from the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from vg_gym.errors import VGGymError, unknown
from vg_gym.storage.files import write_text

T = TypeVar("T")


def load_config(schema: type[T], arguments: Sequence[str]) -> T:
    """Build ``schema`` from its defaults, then YAML files, then ``key=value`` pairs, in the order given.

    Args:
        schema: a dataclass; its fields are the known keys and their types are checked. ``RENAMED``, where it has that,
            maps old keys to new ones for the error.
        arguments: paths of YAML files and ``key=value`` (nested: ``a.b=value``) strings.

    Raises:
        VGGymError: a file is missing, a key unknown, or a value of the wrong type.
    """
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


def _read(path: str):
    if not Path(path).is_file():
        raise VGGymError(f"no config file {path!r}; give a YAML file or key=value")
    return OmegaConf.load(path)


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
            raise unknown("option", name, known)
    try:
        return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), dict(options)))  # type: ignore
    except OmegaConfBaseException as error:
        raise VGGymError(f"option {error.full_key!r}: {str(error).splitlines()[0]}") from error


def save_config(config: object, path: Path) -> None:
    """Write a config dataclass as YAML, by way of a temporary name."""
    write_text(path, OmegaConf.to_yaml(OmegaConf.structured(config)))
