"""Configurations: a dataclass with documented fields, a YAML file, and ``key=value`` from the command line.

What a number may be stands in the type of its field (``gamma: UnitInterval``); :func:`check_ranges` checks them all.
"""

from __future__ import annotations

import ast
import difflib
import inspect
import math
import sys
import textwrap
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import lru_cache
from itertools import pairwise
from numbers import Integral, Real
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import numpy as np
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException, ValidationError
from yaml import YAMLError

from vg_gym.errors import UnknownName, VGGymError, unknown
from vg_gym.storage.files import write_text

T = TypeVar("T")
CONFIGS = Path(__file__).parent / "configs"
"""The configurations that come with the package."""


TOO_LARGE = 2**53
"""For a whole number; beyond it arithmetic is not exact."""


@dataclass(frozen=True)
class Range:
    """The numbers that an option may be, in the type of its field; NaN and infinities are in none.

    >>> str(Range(ge=0, lt=1)), str(Range(ge=0, le=1)), 0.5 in Range(ge=0, lt=1), math.nan in Range()
    ('at least 0 and below 1', 'between 0 and 1', True, False)
    """

    ge: float = -math.inf
    """Least."""
    gt: float = -math.inf
    """Above this."""
    le: float = math.inf
    """Greatest."""
    lt: float = math.inf
    """Below this."""

    def __contains__(self, number: float) -> bool:
        return abs(number) < math.inf and self.ge <= number <= self.le and self.gt < number < self.lt

    def __str__(self) -> str:
        if math.isfinite(self.ge) and math.isfinite(self.le):
            return f"between {self.ge:,.15g} and {self.le:,.15g}"
        bounds = (("at least", self.ge), ("above", self.gt), ("at most", self.le), ("below", self.lt))
        said = [f"{what} {bound:,.15g}" for what, bound in bounds if math.isfinite(bound)]
        return " and ".join(said) or "finite"


PositiveInt = Annotated[int, Range(ge=1)]
NonNegativeInt = Annotated[int, Range(ge=0)]
PositiveFloat = Annotated[float, Range(gt=0)]
NonNegativeFloat = Annotated[float, Range(ge=0)]
UnitInterval = Annotated[float, Range(ge=0, le=1)]
Seed = Annotated[int, Range(ge=0, lt=2**32)]
Processes = Annotated[int, Range(ge=0, le=1024)]
"""Of processes or threads."""


def load_config(schema: type[T], arguments: Sequence[str]) -> T:
    """Build ``schema`` from its defaults, then YAML files, then ``key=value`` pairs, in the order given.

    Args:
        schema: a dataclass; its fields are the known keys and their types are checked. ``RENAMED``, where it has that,
            maps old keys to new ones for the error.
        arguments: paths of YAML files, names of those that come with the package (``mdetr_refshapes``), and
            ``key=value`` (nested: ``a.b=value``; ``key=`` is none, or empty) strings; ``--help`` prints every option
            instead.

    Raises:
        VGGymError: a file is missing, a key unknown, or a value of the wrong type or out of its range.
        SystemExit: help was asked for.
    """
    if {"-h", "--help"} & set(arguments):
        packaged = textwrap.fill(", ".join(sorted(file.stem for file in CONFIGS.glob("*.yaml"))), 100)
        about = (inspect.getdoc(schema) or "").replace("``", "")
        print(f"{about}\n\nusage: [CONFIG ...] [OPTION=VALUE ...]; of what is said twice, the last counts\n")
        print(f"configs: YAML files, or by name\n{textwrap.indent(packaged, '  ')}\n\noptions:\n{described(schema)}")
        sys.exit(0)
    config = OmegaConf.structured(schema)
    for argument in arguments:
        try:
            if is_pair(argument):
                config = _merged(config, argument)
            else:
                config = OmegaConf.merge(config, _read(argument))
        except (OmegaConfBaseException, TypeError, ValueError, LookupError) as error:
            raise VGGymError(_explain(schema, argument, error)) from error
    made: Any = OmegaConf.to_object(config)
    check_ranges(made)
    return made


def is_pair(argument: str) -> bool:
    """Whether an argument is ``key=value``, and not a file whose name has an equals sign in it."""
    return "=" in argument and not Path(argument).is_file()


