"""Configurations: a dataclass with documented fields, a YAML file, and ``key=value`` from the command line.

The type of a field contains the range of a number (``gamma: UnitInterval``); :func:`check_ranges` checks all fields.
"""

from __future__ import annotations

import difflib
import inspect
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import lru_cache
from numbers import Integral, Real
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException, ValidationError
from yaml import YAMLError

from vg_gym.errors import UnknownName, VGGymError, one_line, unknown
from vg_gym.storage.files import write_text

T = TypeVar("T")
CONFIGS = Path(__file__).parent / "configs"
"""Folder of the configurations in the package."""


MAX_EXACT_INT = 2**53
"""Bound of whole numbers; from here on float arithmetic is not exact."""


@dataclass(frozen=True)
class Range:
    """Range of a number in the type of its field; NaN and infinities are in no range.

    >>> str(Range(ge=0, lt=1)), str(Range(ge=0, le=1)), 0.5 in Range(ge=0, lt=1), math.nan in Range()
    ('at least 0 and below 1', 'between 0 and 1', True, False)
    """

    ge: float = -math.inf
    """Inclusive lower bound."""
    gt: float = -math.inf
    """Exclusive lower bound."""
    le: float = math.inf
    """Inclusive upper bound."""
    lt: float = math.inf
    """Exclusive upper bound."""

    def __contains__(self, number: float) -> bool:
        return abs(number) < math.inf and self.ge <= number <= self.le and self.gt < number < self.lt

    def __str__(self) -> str:
        if math.isfinite(self.ge) and math.isfinite(self.le):
            return f"between {self.ge:,.15g} and {self.le:,.15g}"
        bounds = (("at least", self.ge), ("above", self.gt), ("at most", self.le), ("below", self.lt))
        return " and ".join(f"{what} {bound:,.15g}" for what, bound in bounds if math.isfinite(bound))


PositiveInt = Annotated[int, Range(ge=1)]
NonNegativeInt = Annotated[int, Range(ge=0)]
PositiveFloat = Annotated[float, Range(gt=0)]
NonNegativeFloat = Annotated[float, Range(ge=0)]
UnitInterval = Annotated[float, Range(ge=0, le=1)]
Seed = Annotated[int, Range(ge=0, lt=2**32)]
Processes = Annotated[int, Range(ge=0, le=1024)]
"""Number of processes or threads."""


def load_config(schema: type[T], arguments: Sequence[str], start: T | None = None) -> T:
    """Build ``schema`` from its defaults, then YAML files, then ``key=value`` pairs, in the order given.

    Args:
        schema: a dataclass. Its fields are the valid keys, and their types are checked. An optional ``RENAMED`` maps
            old keys to new ones for the error message.
        arguments: paths of YAML files, names of those in the package (``mdetr_refshapes``), and strings ``key=value``
            (nested: ``a.b=value``; ``key=`` is none, or an empty text).
        start: values in place of the defaults.

    Raises:
        VGGymError: a file is missing, a key is unknown, or a value has the wrong type or is out of its range.
    """
    config = OmegaConf.structured(schema if start is None else start)
    for argument in arguments:
        try:
            if is_pair(argument):
                config = _merged(config, argument)
            else:
                config = OmegaConf.merge(config, _read(argument))
        except (OmegaConfBaseException, TypeError, ValueError, LookupError) as error:
            raise VGGymError(_explain(schema, argument, error)) from error
    options: Any = OmegaConf.to_object(config)
    check_ranges(options)
    return options


def is_pair(argument: str) -> bool:
    """Return True if an argument is ``key=value``, and not a file with an equals sign in its name."""
    return "=" in argument and not Path(argument).is_file()


def _merged(config: Any, pair: str) -> Any:
    """Merge ``key=value`` into a config; ``key=`` sets none if the option may be none, else an empty text.

    For a mapping, ``key={}`` removes all entries, and so do ``key=null`` and ``key=`` if the mapping cannot be none.
    """
    key, _, value = pair.partition("=")
    if value.strip() == "{}" and _is_mapping(config, key):
        OmegaConf.update(config, key, {}, merge=False)
        return config
    try:
        return OmegaConf.merge(config, read_pairs([pair]))
    except ValidationError:
        if value.strip() in ("", "null", "~") and _is_mapping(config, key):
            return _merged(config, f"{key}={{}}")
        if not pair.endswith("="):
            raise
        return OmegaConf.merge(config, read_pairs([f"{pair}''"]))


def _is_mapping(config: Any, key: str) -> bool:
    """Return True if an option is a mapping."""
    try:
        return OmegaConf.get_type(config, key) is dict
    except (OmegaConfBaseException, AttributeError):
        return False


