"""Specs of registered objects: factory, needs and capabilities. They are available without importing the objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from operator import attrgetter
from typing import Any

from vg_gym.errors import VGGymError, unknown


def load_object(path: str) -> Any:
    """Import the object at ``"package.module:name"``.

    Raises:
        VGGymError: the path has another form, or the module lacks the name.
    """
    module, _, name = path.partition(":")
    if not module or not name:
        raise VGGymError(f"no factory {path!r}; name one as 'package.module:name'")
    imported = import_module(module)
    try:
        return attrgetter(name)(imported)
    except AttributeError as error:
        public = [key for key, value in vars(imported).items() if not key.startswith("_") and callable(value)]
        raise unknown(f"name in {module}:", name, public) from error


@dataclass(frozen=True)
class Spec:
    """Description of how an object is built."""

    factory: str
    """``"package.module:name"`` of the factory."""
    summary: str = ""
    """Description in a few words."""
    extra: str = ""
    """Extra with its packages (``pip install "vg_gym[EXTRA]"``); empty: not needed."""
    published_extra: str = ""
    """Extra that only its published weights need, not its built-in ones."""
    weights: str = ""
    """Folder of its built-in weights in ``vg_gym/assets``; empty: no built-in weights."""
    fixed: Mapping[str, Any] = field(default_factory=dict)
    """Fixed arguments of the factory, which callers cannot change."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Defaults that differ from those of the factory; callers can change them."""
    passes_options_to: tuple[str, ...] = ()
    """``"package.module:name"`` of what further options of the factory reach; their names are options, too."""
    seen: str = ""
    """Labels that it has seen in training, without its CLIP and its detector; empty: unknown."""

    def load(self) -> Any:
        """Import and return the factory.

        Raises:
            VGGymError: the path is not ``"package.module:name"``, or the module lacks the name.
        """
        return load_object(self.factory)


@dataclass(frozen=True)
class GrounderSpec(Spec):
    """Description of how a grounder is built, with its declared capabilities."""

    takes_clip: bool = False
    """True if the factory has an option ``clip``; the CLIP of the command is passed to it."""
    refines: bool = False
    """True if it takes initial boxes; for other grounders they are an error."""
    fitted: bool = False
    """True if it is :class:`~vg_gym.types.Fitted`: it learns from training samples before its evaluation."""
    scored: bool = True
    """True if its answers have scores, so that ``nothing_below`` can make it say that nothing fits."""
    says_nothing: bool = False
    """True if it can answer that nothing fits without a threshold."""
    says_several: bool = False
    """True if it can answer with several boxes."""
    proposer: str = ""
    """Name of the proposer of a two-stage pipeline, whose options also reach the pipeline."""
    stands_on: Mapping[str, str] = field(default_factory=dict)
    """Frozen part of its built-in weights (``CLIP``, ``detector``) -> labels that it has seen."""
    any_words: bool = False
    """True if its default weights understand any words, not only those for drawn shapes."""
    published: str = ""
    """Default published weights, which are downloaded; empty: none."""
    finds: str = ""
    """``"package.module:name"`` of a function that raises an error if nothing has the name ARGUMENT; empty: none."""
    licence: str = ""
    """Licence of the published weights, as their publisher states it; empty: not known here."""
    argument: str = ""
    """Option to which ARGUMENT in ``NAME:ARGUMENT`` is passed; empty: the name takes no argument."""
    neutral: frozenset[str] = frozenset()
    """Options that do not change answers, such as numbers of threads; saved answers stay valid if they change."""


@dataclass(frozen=True)
class ProposerSpec(Spec):
    """Description of how a first stage is built; its factory takes ``weights`` and ``device`` and its options."""

    published: str | None = None
    """Published weights for pipelines whose CLIP is not the built-in one; None: a proposer without weights."""
    licence: str = ""
    """Licence of the published weights, as their publisher states it; empty: not known here."""
    takes_clip: bool = False
    """True if it receives the name of its pipeline's CLIP (``clip=``)."""


@dataclass(frozen=True)
class DatasetSpec(Spec):
    """Description of how a data set is opened; its factory takes (name, split, root=None, **options)."""

    splits: tuple[str, ...] = ("train", "val", "test")
    """Names of the splits."""
    read_from_disk: bool = False
    """True if it is read from a folder (``root``); other data sets are generated on access."""
    targets: str = "one"
    """Numbers of objects that an expression may mean: ``one``, or several of ``none, one, several``."""
    world: str = ""
    """Beginning of the names of the built-in weights that know a drawn data set; empty for photographs."""
    licence: str = ""
    """Licence of the annotations, as its publisher states it; empty for data of your own."""
    size: str = ""
    """Number of expressions or images; empty if it is chosen by options or files."""
