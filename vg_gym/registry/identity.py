"""What the answers of a grounder depend on, as hashes: weights, options, files, source, versions.

Predictions and boxes that were kept are used again only where all of this is as it was.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec, resolve_name
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from vg_gym import __version__
from vg_gym.registry import grounder_key, grounder_spec, proposer_spec
from vg_gym.storage.files import find_place, fingerprint, place_mark
from vg_gym.types import Fingerprinted, Grounder

PACKAGE = Path(__file__).parents[1]
"""The folder of vg_gym."""
SHOWING = ("cli", "demo")
"""Folders of vg_gym on which no answer depends."""
LIBRARIES = ("torch", "torchvision", "open_clip_torch", "transformers", "ultralytics", "segment_anything", "numpy")
"""Packages whose arithmetic answers depend on."""
INSTALLED = ("site-packages", "dist-packages")
"""Folders in which modules of different owners lie side by side."""
CODE = (FunctionType, BuiltinFunctionType, MethodType, ModuleType, type)
"""Kinds of values that the source tells of."""
DEPTH = 4
"""Levels of attributes and containers that are read of a grounder without a fingerprint."""


def inputs_of(name: str, grounder: Grounder, options: Mapping[str, Any], clip: str = "none") -> dict[str, str]:
    """What the answers of a grounder depend on: name of the part -> its version or a hash of it.

    Args:
        name: of the grounder, as the registry knows it.
        grounder: what was built.
        options: that it was built with.
        clip: name of the CLIP that it was given.
    """
    spec, argument = grounder_spec(name), name[len(grounder_key(name)) + 1 :]
    factories = [spec.factory, *([proposer_spec(spec.proposer).factory] if spec.proposer else [])]
    clip = clip if spec.takes_clip else "none"
    files = [argument, clip.partition(":")[2] or clip, *map(str, options.values())]
    return {
        "options": fingerprint(sorted(map(repr, options.items())), clip)[:16],
        "weights": fingerprint(state_of(grounder), "" if isinstance(grounder, Fingerprinted) else _marks(files))[:16],
        "source": source_of(type(grounder), *(factory.partition(":")[0] for factory in factories))[:16],
        **versions(),
    }


def versions() -> dict[str, str]:
    """The version of vg_gym, with a hash of its source, and those of the libraries below it."""
    return {"vg_gym": f"{__version__} {own_source()[:16]}", **{name: _version(name) for name in LIBRARIES}}


def mark_of(grounder: Grounder) -> str:
    """One hash of all that the answers of a grounder depend on, as far as it shows, for names of cached files."""
    return fingerprint(state_of(grounder), source_of(type(grounder)), sorted(versions().items()))


def state_of(grounder: Grounder) -> str:
    """The fingerprint of a grounder; of one without, a hash of what it holds: weights, arrays, numbers and texts."""
    return grounder.fingerprint if isinstance(grounder, Fingerprinted) else fingerprint(*_parts(grounder, DEPTH))


def _parts(value: Any, depth: int) -> Iterator[object]:
    """What a value consists of, as things whose ``repr`` or bytes are the same in every process."""
    if value is None or isinstance(value, (bool, int, float, complex, str, bytes, np.generic)):
        yield value
        return
    yield type(value).__qualname__
    if isinstance(getattr(value, "fingerprint", None), str):
        yield value.fingerprint
    elif isinstance(value, np.ndarray):
        yield from (value.shape, value.dtype.str, value.tobytes() if value.dtype != object else value.tolist())
    elif hasattr(value, "state_dict"):
        yield from _parts(dict(value.state_dict()), depth)
    elif hasattr(value, "detach"):
        yield from _parts(value.detach().float().cpu().numpy(), depth)
    elif depth and isinstance(value, Mapping):
        for key, item in value.items():
            yield from (repr(key) if isinstance(key, (str, int)) else type(key).__qualname__, *_parts(item, depth - 1))
    elif depth and isinstance(value, (list, tuple)):
        for item in value:
            yield from _parts(item, depth - 1)
    elif isinstance(value, (set, frozenset)):
        yield sorted(map(repr, value))
    elif depth and not isinstance(value, CODE):
        yield from _parts(dict(getattr(value, "__dict__", {})), depth - 1)


def _marks(names: Sequence[str]) -> list[str]:
    """Hashes of the files, and change marks of what is in the folders, that exist under some names."""
    places = [(name, path) for name in names if (path := find_place(name)) is not None]
    return [place_mark(name) if path.is_dir() else fingerprint(path) for name, path in places]


def source_of(kind: type, *modules: str) -> str:
    """A hash of the source of a class and of modules, and of what these import from beside them; vg_gym's is left out.

    It is of what this process runs: a file that is edited once its module is imported counts from the next import on.
    """
    names = sorted({kind.__module__, *modules})
    files = [_read(name, id(getattr(sys.modules.get(name), "__spec__", None))) for name in names]
    return fingerprint(*files, "" if any(files) or kind.__module__.startswith("vg_gym.") else _typed_in(kind))


@lru_cache
def _read(module: str, spec_id: int) -> str:
    """A hash of a module's source; ``spec_id`` tells one import of it from the next."""
    files = source_files(module)
    return fingerprint(*files) if files else ""


def _typed_in(kind: type) -> str:
    """The source of a class that is in no file, as in a notebook."""
    try:
        return inspect.getsource(kind)
    except (OSError, TypeError):
        return ""


def source_files(module: str) -> list[Path]:
    """The source files of a module, and of all that it imports from its own package or, without one, its own folder.

    Nothing is imported. Of vg_gym's own modules there are none: :func:`own_source` is of all of them.
    """
    origin = _origin(module)
    if origin is None or origin.is_relative_to(PACKAGE):
        return []
    top = module.partition(".")[0]
    root = origin.parents[module.count(".") + (origin.name == "__init__.py")]
    alone = (root / top).is_dir() or root.name in INSTALLED
    files: set[Path] = set()
    waiting = [(module, origin)]
    while waiting:
        name, file = waiting.pop()
        if file not in files and not file.is_relative_to(PACKAGE):
            files.add(file)
            names = (name for name in _imports(file, name) if name.partition(".")[0] == top or not alone)
            waiting += [found for name in names for found in _files_of(name, root)]
    return sorted(files)


def _origin(module: str) -> Path | None:
    """The Python file of a module; None where there is none."""
    try:
        loaded = sys.modules.get(module)
        origin = loaded.__file__ if loaded is not None else getattr(find_spec(module), "origin", None)
    except (ImportError, ValueError, AttributeError):
        return None
    return Path(origin).resolve() if origin and origin.endswith(".py") else None


def _files_of(module: str, root: Path) -> Iterator[tuple[str, Path]]:
    """A module and the packages around it, with their files, as far as they lie in a folder."""
    parts = module.split(".")
    for count in range(1, len(parts) + 1):
        place = root.joinpath(*parts[:count])
        for file in (place / "__init__.py", place.with_name(f"{place.name}.py")):
            if file.is_file():
                yield ".".join(parts[:count]), file


def _imports(file: Path, module: str) -> Iterator[str]:
    """Names that a file imports and that may be modules."""
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = resolve_name("." * node.level + (node.module or ""), package) if node.level else node.module or ""
            yield from (base, *(f"{base}.{alias.name}" for alias in node.names))


@lru_cache(1)
def own_source() -> str:
    """A hash of the source of vg_gym, without what only shows answers."""
    files = (path for path in sorted(PACKAGE.rglob("*.py")) if path.relative_to(PACKAGE).parts[0] not in SHOWING)
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.relative_to(PACKAGE).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


@lru_cache
def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