def read_pairs(pairs: Sequence[str]) -> dict[str, Any]:
    """Parse ``key=value`` pairs with values in YAML; references with ``${}`` are rejected.

    Raises:
        VGGymError: a value is not valid YAML, or contains ``${}``.
    """
    for pair in pairs:
        if "${" in pair:
            raise VGGymError(f"{pair!r} contains a reference ${{}}, which is not supported: write the value itself")
    try:
        content: Any = OmegaConf.to_container(OmegaConf.from_dotlist(list(pairs)))
        return content
    except (YAMLError, OmegaConfBaseException, ValueError, RecursionError, LookupError, TypeError) as error:
        text = " ".join(map(repr, pairs))[:200]
        raise VGGymError(
            f"{text} is not KEY=VALUE with a value in YAML ({one_line(error)}); put texts in quotes"
        ) from error


def leaves(options: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the names and values of nested options.

    >>> dict(leaves({"seed": 1, "clone": {"minutes": None}}))
    {'seed': 1, 'clone.minutes': None}
    """
    for name, value in options.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def check_ranges(config: Any, prefix: str = "") -> None:
    """Reject values of a dataclass that contradict the types of their fields, or are out of their ranges.

    Args:
        config: a dataclass; nested dataclasses are checked too.
        prefix: prefix of the names in messages, e.g. ``clone.``.

    Raises:
        VGGymError: a value is wrong; the message names the option, its value, and what it must be.
    """
    for name, hint in annotations_of(type(config)).items():  # type: ignore[arg-type]
        value = getattr(config, name)
        if is_dataclass(value):
            check_ranges(value, f"{prefix}{name}.")
        else:
            _check(repr(prefix + name), value, hint)


@lru_cache(None)
def annotations_of(schema: type) -> dict[str, Any]:
    """Return the annotation of every field of a dataclass, with its range, by the field's name."""
    hints = get_type_hints(schema, include_extras=True)
    return {f.name: hints[f.name] for f in fields(schema)}


def _check(name: str, value: Any, hint: Any) -> None:
    if not _fits(value, hint):
        meaning = _meaning(hint)
        if _is_huge(value):
            meaning += f", below {MAX_EXACT_INT:,}"
        if isinstance(value, float) and not math.isfinite(value):
            meaning = meaning.replace("number", "finite number")
        raise VGGymError(f"option {name} is {value!r:.60}; it must be {meaning}")


def check_options(
    owner: str, factory: Any, options: Mapping[str, Any], fixed: Collection[str] = (), passed_to: Sequence[Any] = ()
) -> None:
    """Reject options that a function or class does not accept, or whose values its annotations exclude.

    Args:
        owner: name of the built object in messages.
        factory: the function or class; all its parameters are options, also those without a default.
        options: name -> value.
        fixed: parameters that are not options.
        passed_to: functions or classes to which the factory passes further options; their parameters with a default
            are options, too.

    Raises:
        VGGymError: an option is unknown or out of range; the message names it, its value and its range.

    >>> def center(fraction: UnitInterval = 0.5): ...
    >>> check_options("center", center, {"fraction": 2})
    Traceback (most recent call last):
    vg_gym.errors.VGGymError: option center.fraction is 2; it must be a number between 0 and 1
    """
    known = {name: hint for each in reversed(passed_to) for name, hint in _parameters(each, with_default=True).items()}
    known = {name: hint for name, hint in {**known, **_parameters(factory)}.items() if name not in fixed}
    last = [*inspect.signature([factory, *passed_to][-1]).parameters.values()]
    takes_any = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in last)
    for name, value in options.items():
        if name in fixed or not (takes_any or name in known):
            raise unknown(f"option of {owner}", name, known)
        if name in known:
            _check(f"{owner}.{name}", value, known[name])


def _parameters(factory: Any, with_default: bool = False) -> dict[str, Any]:
    """Return the annotations of the named parameters of a function or class, of all or of those with a default."""
    annotated: Any = vars(factory).get("__init__", factory) if isinstance(factory, type) else factory
    is_schema = isinstance(factory, type) and is_dataclass(factory)
    hints = annotations_of(factory) if is_schema else get_type_hints(annotated, include_extras=True)
    return {
        name: hints.get(name, Any)
        for name, parameter in inspect.signature(factory).parameters.items()
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD
        and not (with_default and parameter.default is inspect.Parameter.empty)
    }


_MEANINGS: dict[Any, tuple[Any, str]] = {
    bool: ((bool, np.bool_), "true or false"),
    int: (Integral, "a whole number"),
    float: (Real, "a number"),
    type(None): (type(None), "none"),
}
"""Annotation -> types of valid values, and their name in messages."""
_LISTS = (Sequence, list, tuple)
"""Origins of the annotations of lists, whose items all have one type."""


