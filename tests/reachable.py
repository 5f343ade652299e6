"""Everything that can be reached from an object, and what of it is the answer of a sample.

The boundary is the module: what a function finds by the names of its module is not followed, because from there every
other module can be imported, those that read data sets included.
"""

import gc
import inspect
import re
from collections.abc import Mapping
from functools import cached_property, partial
from itertools import product
from pathlib import PurePath
from types import FunctionType, GetSetDescriptorType, MemberDescriptorType, MethodType, ModuleType

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym.types import GroundingDataset, Objects, Sample

OURS = ("vg_gym", "tests")
"""Packages whose classes are walked, and whose properties and methods without arguments are called."""
MOST = 20_000
"""Objects after which a walk fails: it has left the query."""
ATOMS = (str, bytes, bytearray, int, float, complex, bool, type(None), np.generic, PurePath, ModuleType)
NAMES = (MemberDescriptorType, GetSetDescriptorType)
"""What holds the name of an attribute, and nothing else."""
TOLERANCE = 0.01
"""Of a coordinate in pixels."""
EXACT = 7
"""Digits from which on a number is known by sight: an id, not a count."""


def reachable(root):
    """Yield (path, value) of everything that can be reached from an object, itself included."""
    waiting, seen = [("query", root)], {}
    while waiting:
        path, value = waiting.pop()
        if id(value) in seen:
            continue
        seen[id(value)] = value  # kept, so that its id stays its own
        assert len(seen) < MOST, f"the walk has come to {path}"
        yield path, value
        waiting += [(f"{path}{step}", child) for step, child in children(value)]


def children(value):
    """Yield (step, value) of everything that an object leads to at once."""
    if isinstance(value, ATOMS):
        return
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield f".keys({key!r:.40})", key
            yield f"[{key!r:.40}]", item
    elif isinstance(value, (list, tuple, set, frozenset)):
        yield from ((f"[{number}]", item) for number, item in enumerate(value))
    elif isinstance(value, np.ndarray):
        yield ".base", value.base
        yield from ((f"[{i}]", item) for i, item in enumerate(value.flat if value.dtype == object else ()))
    elif isinstance(value, FunctionType):
        yield from ((f".{name}", getattr(value, name)) for name in ("__defaults__", "__kwdefaults__", "__dict__"))
        yield from ((".__closure__", cell.cell_contents) for cell in value.__closure__ or ())
    elif isinstance(value, MethodType):
        yield from ((f".{name}", getattr(value, name)) for name in ("__self__", "__func__"))
    elif isinstance(value, type):
        if value.__module__.split(".")[0] in OURS:
            yield from attributes(value)
            yield from ((".__bases__", base) for base in value.__bases__)
    elif not isinstance(value, NAMES):
        yield from attributes(value)
        held = (item for item in gc.get_referents(value) if item is not getattr(value, "__dict__", None))
        yield from ((f"~{type(item).__name__}", item) for item in held)
        yield from offered(value)


def attributes(value):
    """Yield (step, value) of what stands in the ``__dict__`` of an object or class; its names and docstrings do not."""
    for name, member in dict(getattr(value, "__dict__", {})).items():
        if isinstance(member, cached_property):
            member = member.func
        if name == "__wrapped__" or not name.startswith("__"):
            yield f".{name}", member


def offered(value):
    """Yield (step, value) of the properties of an object, and of its public methods that need no argument."""
    module = type(value).__module__.split(".")[0]
    if module == "pyarrow" and hasattr(value, "to_pylist"):
        yield ".to_pylist()", value.to_pylist()
        yield ".column_names", getattr(value, "column_names", None)
    if module not in OURS:
        return
    for name in (name for name in dir(value) if not name.startswith("__")):
        try:
            member = getattr(value, name)
            yield f".{name}", member
            if not name.startswith("_") and callable(member) and not isinstance(member, type):
                inspect.signature(member).bind()
                yield f".{name}()", member()
        except Exception:  # a method with arguments, or one that has nothing to give
            continue


def answers(sample):
    """Yield (path, value) of everything that can be reached from the query of a sample and is its answer."""
    told = partial(tells, sample=sample, forms=forms_of(sample))
    yield from ((path, value) for path, value in reachable(sample.query) if told(value))


def forms_of(sample):
    """The true boxes, float64 (F, 4), in all forms that a file or a model may write."""
    width, height = sample.query.image.size
    pixels = np.asarray(sample.boxes, np.float64)
    sides = np.concatenate([pixels[:, :2], pixels[:, 2:] - pixels[:, :2]], axis=1)
    formats = (pixels, sides, box_ops.to_cxcywh(pixels), pixels[:, [1, 0, 3, 2]])
    scales = [np.tile(scale, 2) for scale in ((1, 1), (1 / width, 1 / height), (1000 / width, 1000 / height))]
    scales += [scale[[1, 0, 3, 2]] for scale in scales[1:]]
    return np.concatenate([boxes * scale for boxes, scale in product(formats, scales)])


def tells(value, sample, forms):
    """Whether a value is the answer of a sample, or a part of it: a label, or an object that holds labels."""
    truths = Sample, Objects
    if isinstance(value, truths) or not isinstance(value, type) and isinstance(value, GroundingDataset):
        return True
    if isinstance(value, (str, PurePath)):
        return value != sample.query.expression and text_tells(str(value), sample, forms)
    if isinstance(value, (int, np.integer)):
        return value in ids_of(sample)
    return is_box(numbers_of(value), forms)


def text_tells(text, sample, forms):
    """Whether a text has the box, the object's numbers, its category or the kind of expression in it."""
    words, numbers = set(re.findall(r"[a-z]+", text.lower())), re.findall(r"\d+(?:\.\d+)?", text)
    names = {sample.kind, sample.category} - {""} - set(sample.query.expression.split())
    whole = {int(number) for number in numbers if "." not in number}
    return bool(names & words or ids_of(sample) & whole) or is_box(np.array(numbers, np.float64), forms)


def ids_of(sample):
    """The numbers of the object that is meant, where they are none that something else may be."""
    return {number for number in (sample.ann_id, sample.ref_id) if len(str(number)) >= EXACT}


def numbers_of(value):
    """The numbers that a container holds directly."""
    if isinstance(value, np.ndarray):
        return value if value.dtype.kind in "iuf" else np.empty(0)
    if isinstance(value, Mapping):
        value = value.values()
    if not isinstance(value, (list, tuple, set, frozenset, type({}.values()))):
        return np.empty(0)
    return np.array([item for item in value if isinstance(item, (int, float, np.number))], np.float64)


def is_box(numbers, forms):
    """Whether a form of the box is a row of some numbers (..., 4), or all four are among some numbers (N,)."""
    for form in forms:
        near = TOLERANCE * min(1.0, np.abs(form).max())
        if numbers.shape[-1:] == (4,) and (np.abs(numbers - form) < near).all(axis=-1).any():
            return True
        if numbers.ndim == 1 and len(numbers) and (np.abs(numbers[:, None] - form).min(axis=0) < near).all():
            return True
    return False