def _merged(config: Any, pair: str) -> Any:
    """The config with ``key=value``; ``key=`` is no value where the option may have none, else an empty text.

    Of a mapping, ``key={}`` removes everything, and so do ``key=null`` and ``key=`` where it cannot be none.
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
    """Whether an option holds names and values of any kind."""
    try:
        return OmegaConf.get_type(config, key) is dict
    except (OmegaConfBaseException, AttributeError):
        return False


def read_pairs(pairs: Sequence[str]) -> DictConfig:
    """``key=value`` as typed; values are YAML, and nothing is looked up with ``${}``.

    Raises:
        VGGymError: a value is no YAML, or asks for one from elsewhere.
    """
    for pair in pairs:
        if "${" in pair:
            raise VGGymError(f"{pair!r} asks for a value from elsewhere with ${{}}, which is not read: write it out")
    try:
        return OmegaConf.from_dotlist(list(pairs))
    except (YAMLError, OmegaConfBaseException, ValueError, RecursionError, LookupError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        said = " ".join(map(repr, pairs))[:200]
        raise VGGymError(f"{said} is not KEY=VALUE with a value in YAML ({reason}); put texts in quotes") from error


def leaves(options: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Names and values of nested options.

    >>> dict(leaves({"seed": 1, "clone": {"minutes": None}}))
    {'seed': 1, 'clone.minutes': None}
    """
    for name, value in options.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def check_ranges(config: Any, prefix: str = "") -> None:
    """Refuse numbers out of the ranges in the types of their fields; numbers without a range must be finite.

    Args:
        config: a dataclass; those in its fields are checked too.
        prefix: what stands before the names, e.g. ``clone.``.

    Raises:
        VGGymError: names the option, its value and what it may be.
    """
    for name, allowed in _ranges(type(config)).items():  # type: ignore[arg-type]
        value = getattr(config, name)
        if is_dataclass(value):
            check_ranges(value, f"{prefix}{name}.")
        for number in value if isinstance(value, (tuple, list)) else (value,):
            if isinstance(number, int) and abs(number) >= TOO_LARGE:
                raise VGGymError(f"option {prefix + name!r} is {number:.3e}, which is no number of anything")
            if isinstance(number, (int, float)) and number not in allowed:
                finite = "" if math.isfinite(number) or allowed == Range() else "finite, "
                raise VGGymError(f"option {prefix + name!r} is {number}; it must be {finite}{allowed}")


@lru_cache(None)
def _ranges(schema: type) -> dict[str, Range]:
    """The range of every field of a dataclass, by the field's name."""
    hints = get_type_hints(schema, include_extras=True)
    return {f.name: _range_in(hints[f.name]) or Range() for f in fields(schema)}


def _range_in(hint: Any) -> Range | None:
    """The range in a type, or in a part of it: ``PositiveInt | None``, ``tuple[UnitInterval, ...]``."""
    if isinstance(hint, Range):
        return hint
    return next((found for part in get_args(hint) if (found := _range_in(part))), None)


def check_options(owner: str, factory: Any, options: Mapping[str, Any], fixed: Collection[str] = ()) -> None:
    """Refuse options that a function or a class does not take, or whose values its annotations exclude.

    Args:
        owner: what it builds, for errors.
        factory: the function or class; parameters are options, those without a default included.
        options: name -> value.
        fixed: parameters that are no options.

    Raises:
        VGGymError: names the option, its value and what it may be.

    >>> def center(fraction: UnitInterval = 0.5): ...
    >>> check_options("center", center, {"fraction": 2})
    Traceback (most recent call last):
    vg_gym.errors.VGGymError: option center.fraction is 2; it must be a number between 0 and 1
    """
    parameters = inspect.signature(factory).parameters.values()
    takes_any = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters)
    known = [p.name for p in parameters if p.kind is not inspect.Parameter.VAR_KEYWORD and p.name not in fixed]
    annotated: Any = vars(factory).get("__init__", factory) if isinstance(factory, type) else factory
    hints = get_type_hints(annotated, include_extras=True)
    for name, value in options.items():
        if name in fixed or not (takes_any or name in known):
            raise unknown(f"option of {owner}", name, known)
        if name in known and not _fits(value, hints.get(name, Any)):
            raise VGGymError(f"option {owner}.{name} is {value!r}; it must be {_meaning(hints[name])}")


