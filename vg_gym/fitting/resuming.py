"""Options of a resumed run: those of its start, overridden by the command line where that is allowed."""

from __future__ import annotations

import os
import shlex
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

from vg_gym.config import is_pair, leaves, load_config, options_from, read_yaml
from vg_gym.errors import VGGymError
from vg_gym.fitting.origin import started_in
from vg_gym.registry import DatasetSpec, GrounderSpec, refuse_code
from vg_gym.storage.run_folder import CONFIG

NOT_COMPARED = ("out", "resume", "fresh")
"""Options of the folder of a run, which may differ."""
PATHS = ("root", "dataset", "clip", "init_from", "features")
"""Options that may be a path; relative paths refer to the folder in which the run was started."""
MAX_LISTED_OPTIONS = 4
"""Maximum number of options that a message lists."""


class RunOptions(Protocol):
    """Options that all trainings share."""

    TRAINS: ClassVar[str]
    """Name of the training in ``vg-gym train TRAINS``; empty for a training without a command."""
    MAY_CHANGE: ClassVar[tuple[str, ...]]
    """Options that a resumed run may change."""
    RENAMED: ClassVar[dict[str, str]]
    """Names of options in earlier versions and their present names."""
    resume: bool
    """Resume the run in the folder."""
    fresh: bool
    """Delete the results in the folder."""
    out: str
    """Folder as the user typed it."""

    def completed(self) -> Any:
        """Return the options, with defaults that depend on other options filled in."""
        ...

    def folder(self) -> Path:
        """Return the folder of the run."""
        ...


Options = TypeVar("Options", bound=RunOptions)


def resumed(schema: type[Options], arguments: Sequence[str]) -> Options:
    """Return the options of a run in its folder, overridden by ``key=value`` arguments.

    Differing values in a configuration file are ignored with a warning.

    Args:
        schema: dataclass of the options.
        arguments: arguments for :func:`vg_gym.config.load_config`, with ``resume=true`` among them.

    Raises:
        VGGymError: the folder holds no run to resume, or its options cannot be read.
    """
    requested: Any = load_config(schema, arguments)
    folder = requested.completed().folder()
    pairs = [argument for argument in arguments if is_pair(argument)]
    files = [argument for argument in arguments if not is_pair(argument)]
    begun = options_of_run(schema, folder, pairs)
    if files:
        _warn_of_files(folder, begun, options_of_run(schema, folder, [*files, *pairs]), " ".join(files))
    options: Any = replace(begun, resume=True, fresh=requested.fresh, out=str(folder))  # type: ignore[type-var]
    return _relocated(options, started_in(folder))


def options_of_run(schema: type[Options], folder: Path, arguments: Sequence[str] = ()) -> Options:
    """Return the options with which a run was started.

    Args:
        schema: dataclass of the options.
        folder: folder of the run.
        arguments: files and ``key=value`` that override them.

    Raises:
        VGGymError: the config of the run is missing, damaged, or of another kind of training.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise VGGymError(f"nothing to resume: no {path}; leave resume out, or name the run with out={_others(folder)}")
    try:
        options = {schema.RENAMED.get(str(name), str(name)): value for name, value in read_yaml(path).items()}
        begun = options_from(schema, options)
        _check_whole(schema, options)
    except VGGymError as error:
        raise VGGymError(
            f"{path} is damaged or of another training, so the run cannot resume ({error}); name another run with out="
        ) from error
    return load_config(schema, arguments, begun).completed()


def _check_whole(schema: Any, options: Mapping[str, Any]) -> None:
    """Reject a config that lacks options, such as a truncated file, because the defaults may differ from the run's."""
    lacking = [field.name for field in fields(schema) if field.name not in options]
    if lacking:
        more = " and more" if len(lacking) > MAX_LISTED_OPTIONS else ""
        raise VGGymError(f"it lacks {', '.join(lacking[:MAX_LISTED_OPTIONS])}{more}: add their values")


