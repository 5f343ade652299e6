"""Specs: how a thing is built, what it needs and what it can, known before anything of it is imported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from operator import attrgetter
from typing import Any

from vg_gym.errors import VGGymError, unknown


def load_object(path: str) -> Any:
    """Import what ``"package.module:name"`` names.

    Raises:
        VGGymError: it is not written so, or there is no such name in the module.
    """
    module, _, name = path.partition(":")
    if not module or not name:
        raise VGGymError(f"no factory {path!r}; name one as 'package.module:name'")
    found = import_module(module)
    try:
        return attrgetter(name)(found)
    except AttributeError as error:
        public = [key for key, value in vars(found).items() if not key.startswith("_") and callable(value)]
        raise unknown(f"name in {module}:", name, public) from error


@dataclass(frozen=True)
class Spec:
    """How a thing is built."""

    factory: str
    """``"package.module:name"`` of what builds it."""
    summary: str = ""
    """What it is, in a few words."""
    extra: str = ""
    """``pip install "vg_gym[EXTRA]"`` brings the packages that it needs; empty: none."""
    published_extra: str = ""
    """The same for what its published weights need, and its built-in ones do not."""
    weights: str = ""
    """Its built-in weights, a folder of ``vg_gym/assets``; empty: it has none."""
    fixed: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of the factory that make it this thing; a caller cannot give them."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Defaults that differ from the factory's; a caller may give others."""
    seen: str = ""
    """What it has seen of the truth in training, without its CLIP and its detector; empty: that is not known."""

    def load(self) -> Any:
        """Import and return the factory.

        Raises:
            VGGymError: it is not written as ``"package.module:name"``, or there is no such name in the module.
        """
        return load_object(self.factory)


@dataclass(frozen=True)
class GrounderSpec(Spec):
    """How a grounder is built, and what it can; what it can is declared, never guessed."""

    takes_clip: bool = False
    """The factory has an option ``clip``: a command's CLIP is passed to it."""
    refines: bool = False
    """It takes initial boxes; other grounders refuse them."""
    fitted: bool = False
    """It is :class:`~vg_gym.types.Fitted`: it learns from training samples before it is evaluated."""
    proposer: str = ""
    """The first stage of a two-stage pipeline, a proposer's name; options of that reach the pipeline."""
    stands_on: Mapping[str, str] = field(default_factory=dict)
    """Frozen parts of its built-in weights (``CLIP``, ``detector``) -> what these have seen."""
    any_words: bool = False
    """Its default weights know the words of photographs; those of others know drawn shapes only."""
    published: str = ""
    """Its published weights, which are fetched where none are named; empty: it has none."""
    argument: str = ""
    """The option that ARGUMENT of ``NAME:ARGUMENT`` stands for; empty: the name takes no argument."""


@dataclass(frozen=True)
class ProposerSpec(Spec):
    """How a first stage is built; its factory takes ``weights`` and ``device`` beside its options."""

    published: str | None = None
    """The published weights that a pipeline takes where its CLIP is not the built-in one; None: it has no weights."""
    takes_clip: bool = False
    """Whether it is given the CLIP of its pipeline by name (``clip=``)."""


@dataclass(frozen=True)
class DatasetSpec(Spec):
    """How a data set is opened; its factory takes (name, split, root=None, **options)."""

    splits: tuple[str, ...] = ("train", "val", "test")
    """Names of its splits."""
    read_from_disk: bool = False
    """Whether it is read from a folder (``root``); other data sets are made as they are asked for."""
