"""Options of methods from the command line: ``METHOD.KEY=VALUE``, and sweeps of several values."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

from omegaconf import OmegaConf

from vg_gym import registry
from vg_gym.config import read_pairs
from vg_gym.errors import VGGymError, unknown

SWEEP_PATTERN = re.compile(r"-?[\d.]+(,-?[\d.]+)+")
"""Pattern of option values that are a sweep."""


DATASET = "dataset_options"
"""Name that stands in place of a method for the options of the data set."""


def method_options(pairs: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Parse ``METHOD.KEY=VALUE`` and return the options by method.

    A method is a grounder (also ``package.module:factory``), a ceiling, a proposer, whose options go to all pipelines
    that start with it, or ``dataset_options`` for the options of the data set.

    Raises:
        VGGymError: a pair is not METHOD.KEY=VALUE, or the method is unknown.

    >>> method_options(["clip-window.score=cosine", "diffusion.steps=2"])
    {'clip-window': {'score': 'cosine'}, 'diffusion': {'steps': 2}}
    """
    options: dict[str, dict[str, Any]] = {}
    methods = {*registry.grounder_names(), *registry.CEILINGS, *registry.PROPOSERS, DATASET}
    for pair in pairs:
        path, equals, value = pair.partition("=")
        method, dot, key = path.rpartition(".")
        if not (equals and dot and key):
            raise VGGymError(f"{pair!r} is not METHOD.KEY=VALUE, e.g. clip-window.score=cosine")
        if method not in methods and ":" not in method:  # package.module:name is checked when it is built
            raise unknown("method", method, methods)
        parsed: Any = OmegaConf.to_container(read_pairs([f"value={value}"]))
        options.setdefault(method, {})[key] = parsed["value"]
    return options


def sweep(name: str, options: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the rows of a method: one for every combination of the options with several values.

    Args:
        name: name of the method.
        options: options of the method; a string of numbers with commas stands for several values.

    Returns:
        name of the row -> the values of the swept options in it.

    >>> sweep("diffusion", {"steps": "1,2", "seed": 3})
    {'diffusion[steps=1]': {'steps': 1}, 'diffusion[steps=2]': {'steps': 2}}
    >>> sweep("center", {})
    {'center': {}}
    """
    swept = {k: v.split(",") for k, v in options.items() if is_sweep(v)}
    rows = {}
    for values in itertools.product(*swept.values()):
        chosen = {k: float(v) if "." in v else int(v) for k, v in zip(swept, values, strict=True)}
        label = ",".join(f"{k}={v}" for k, v in chosen.items())
        rows[f"{name}[{label}]" if label else name] = chosen
    return rows


def is_sweep(value: Any) -> bool:
    """Return whether an option has several values: a string of numbers with commas.

    >>> is_sweep("1,2"), is_sweep(1), is_sweep("a,b")
    (True, False, False)
    """
    return isinstance(value, str) and SWEEP_PATTERN.fullmatch(value) is not None


def options_of(name: str, options: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the options that reach a method: those of its first stage, then its own.

    >>> options_of("reclip", {"yolo": {"weights": "a.pt"}, "reclip": {"margin": 0.1}, "ssd-clip": {"parse": True}})
    {'weights': 'a.pt', 'margin': 0.1}
    """
    return {key: value for owner in owners(name) for key, value in options.get(owner, {}).items()}


def owners(name: str) -> tuple[str, ...]:
    """Return the names whose options reach a method: its first stage if it has one, and the method itself.

    Raises:
        VGGymError: the method is unknown.
    """
    if name in registry.CEILINGS:
        return (name,)
    methods = [*registry.grounder_names(), *registry.CEILINGS]
    if ":" not in name and name not in methods:
        raise unknown("method", name, methods)
    spec, key = registry.grounder_spec(name), registry.grounder_key(name)
    return (spec.proposer, key) if spec.proposer else (key,)