def check_options(config: RunOptions) -> list[str]:
    """Reject options that a resumed run may not change; return a message for each that changes.

    Raises:
        VGGymError: an option that is not in ``MAY_CHANGE`` differs from the run's.
    """
    folder = config.folder()
    changed = differences(options_of_run(type(config), folder), config, started_in(folder))
    fixed = {name: pair for name, pair in changed.items() if name.split(".")[0] not in config.MAY_CHANGE}
    if fixed:
        raise VGGymError(
            f"{_listed(fixed, 'here', f'in {folder / CONFIG}')}: a run resumes with the options of its start; omit "
            f"this, or train another model with out=FOLDER (a resumed run may change {', '.join(config.MAY_CHANGE)})"
        )
    return [f"{folder}: {name} changes from {_as_text(old)} to {_as_text(new)}" for name, (old, new) in changed.items()]


def differences(begun: Any, now: Any, place: Path | None) -> dict[str, tuple[Any, Any]]:
    """Return the options that differ, as name -> (before, now).

    Args:
        begun: options of a run.
        now: options to compare.
        place: folder in which the run was started; None: the current one.
    """
    before, after = dict(leaves(asdict(begun))), dict(leaves(asdict(now)))
    names = [name for name in {**before, **after} if name not in NOT_COMPARED]
    pairs = {name: (before.get(name), after.get(name)) for name in names}
    return {
        name: (old, new)
        for name, (old, new) in pairs.items()
        if old != new and not (name in PATHS and _located(old, place) == _located(new, None))
    }


def command_to_resume(config: RunOptions, processes: int = 1) -> str:
    """Return the command that resumes a run.

    The command contains the modules in the options, because modules in a file are never imported.

    Args:
        config: options of the run.
        processes: number of processes that train together.
    """
    words = ["vg-gym", "train", config.TRAINS] if config.TRAINS else []
    if words and processes > 1:
        words = ["accelerate", "launch", "--num_processes", str(processes), "-m", "vg_gym.cli", *words[1:]]
    code = [
        f"{name}={getattr(config, name)}" for name in ("plugins", "dataset", "initial_box") if _is_code(config, name)
    ]
    return shlex.join([*words, *code, "resume=true", f"out={config.folder()}"])


def _is_code(config: Any, name: str) -> bool:
    value = getattr(config, name, "")
    if name == "plugins":
        return bool(value)
    kind = DatasetSpec if name == "dataset" else GrounderSpec
    try:
        for part in value.split(","):
            refuse_code(kind, part.strip(), "", "")
    except VGGymError:
        return True
    return False


def _warn_of_files(folder: Path, begun: Any, requested: Any, files: str) -> None:
    differing = differences(begun, requested, started_in(folder))
    if differing:
        text = _listed({name: (new, old) for name, (old, new) in differing.items()}, "in the run", f"in {files}")
        warnings.warn(f"{text}: the run keeps its own; type OPTION=VALUE to change those that may change", stacklevel=3)


def _listed(changed: dict[str, tuple[Any, Any]], now: str, before: str) -> str:
    texts = [f"{name} is {_as_text(new)} {now} and {_as_text(old)} {before}" for name, (old, new) in changed.items()]
    more = len(texts) - MAX_LISTED_OPTIONS
    return "; ".join(texts[:MAX_LISTED_OPTIONS]) + (f", and {more} more options differ" if more > 0 else "")


def _as_text(value: Any) -> str:
    return "none" if value in (None, "") else str(value).lower() if isinstance(value, bool) else str(value)


def _located(value: Any, place: Path | None) -> Any:
    """Return the absolute form of an existing path; return other values unchanged."""
    if not isinstance(value, str) or not value:
        return value
    kind, path = _kind_and_path(value)
    full = os.path.realpath(os.path.join(place or os.getcwd(), os.path.expanduser(path)))
    return kind + full if os.path.exists(full) else value


def _relocated(config: Any, place: Path | None) -> Any:
    """Resolve relative paths that do not exist in the current folder against the folder in which the run started."""
    moved = {}
    for name in PATHS:
        value = getattr(config, name, None)
        if place and isinstance(value, str) and value and not os.path.exists(_kind_and_path(value)[1]):
            moved[name] = _located(value, place)
    return replace(config, **moved)


def _kind_and_path(value: str) -> tuple[str, str]:
    kind, colon, path = value.partition(":")
    return (kind + colon, path) if kind == "hub" else ("", value)


def _others(folder: Path) -> str:
    """Return a hint at the latest run beside a folder."""
    latest = folder.parent / "latest"
    return (
        f" (the latest is out={folder.parent / latest.readlink()})" if latest.is_symlink() and latest.exists() else ""
    )
