"""Options of a run that goes on: those it began with, and what is typed over them where it may change."""

from __future__ import annotations

import os
import shlex
import warnings
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

from omegaconf import OmegaConf

from vg_gym.config import is_pair, leaves, load_config
from vg_gym.errors import VGGymError
from vg_gym.fitting.origin import started_in
from vg_gym.registry import DatasetSpec, GrounderSpec, refuse_code
from vg_gym.storage.run_folder import CONFIG

NOT_COMPARED = ("out", "resume", "fresh")
"""Options that say where a run is and what is to become of it."""
PATHS = ("root", "dataset", "clip", "init_from", "features")
"""Options that may name a file or a folder; a relative one is meant from where the run was started."""


class RunOptions(Protocol):
    """What the options of every training have."""

    TRAINS: ClassVar[str]
    """``vg-gym train TRAINS`` runs it; empty where no command does."""
    MAY_CHANGE: ClassVar[tuple[str, ...]]
    """Options that a run may go on with other values of."""
    resume: bool
    """Whether it goes on with the run in its folder."""
    fresh: bool
    """Whether it throws away what is in its folder."""
    out: str
    """The folder, as it was typed."""

    def completed(self) -> Any:
        """The options with those that follow from others."""
        ...

    def folder(self) -> Path:
        """Where the run is."""
        ...


Options = TypeVar("Options", bound=RunOptions)


def resumed(schema: type[Options], arguments: Sequence[str]) -> Options:
    """The options of the run that arguments name, with the typed ``key=value`` over them.

    What a configuration file says otherwise than the run is left to the run, with a warning.

    Args:
        schema: the dataclass of options.
        arguments: as for :func:`vg_gym.config.load_config`, with ``resume=true`` among them.

    Raises:
        VGGymError: there is no run to go on with, or its options cannot be read.
    """
    asked: Any = load_config(schema, arguments)
    folder = asked.completed().folder()
    pairs = [argument for argument in arguments if is_pair(argument)]
    files = [argument for argument in arguments if not is_pair(argument)]
    begun = options_of_run(schema, folder, pairs)
    if files:
        _warn_of_files(folder, begun, options_of_run(schema, folder, [*files, *pairs]), " ".join(files))
    going: Any = replace(begun, resume=True, fresh=asked.fresh, out=str(folder))  # type: ignore[type-var]
    return _from_here(going, started_in(folder))


def options_of_run(schema: type[Options], folder: Path, arguments: Sequence[str] = ()) -> Options:
    """The options that a run was started with.

    Args:
        schema: the dataclass of options.
        folder: of the run.
        arguments: files and ``key=value`` that count more.

    Raises:
        VGGymError: the run has no options, or they are of another training or damaged.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise VGGymError(f"nothing to resume: no {path}; leave resume out, or name the run with out={_others(folder)}")
    try:
        load_config(schema, [str(path)])
        _check_whole(schema, path)
    except VGGymError as error:
        raise VGGymError(
            f"{path} is damaged or of another training, so the run cannot go on ({error}); name another run with out="
        ) from error
    return load_config(schema, [str(path), *arguments]).completed()


def _check_whole(schema: Any, path: Path) -> None:
    """Refuse a config that lacks options, as a file that was cut off does: their defaults may not be the run's."""
    written: Any = OmegaConf.load(path)
    lacking = [field.name for field in fields(schema) if field.name not in written]
    if lacking:
        raise VGGymError(
            f"it lacks {', '.join(lacking[:4])}{' and more' if len(lacking) > 4 else ''}: add their values"
        )


def check_options(config: RunOptions) -> list[str]:
    """Refuse options that a run cannot go on with; returns what is to be said of those that change.

    Raises:
        VGGymError: an option differs from the run's and is none of ``MAY_CHANGE``.
    """
    folder = config.folder()
    changed = differences(options_of_run(type(config), folder), config, started_in(folder))
    fixed = {name: pair for name, pair in changed.items() if name.split(".")[0] not in config.MAY_CHANGE}
    if fixed:
        raise VGGymError(
            f"{_told(fixed, 'here', f'in {folder / CONFIG}')}: a run goes on with the options it began with; leave "
            f"this out, or train another with out=FOLDER (a resumed run may change {', '.join(config.MAY_CHANGE)})"
        )
    return [
        f"{folder}: {name} was {_shown(old)} and is {_shown(new)} from here on" for name, (old, new) in changed.items()
    ]


def differences(begun: Any, now: Any, place: Path | None) -> dict[str, tuple[Any, Any]]:
    """Name -> (before, now) of options that differ.

    Args:
        begun: the options of a run.
        now: the options to compare.
        place: the folder in which the run was started; None: the current one.
    """
    before, after = _leaves(begun), _leaves(now)
    names = [name for name in {**before, **after} if name not in NOT_COMPARED]
    pairs = {name: (before.get(name), after.get(name)) for name in names}
    return {
        name: (old, new)
        for name, (old, new) in pairs.items()
        if old != new and not (name in PATHS and _located(old, place) == _located(new, None))
    }


def command_to_resume(config: RunOptions, processes: int = 1) -> str:
    """What to type for a run to go on.

    Modules that its options name stand in it, as those of a file are never imported.

    Args:
        config: options of the run.
        processes: that train it together.
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


def _warn_of_files(folder: Path, begun: Any, asked: Any, files: str) -> None:
    differing = differences(begun, asked, started_in(folder))
    if differing:
        said = _told({name: (new, old) for name, (old, new) in differing.items()}, "in the run", f"in {files}")
        warnings.warn(f"{said}: the run keeps its own; type OPTION=VALUE to change what may change", stacklevel=3)


def _told(changed: dict[str, tuple[Any, Any]], now: str, before: str) -> str:
    shown = [f"{name} is {_shown(new)} {now} and {_shown(old)} {before}" for name, (old, new) in changed.items()]
    more = f", and {len(shown) - 4} more options differ" if len(shown) > 4 else ""
    return f"{'; '.join(shown[:4])}{more}"


def _shown(value: Any) -> str:
    return "none" if value in (None, "") else str(value).lower() if isinstance(value, bool) else str(value)


def _leaves(config: Any) -> dict[str, Any]:
    content: Any = OmegaConf.to_container(OmegaConf.structured(config))
    return dict(leaves(content))


def _located(value: Any, place: Path | None) -> Any:
    """A path in full, where something is there; else the value."""
    if not isinstance(value, str) or not value:
        return value
    kind, path = _kind_and_path(value)
    full = os.path.realpath(os.path.join(place or os.getcwd(), os.path.expanduser(path)))
    return kind + full if os.path.exists(full) else value


def _from_here(config: Any, place: Path | None) -> Any:
    """The options with relative paths that lead nowhere from here, and somewhere from where the run was started."""
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
    """A hint at the last run beside a folder."""
    latest = folder.parent / "latest"
    return (
        f" (the latest is out={folder.parent / latest.readlink()})" if latest.is_symlink() and latest.exists() else ""
    )
