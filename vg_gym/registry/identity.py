"""Hashes of everything that the answers of a grounder depend on: weights, options, files, source code, versions.

Saved predictions and boxes are reused only if all of these are unchanged.
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
"""Folder of vg_gym."""
SHOWING = ("cli", "pictures", "evaluation/report")
"""Folders of vg_gym that only show answers; an edit in them discards no predictions."""
LIBRARIES = ("torch", "torchvision", "open_clip_torch", "transformers", "ultralytics", "segment_anything", "numpy")
"""Packages whose arithmetic may change answers."""
INSTALLED = ("site-packages", "dist-packages")
"""Names of folders that contain modules of different packages."""
CODE = (FunctionType, BuiltinFunctionType, MethodType, ModuleType, type)
"""Types of values that the hash of the source code covers."""
DEPTH = 4
"""Number of nested levels that are hashed in a grounder without a fingerprint."""


def inputs_of(name: str, grounder: Grounder, options: Mapping[str, Any], clip: str = "none") -> dict[str, str]:
    """Return the inputs of a grounder's answers: name of the part -> its version or hash.

    Args:
        name: name of the grounder in the registry.
        grounder: the grounder itself.
        options: options with which it was built.
        clip: name of its CLIP.
    """
    spec, argument = grounder_spec(name), name[len(grounder_key(name)) + 1 :]
    factories = [spec.factory, *([proposer_spec(spec.proposer).factory] if spec.proposer else [])]
    options = {key: value for key, value in options.items() if key not in spec.neutral}
    clip = clip if spec.takes_clip else "none"
    files = [argument, clip.partition(":")[2] or clip, *map(str, options.values())]
    return {
        "options": fingerprint(sorted(map(repr, options.items())), clip)[:16],
        "weights": fingerprint(state_of(grounder), "" if isinstance(grounder, Fingerprinted) else _marks(files))[:16],
        "source": source_of(type(grounder), *(factory.partition(":")[0] for factory in factories))[:16],
        **versions(),
    }


def versions() -> dict[str, str]:
    """Return the version of vg_gym with a hash of its source code, and the versions of the libraries."""
    return {"vg_gym": f"{__version__} {own_source()[:16]}", **{name: _version(name) for name in LIBRARIES}}


def mark_of(grounder: Grounder) -> str:
    """Return one hash of all detectable inputs of a grounder's answers, for names of cache files."""
    return fingerprint(state_of(grounder), source_of(type(grounder)), sorted(versions().items()))


def state_of(grounder: Grounder) -> str:
    """Return the fingerprint of a grounder; without one, a hash of its weights, arrays, numbers and texts."""
    return grounder.fingerprint if isinstance(grounder, Fingerprinted) else fingerprint(*_parts(grounder, DEPTH))


def _parts(value: Any, depth: int) -> Iterator[object]:
    """Yield the parts of a value as objects whose ``repr`` or bytes are the same in every process."""
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
    """Return hashes of files and change marks of folders for those names that exist on disk."""
    places = [(name, path) for name in names if (path := find_place(name)) is not None]
    return [place_mark(name) if path.is_dir() else fingerprint(path) for name, path in places]


def source_of(kind: type, *modules: str) -> str:
    """Return a hash of the source code of a class and of modules, with their local imports but without vg_gym.

    It describes the code in this process: an edit of an imported module counts only after its next import.
    """
    names = sorted({kind.__module__, *modules})
    files = [_read(name, id(getattr(sys.modules.get(name), "__spec__", None))) for name in names]
    return fingerprint(*files, "" if any(files) or kind.__module__.startswith("vg_gym.") else _typed_in(kind))


@lru_cache
def _read(module: str, spec_id: int) -> str:
    """Return a hash of a module's source code; ``spec_id`` distinguishes repeated imports."""
    files = source_files(module)
    return fingerprint(*files) if files else ""


def _typed_in(kind: type) -> str:
    """Return the source code of a class that was defined outside a file, e.g. in a notebook."""
    try:
        return inspect.getsource(kind)
    except (OSError, TypeError):
        return ""


def source_files(module: str) -> list[Path]:
    """Return the source files of a module and of its imports from the same package (without a package: same folder).

    Nothing is imported. Modules of vg_gym are left out, since :func:`own_source` covers them.
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
            waiting += [imported for name in names for imported in _files_of(name, root)]
    return sorted(files)


def _origin(module: str) -> Path | None:
    """Return the Python file of a module; None if it has none."""
    try:
        loaded = sys.modules.get(module)
        origin = loaded.__file__ if loaded is not None else getattr(find_spec(module), "origin", None)
    except (ImportError, ValueError, AttributeError):
        return None
    return Path(origin).resolve() if origin and origin.endswith(".py") else None


def _files_of(module: str, root: Path) -> Iterator[tuple[str, Path]]:
    """Yield the names and files of a module and its parent packages that lie in a folder."""
    parts = module.split(".")
    for count in range(1, len(parts) + 1):
        place = root.joinpath(*parts[:count])
        for file in (place / "__init__.py", place.with_name(f"{place.name}.py")):
            if file.is_file():
                yield ".".join(parts[:count]), file


def _imports(file: Path, module: str) -> Iterator[str]:
    """Yield imported names of a file that may be modules."""
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = resolve_name("." * node.level + (node.module or ""), package) if node.level else node.module or ""
            yield from (base, *(f"{base}.{alias.name}" for alias in node.names))


@lru_cache(1)
def own_source() -> str:
    """Return a hash of the source code of vg_gym, without the code that only shows answers."""
    shows = tuple(PACKAGE / folder for folder in SHOWING)
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        if any(path.is_relative_to(folder) for folder in shows):
            continue
        digest.update(path.relative_to(PACKAGE).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


@lru_cache
def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