_MEANINGS: dict[Any, tuple[Any, str]] = {
    bool: ((bool, np.bool_), "true or false"),
    int: (Integral, "a whole number"),
    float: (Real, "a number"),
    type(None): (type(None), "none"),
}
"""Plain type -> what values of it are, and how an error calls them."""


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value is what an annotation says; what cannot be told here is left to who is given it."""
    parts = get_args(hint)
    if get_origin(hint) is Annotated:
        ranges = [part for part in parts[1:] if isinstance(part, Range)]
        return _fits(value, parts[0]) and all(value in allowed for allowed in ranges)
    if get_origin(hint) in (Union, UnionType):
        return any(_fits(value, part) for part in parts)
    if hint in _MEANINGS:
        if isinstance(value, (bool, np.bool_)) and hint is not bool:
            return False
        return isinstance(value, _MEANINGS[hint][0]) and (hint is not float or math.isfinite(value))
    if hint is str:
        return value is not None and not isinstance(value, (Real, list, tuple, dict))
    if get_origin(hint) is Sequence:
        return isinstance(value, (list, tuple, np.ndarray)) and all(_fits(part, parts[0]) for part in value)
    return True


def _meaning(hint: Any) -> str:
    """An annotation in words."""
    parts = get_args(hint)
    if get_origin(hint) is Annotated:
        bounds = [str(part) for part in parts[1:] if isinstance(part, Range) and part != Range()]
        return " ".join([_meaning(parts[0]), *bounds])
    if get_origin(hint) in (Union, UnionType):
        return " or ".join(_meaning(part) for part in parts)
    if get_origin(hint) is Sequence:
        return f"a list, each {_meaning(parts[0])}"
    return "a text" if hint is str else _MEANINGS[hint][1] if hint in _MEANINGS else str(hint)


@dataclass(frozen=True)
class Option:
    """A field of a dataclass of options, as it is told to people."""

    name: str
    """With the names of what it is in before it: ``clone.minutes``."""
    default: Any
    """None where it has none."""
    allowed: Range
    """Of a number."""
    about: str
    """What its docstring says, on one line, code between double backticks."""


def options_in(schema: type, prefix: str = "") -> list[Option]:
    """Every option of a dataclass.

    Args:
        schema: the dataclass; those in its fields are gone through too.
        prefix: what stands before the names, e.g. ``clone.``.
    """
    about, found = _written_docs(schema), []
    for f in fields(schema):
        default = f.default if f.default is not MISSING else f.default_factory() if callable(f.default_factory) else ""
        if is_dataclass(default):
            found += options_in(type(default), f"{prefix}{f.name}.")
        else:
            found.append(Option(prefix + f.name, default, _ranges(schema)[f.name], about.get(f.name, "")))
    return found


def described(schema: type) -> str:
    """Every option of a dataclass: its name, its default, its range, and what its docstring says of it."""
    lines = []
    for option in options_in(schema):
        shown = "" if option.default is None else option.default
        bounds = "" if option.allowed == Range() else f"   ({option.allowed})"
        words = textwrap.indent(textwrap.fill(_plain(option.about), 100), "        ")
        lines.append(f"  {option.name}={shown}{bounds}\n{words}")
    return "\n".join(lines)


def field_docs(schema: type) -> dict[str, str]:
    """The string below each field, on one line, by the field's name; the class's own before those of its bases."""
    return {name: _plain(text) for name, text in _written_docs(schema).items()}


def _plain(text: str) -> str:
    return text.replace("``", "")


def _written_docs(schema: type) -> dict[str, str]:
    """:func:`field_docs` with the marks of code in them."""
    found: dict[str, str] = {}
    for owner in reversed(schema.__mro__):
        if not is_dataclass(owner):
            continue
        body = cast(ast.ClassDef, ast.parse(textwrap.dedent(inspect.getsource(owner))).body[0]).body
        for field, text in pairwise(body):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
                    found[field.target.id] = " ".join(str(text.value.value).split())
    return found


def _read(path: str):
    """A YAML file, or one of the package's by name."""
    packaged = {file.stem: file for file in CONFIGS.glob("*.yaml")}
    if Path(path).is_file():
        return _read_yaml(Path(path))
    if path in packaged:
        return _read_yaml(packaged[path])
    near = difflib.get_close_matches(Path(path).stem, packaged, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise VGGymError(
        f"no config file {path!r}; {hint}give a YAML file, key=value, or one of: {', '.join(sorted(packaged))}"
    )


def _read_yaml(path: Path) -> DictConfig:
    """Names and values, and no more: a file may be a stranger's, and could look into the environment with ``${}``."""
    try:
        text = path.read_text(encoding="utf-8")
        if "${" in text:
            raise VGGymError(f"{path} asks for values from elsewhere with ${{}}, which is not read: write them out")
        found = OmegaConf.create(text)
    except (OSError, UnicodeDecodeError, YAMLError, OmegaConfBaseException, ValueError, RecursionError) as error:
        raise VGGymError(f"{path} is no YAML file of options: {' '.join(str(error).split())[:300]}") from error
    if not isinstance(found, DictConfig):
        raise VGGymError(f"{path} is no YAML file of options: it holds no names with values")
    return found


def _explain(schema: type, argument: str, error: Exception) -> str:
    key = str(getattr(error, "full_key", None) or argument.partition("=")[0])
    known = [f.name for f in fields(schema)]  # type: ignore[arg-type]
    renamed = getattr(schema, "RENAMED", {})
    if key in renamed:
        return f"option {key!r} is called {renamed[key]!r} now"
    if key.split(".")[0] not in known:
        return str(unknown("option", key, known))
    reason = (str(error) or type(error).__name__).splitlines()[0]
    return f"option {key!r} in {argument!r}: {reason}"


def options_from(schema: type[T], options: Mapping[str, Any]) -> T:
    """Build a dataclass of plain fields from keyword options.

    Raises:
        VGGymError: an option is not a field, or is of the wrong type or out of its range.
    """
    known = [f.name for f in fields(schema)]  # type: ignore[arg-type]
    for name in options:
        if name not in known:
            # TorchRL, for one, tries an argument and reads from Python's words that there is none of this name.
            raise UnknownName(f"{unknown('option', name, known)} (unexpected keyword argument {name!r})")
    try:
        made: Any = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), dict(options)))
    except OmegaConfBaseException as error:
        raise VGGymError(f"option {error.full_key!r}: {str(error).splitlines()[0]}") from error
    check_ranges(made)
    return made


def save_config(config: object, path: Path) -> None:
    """Write a config dataclass as YAML, by way of a temporary name."""
    write_text(path, to_yaml(config))


def to_yaml(config: object) -> str:
    """A config dataclass as YAML, which :func:`load_config` reads."""
    return OmegaConf.to_yaml(OmegaConf.structured(config))