def _fits(value: Any, hint: Any) -> bool:
    """Return False if a value contradicts an annotation; annotations of other kinds are not checked."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _fits(value, parts[0]) and all(value in allowed for allowed in parts[1:] if isinstance(allowed, Range))
    if origin in (Union, UnionType):
        return any(_fits(value, part) for part in parts)
    if hint in _MEANINGS:
        if isinstance(value, (bool, np.bool_)) and hint is not bool or _is_huge(value):
            return False
        return isinstance(value, _MEANINGS[hint][0]) and (hint is not float or math.isfinite(value))
    if hint is str:
        return value is not None and not isinstance(value, (Real, list, tuple, dict))
    if origin in _LISTS:
        return isinstance(value, (list, tuple, np.ndarray)) and all(_fits(item, parts[0]) for item in value)
    return True


def _is_huge(value: Any) -> bool:
    """Return True for whole numbers at which float arithmetic is not exact."""
    return isinstance(value, Integral) and abs(int(value)) >= MAX_EXACT_INT


def _meaning(hint: Any) -> str:
    """Describe an annotation in words."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return " ".join([_meaning(parts[0]), *(str(part) for part in parts[1:] if isinstance(part, Range))])
    if origin in (Union, UnionType):
        return " or ".join(_meaning(part) for part in parts)
    if origin in _LISTS:
        return f"a list, each {_meaning(parts[0])}"
    return "a text" if hint is str else _MEANINGS[hint][1] if hint in _MEANINGS else str(hint)


def packaged_configs(schema: type | None = None) -> dict[str, Path]:
    """Return the configurations of the package by name, those of one dataclass of options or all."""
    names = {f.name for f in fields(schema)} if schema else set()
    files = {file.stem: file for file in sorted(CONFIGS.glob("*.yaml"))}
    return {name: file for name, file in files.items() if not schema or names.issuperset(map(str, read_yaml(file)))}


def _read(path: str):
    """Read a YAML file, or a configuration of the package by its name."""
    packaged = packaged_configs()
    if Path(path).is_file():
        return read_yaml(Path(path))
    if path in packaged:
        return read_yaml(packaged[path])
    near = difflib.get_close_matches(Path(path).stem, packaged, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise VGGymError(
        f"no config file {path!r}; {hint}give a YAML file, key=value, or one of: {', '.join(sorted(packaged))}"
    )


def read_yaml(path: Path) -> DictConfig:
    """Read names and values from YAML; ``${}`` is rejected, since a file from a stranger could read the environment.

    Raises:
        VGGymError: the file cannot be read, is not valid YAML, or contains ``${}``.
    """
    try:
        text = path.read_text(encoding="utf-8")
        if "${" in text:
            raise VGGymError(f"{path} contains references ${{}}, which are not supported: write the values themselves")
        content = OmegaConf.create(text)
    except (OSError, UnicodeDecodeError, YAMLError, OmegaConfBaseException, ValueError, RecursionError) as error:
        raise VGGymError(f"{path} is not a YAML file of options: {one_line(error)}") from error
    if not isinstance(content, DictConfig):
        raise VGGymError(f"{path} is not a YAML file of options: it does not contain names with values")
    return content


def _explain(schema: type, argument: str, error: Exception) -> str:
    key = str(getattr(error, "full_key", None) or argument.partition("=")[0])
    names = [f.name for f in fields(schema)]  # type: ignore[arg-type]
    place = "" if is_pair(argument) else f"{argument}: "
    renamed = getattr(schema, "RENAMED", {})
    if key in renamed:
        return f"{place}option {key!r} is called {renamed[key]!r} now"
    if key.split(".")[0] not in names:
        return f"{place}{unknown('option', key, names)}"
    if isinstance(error, ValidationError) and is_pair(argument) and (hint := _hint_of(schema, key)) is not None:
        return f"option {key!r} is {argument.partition('=')[2]!r:.60}; it must be {_meaning(hint)}"
    reason = (str(error) or type(error).__name__).splitlines()[0]
    return f"option {key!r} in {argument!r}: {reason}"


def _hint_of(schema: Any, key: str) -> Any:
    """Return the annotation of a field, or of one of a nested dataclass (``clone.minutes``); None if it has none."""
    for name in key.split("."):
        schema = annotations_of(schema).get(name) if isinstance(schema, type) and is_dataclass(schema) else None
    return None if schema is None or is_dataclass(schema) or get_origin(schema) is dict else schema


def options_from(schema: type[T], options: Mapping[str, Any]) -> T:
    """Build a dataclass of plain fields from keyword options.

    Raises:
        VGGymError: an option is not a field, has the wrong type, or is out of its range.
    """
    names = [f.name for f in fields(schema)]  # type: ignore[arg-type]
    for name in options:
        if name not in names:
            # TorchRL tries arguments, and recognises an unknown one by Python's own wording.
            raise UnknownName(f"{unknown('option', name, names)} (unexpected keyword argument {name!r})")
    try:
        built: Any = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), dict(options)))
    except OmegaConfBaseException as error:
        raise VGGymError(f"option {error.full_key!r}: {str(error).splitlines()[0]}") from error
    check_ranges(built)
    return built


def save_config(config: object, path: Path) -> None:
    """Write a config dataclass as YAML, atomically."""
    write_text(path, to_yaml(config))


def to_yaml(config: object) -> str:
    """Return a config dataclass as YAML, which :func:`load_config` reads."""
    return OmegaConf.to_yaml(OmegaConf.structured(config))
