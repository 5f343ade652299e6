"""Specs: how a thing is built, what it needs and what it can, known before anything of it is imported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from vg_gym.errors import VGGymError


@dataclass(frozen=True)
class Spec:
    """How a thing is built."""

    factory: str
    """``"package.module:name"`` of what builds it."""
    summary: str = ""
    """What it is, in a few words."""
    extra: str = ""
    """``pip install "vg_gym[EXTRA]"`` brings the packages that it, or its published weights, need; empty: none."""
    fixed: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of the factory that make it this thing; a caller cannot give them."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Defaults that differ from the factory's; a caller may give others."""

    def load(self) -> Any:
        """Import and return the factory.

        Raises:
            VGGymError: it is not written as ``"package.module:name"``, or there is no such name in the module.
        """
        path, _, name = self.factory.partition(":")
        try:
            return getattr(import_module(path), name)
        except (AttributeError, ValueError) as error:
            raise VGGymError(f"no factory {self.factory!r}; name one as 'package.module:name' ({error})") from error


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
    any_words: bool = False
    """Its default weights know the words of photographs; those of others know drawn shapes only."""
    argument: str = ""
    """The option that ARGUMENT of ``NAME:ARGUMENT`` stands for; empty: the name takes no argument."""


@dataclass(frozen=True)
class ProposerSpec(Spec):
    """How a first stage is built; its factory takes ``weights`` and ``device`` beside its options."""

    published: str | None = None
    """The published weights that a pipeline takes where its CLIP is not the built-in one; None: it has no weights."""


@dataclass(frozen=True)
class DatasetSpec(Spec):
    """How a data set is opened; its factory takes (name, split, root=None, **options)."""

    splits: tuple[str, ...] = ("train", "val", "test")
    """Names of its splits."""
    read_from_disk: bool = False
    """Whether it is read from a folder (``root``); other data sets are made as they are asked for."""
