"""Names to lazy factories, for grounders and data sets. The only module that names concrete classes.

``grounder("center")``, ``grounder("clip-window", clip="refshapes")``, ``grounder("agent:runs/latest")``;
``open_dataset("refshapes", "test")``. Nothing heavy is imported until a name is asked for.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from importlib import import_module
from inspect import Parameter, signature
from typing import Any

from vg_gym.types import Grounder, GroundingDataset, VGGymError

GROUNDERS: dict[str, str] = {
    "no-op": "vg_gym.baselines.priors:NoOp",
    "full": "vg_gym.baselines.priors:full",
    "center": "vg_gym.baselines.priors:center",
    "constant": "vg_gym.baselines.priors:constant",
    "random": "vg_gym.baselines.priors:random",
    "clip-window": "vg_gym.baselines.clip_window:ClipWindow",
    "agent": "vg_gym.agents.grounder:load_agent",
}
"""Grounder name -> "module:factory". A name of the form ``NAME:ARGUMENT`` passes ARGUMENT as first argument."""

CEILINGS: dict[str, str] = {"action-oracle": "vg_gym.agents.oracle:ActionOracle"}
"""What sees the answer, as "module:factory": objects with ``name`` and ``ground_samples(samples)``; never grounders."""

DATASETS: dict[str, str] = {
    "refshapes": "vg_gym.data.refshapes:open_refshapes",
    "refshapes-easy": "vg_gym.data.refshapes:open_refshapes",
    "refshapes-hard": "vg_gym.data.refshapes:open_refshapes",
    "refshapes-biased": "vg_gym.data.refshapes:open_refshapes",
    "refcocog-umd": "vg_gym.data.refcoco:open_refcoco",
    "refcocog-google": "vg_gym.data.refcoco:open_refcoco",
    "refcoco-unc": "vg_gym.data.refcoco:open_refcoco",
    "refcoco+-unc": "vg_gym.data.refcoco:open_refcoco",
}
"""Data set name -> "module:factory"; the factory takes (name, split, root=None, **options)."""


def unknown(what: str, name: str, known: Iterable[str]) -> VGGymError:
    """The error for a name that is not in a table: names it, suggests the nearest, lists what there is."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return VGGymError(f"unknown {what} {name!r}: {hint}known: {', '.join(known)}")


def resolve(path: str) -> Callable[..., Any]:
    """The object that ``"package.module:name"`` names."""
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)


def register_grounder(name: str, factory: str) -> None:
    """Make ``grounder(name)`` call the factory at ``"package.module:name"``; replaces an earlier entry."""
    GROUNDERS[name] = factory


def register_dataset(name: str, factory: str) -> None:
    """Make ``open_dataset(name, split)`` call the factory at ``"package.module:name"``; replaces an earlier entry."""
    DATASETS[name] = factory


def grounder(name: str, **options: Any) -> Grounder:
    """Build the grounder called ``name`` (``"center"``, ``"clip-window"``, ``"agent:runs/latest"``).

    Args:
        name: a key of :data:`GROUNDERS`, or ``KEY:ARGUMENT``.
        **options: passed to the factory.

    Raises:
        VGGymError: the name is unknown, or an option is one the grounder does not take.
    """
    key, _, argument = name.partition(":")
    if key not in GROUNDERS:
        raise unknown("grounder", key, GROUNDERS)
    factory = resolve(GROUNDERS[key])
    known = signature(factory).parameters
    takes_anything = any(p.kind is Parameter.VAR_KEYWORD for p in known.values())
    for option in options:
        if option not in known and not takes_anything:
            raise unknown(f"option of {key}", option, known)
    return factory(argument, **options) if argument else factory(**options)


def open_dataset(name: str, split: str, root: str | None = None, **options: Any) -> GroundingDataset:
    """Open a split of a data set as a sequence of :class:`~vg_gym.types.Sample`, one per expression.

    Args:
        name: a key of :data:`DATASETS`; RefCOCO-type sets carry their split authority (``refcocog-umd``).
        split: ``train``, ``val``, ``test`` (RefCOCO/+: ``testA``, ``testB``).
        root: folder with ``annotations`` and ``images`` for the real data sets; RefShapes needs none.
        **options: passed to the data set (RefShapes: ``image_size``, ``seed``).

    Raises:
        VGGymError: unknown name or split, or files missing under ``root``.
    """
    if name not in DATASETS:
        raise unknown("data set", name, DATASETS)
    return resolve(DATASETS[name])(name, split, root=root, **options)
