"""Objects of other packages: ``package.module:name``, modules that register objects, and entry points.

A package offers methods and data sets by name in its ``pyproject.toml``::

    [project.entry-points."vg_gym.grounders"]
    color = "my_package.methods:ColorGrounder"

    [project.entry-points."vg_gym.datasets"]
    squares = "my_package.data:SQUARES"

The value names a factory, or a :class:`~vg_gym.registry.specs.GrounderSpec` or ``DatasetSpec`` that declares more. It
is imported on first use.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import TypeVar

from vg_gym.errors import UnknownName, VGGymError, place_of
from vg_gym.registry.specs import DatasetSpec, GrounderSpec, Spec, load_object

S = TypeVar("S", bound=Spec)

GROUPS: dict[type[Spec], str] = {GrounderSpec: "vg_gym.grounders", DatasetSpec: "vg_gym.datasets"}
"""Class of spec -> name of its group of entry points."""


def load_plugins(modules: str) -> None:
    """Import modules that register objects (:func:`vg_gym.registry.register_grounder` and similar functions).

    Args:
        modules: names of modules, separated by commas; may be empty.

    Raises:
        VGGymError: a module does not exist or cannot be imported.
    """
    for module in filter(None, (name.strip() for name in modules.split(","))):
        try:
            import_module(module)
        except Exception as error:  # third-party code may fail in any way
            raise _unusable(f"plugin {module!r}", error) from error


def offered(kind: type[Spec]) -> dict[str, EntryPoint]:
    """Return the entry points of installed packages for a class of spec by name, without importing them."""
    return _offered(GROUPS[kind]) if kind in GROUPS else {}


@cache
def _offered(group: str) -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=group)}


def offered_spec(kind: type[S], name: str) -> S:
    """Return the spec of an entry point.

    Raises:
        VGGymError: its object cannot be imported, or has the wrong type.
    """
    entry = offered(kind)[name]
    owner = f" of {entry.dist.name}" if entry.dist else ""
    return _spec_at(kind, entry.value, f"entry point {name!r}{owner} ({entry.value})", f"from{owner[3:]}")


def spec_at(kind: type[S], path: str, otherwise: UnknownName) -> S:
    """Return the spec at ``package.module:name``.

    Args:
        kind: class of the spec.
        path: path of a factory or of a spec.
        otherwise: error for an unknown name; it is raised with a remark if the module does not exist.

    Raises:
        VGGymError: the module cannot be imported, or the object does not exist or has the wrong type.
    """
    module = path.partition(":")[0]
    try:
        return _spec_at(kind, path, repr(path), f"of {module}")
    except VGGymError as error:
        missing = error.__cause__.name if isinstance(error.__cause__, ModuleNotFoundError) else None
        if missing and f"{module}.".startswith(f"{missing}."):
            raise UnknownName(f"{otherwise}; nor is there a module {missing!r}") from error.__cause__
        raise


def _spec_at(kind: type[S], path: str, what: str, summary: str) -> S:
    try:
        loaded = load_object(path)
    except VGGymError:
        raise
    except Exception as error:  # third-party code may fail in any way
        raise _unusable(what, error) from error
    if isinstance(loaded, kind):
        return loaded
    if isinstance(loaded, Spec) or not callable(loaded):
        raise VGGymError(f"{what} is a {type(loaded).__name__}, neither a factory nor a {kind.__name__}")
    about = (loaded.__doc__ or "").strip().split("\n")[0].rstrip(".")
    return kind(path, f"{about}, {summary}" if about else summary)


def _unusable(what: str, error: Exception) -> VGGymError:
    return VGGymError(f"{what} cannot be imported: {type(error).__name__}: {error}{place_of(error)}")
