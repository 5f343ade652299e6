"""What other packages bring: ``package.module:name`` written out, modules that register, and entry points.

A package offers methods and data sets by name in its ``pyproject.toml``::

    [project.entry-points."vg_gym.grounders"]
    color = "my_package.methods:ColorGrounder"

    [project.entry-points."vg_gym.datasets"]
    squares = "my_package.data:SQUARES"

What is named is a factory, or a :class:`~vg_gym.registry.specs.GrounderSpec` or ``DatasetSpec`` where there is more to
declare than that. It is imported when it is asked for.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import TypeVar

from vg_gym.errors import UnknownName, VGGymError
from vg_gym.registry.specs import DatasetSpec, GrounderSpec, Spec, load_object

S = TypeVar("S", bound=Spec)

GROUPS: dict[type[Spec], str] = {GrounderSpec: "vg_gym.grounders", DatasetSpec: "vg_gym.datasets"}
"""Kind of spec -> the group of entry points that offer it."""


def load_plugins(modules: str) -> None:
    """Import modules, which register what they bring (:func:`vg_gym.registry.register_grounder` and its kin).

    Args:
        modules: their names, with commas between; empty for none.

    Raises:
        VGGymError: a module is not there or cannot be imported.
    """
    for module in filter(None, (name.strip() for name in modules.split(","))):
        try:
            import_module(module)
        except Exception as error:  # it is somebody else's code
            raise _unusable(f"plugin {module!r}", error) from error


def offered(kind: type[Spec]) -> dict[str, EntryPoint]:
    """The entry points of installed packages for a kind of spec, by name; none of them is imported."""
    return _offered(GROUPS[kind]) if kind in GROUPS else {}


@cache
def _offered(group: str) -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=group)}


def offered_spec(kind: type[S], name: str) -> S:
    """The spec of an entry point.

    Raises:
        VGGymError: what it names cannot be imported, or is of another kind.
    """
    entry = offered(kind)[name]
    owner = f" of {entry.dist.name}" if entry.dist else ""
    return _spec_at(kind, entry.value, f"entry point {name!r}{owner} ({entry.value})", f"from{owner[3:]}")


def spec_at(kind: type[S], path: str, otherwise: UnknownName) -> S:
    """The spec at ``package.module:name``.

    Args:
        kind: of the spec.
        path: of a factory, or of a spec.
        otherwise: raised, with a word on the module, where there is no such module.

    Raises:
        VGGymError: the module cannot be imported, or what is named there is not there or of another kind.
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
        found = load_object(path)
    except VGGymError:
        raise
    except Exception as error:  # it is somebody else's code
        raise _unusable(what, error) from error
    if isinstance(found, kind):
        return found
    if isinstance(found, Spec) or not callable(found):
        raise VGGymError(f"{what} is a {type(found).__name__}, neither a factory nor a {kind.__name__}")
    about = (found.__doc__ or "").strip().split("\n")[0].rstrip(".")
    return kind(path, f"{about}, {summary}" if about else summary)


def _unusable(what: str, error: Exception) -> VGGymError:
    return VGGymError(f"{what} cannot be imported: {type(error).__name__}: {error}")
