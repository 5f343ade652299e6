"""Registry from names to lazy specs, which describe how an object is built, its needs and its capabilities.

``grounder("center")``, ``grounder("clip-window", clip="refshapes")``, ``grounder("agent:runs/latest")``,
``grounder("my_package.module:factory")``; ``open_dataset("refshapes", "test")``. Heavy modules are
imported only when an object is built. The tables of this package are in :mod:`vg_gym.registry.tables`;
:mod:`vg_gym.registry.plugins` finds the objects of other packages.

>>> list_grounders()["reclip"].takes_clip, list_grounders()["reclip"].proposer
(True, 'yolo')
>>> list_datasets()["refcocog-google"].splits
('train', 'val')
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from vg_gym.config import check_options
from vg_gym.errors import CLIP_FLAG, MissingWeights, UnknownName, VGGymError, missing_extra, place_of, unknown
from vg_gym.registry.plugins import GROUPS, S, load_plugins, offered, offered_spec, spec_at
from vg_gym.registry.specs import DatasetSpec, GrounderSpec, ProposerSpec, Spec, load_object
from vg_gym.registry.tables import CEILINGS, DATASET_KINDS, DATASETS, FILE_ENDINGS, FILES, GROUNDERS, LEARNED, PROPOSERS
from vg_gym.types import Grounder, GroundingDataset, Proposer

__all__ = [
    "CEILINGS", "DATASETS", "GROUNDERS", "LEARNED", "PROPOSERS", "DatasetSpec", "GrounderSpec", "ProposerSpec", "Spec",
    "ceiling", "check_factory_options", "dataset_spec",
    "grounder", "grounder_key", "grounder_names", "grounder_spec", "grounder_with_clip",
    "is_grounder", "list_datasets", "list_grounders", "list_proposers", "load_plugins", "network_class", "open_dataset",
    "proposer", "proposer_spec", "register_dataset", "register_grounder", "register_proposer", "registered",
    "register_all", "refuse_code",
]  # fmt: skip


def list_grounders() -> dict[str, GrounderSpec]:
    """Return all grounders by name, including registered ones and those of entry points; warn of broken ones."""
    return {**GROUNDERS, **_offered_specs(GrounderSpec, GROUNDERS)}


def list_datasets() -> dict[str, DatasetSpec]:
    """Return all data sets by name, including registered ones and those of entry points; warn of broken ones."""
    return {**DATASETS, **_offered_specs(DatasetSpec, DATASETS)}


def _offered_specs(kind: type[S], table: Mapping[str, S]) -> dict[str, S]:
    specs = {}
    for name, entry in offered(kind).items():
        try:
            if name not in table:
                specs[name] = offered_spec(kind, name)
            elif table[name].factory.startswith("vg_gym."):
                raise VGGymError(f"entry point {name!r} ({entry.value}) is left out: vg_gym itself uses that name")
        except VGGymError as error:
            warnings.warn(str(error), stacklevel=3)
    return specs


def list_proposers() -> dict[str, ProposerSpec]:
    """Return the first stages of two-stage pipelines by name."""
    return dict(PROPOSERS)


def register_grounder(name: str, factory: str, **capabilities: Any) -> None:
    """Register a factory that ``grounder(name)`` calls; it replaces an earlier entry.

    Args:
        name: name of the grounder, without a colon.
        factory: ``"package.module:name"``.
        **capabilities: other fields of :class:`GrounderSpec`, e.g. ``takes_clip=True``.

    >>> register_grounder("upper-half", "vg_gym.baselines.priors:constant", fixed={"box": (0, 0, 1, 0.5)})
    >>> grounder("upper-half").name
    'constant'
    >>> del GROUNDERS["upper-half"]
    """
    GROUNDERS[name] = GrounderSpec(factory, **capabilities)


def register_dataset(name: str, factory: str, **capabilities: Any) -> None:
    """Register a factory that ``open_dataset(name, split)`` calls; it replaces an earlier entry.

    Args:
        name: name of the data set.
        factory: ``"package.module:name"``, which takes (name, split, root=None, **options).
        **capabilities: other fields of :class:`DatasetSpec`, e.g. ``splits=("train", "test")``.
    """
    DATASETS[name] = DatasetSpec(factory, **capabilities)


def register_proposer(name: str, factory: str, **capabilities: Any) -> None:
    """Register a factory that ``proposer(name)`` calls; it replaces an earlier entry.

    Args:
        name: name of the proposer, without a colon.
        factory: ``"package.module:name"``, which takes ``device``, and ``weights`` if it has weights.
        **capabilities: other fields of :class:`ProposerSpec`, e.g. ``published="yolov8x.pt"``.
    """
    PROPOSERS[name] = ProposerSpec(factory, **capabilities)


def registered() -> tuple[dict[str, GrounderSpec], dict[str, DatasetSpec], dict[str, ProposerSpec]]:
    """Return the tables of grounders, data sets and proposers, for :func:`register_all` in another process."""
    return dict(GROUNDERS), dict(DATASETS), dict(PROPOSERS)


def register_all(known: tuple[dict[str, GrounderSpec], dict[str, DatasetSpec], dict[str, ProposerSpec]]) -> None:
    """Register the entries that :func:`registered` returned in another process."""
    for table, specs in zip((GROUNDERS, DATASETS, PROPOSERS), known, strict=True):
        table.update(specs)  # type: ignore[attr-defined]


def grounder_names() -> list[str]:
    """Return the names of all grounders, without importing anything."""
    return [*GROUNDERS, *offered(GrounderSpec)]


def grounder_key(name: str) -> str:
    """Return the name of a grounder without its argument; options are given by this name.

    >>> grounder_key("agent:refshapes"), grounder_key("my_package.module:factory")
    ('agent', 'my_package.module:factory')
    """
    key = name.partition(":")[0]
    return key if key in GROUNDERS or key in offered(GrounderSpec) else name


def grounder_spec(name: str) -> GrounderSpec:
    """Return the spec of a grounder from the tables, an entry point, or ``package.module:factory``.

    Raises:
        VGGymError: the name is unknown, or its factory cannot be imported.
    """
    return _spec("grounder", grounder_key(name), GROUNDERS, GrounderSpec)


def is_grounder(name: str) -> bool:
    """Return whether a grounder of this name exists."""
    try:
        return bool(grounder_spec(name))
    except UnknownName:
        return False


def dataset_spec(name: str) -> DatasetSpec:
    """Return the spec of a data set from the tables, a file, a kind (``hub:``), an entry point, or its factory.

    Raises:
        VGGymError: the name is unknown, or its factory cannot be imported.

    >>> dataset_spec("refshapes").splits, dataset_spec("mine.jsonl").splits
    (('train', 'val', 'test'), ('all',))
    """
    if (kind := name.partition(":"))[1] and kind[0] in DATASET_KINDS:
        return DATASET_KINDS[kind[0]]
    if name not in DATASETS and name.lower().endswith(FILE_ENDINGS):
        return FILES
    return _spec("data set", name, DATASETS, DatasetSpec, [f"FILE{ending}" for ending in FILE_ENDINGS])


def refuse_code(kind: type[Spec], name: str, file: object, remedy: str) -> None:
    """Raise an error if a name in a file would import a module: names in files never import code.

    Names in the tables are accepted, including those that the user's plugins registered. Names of entry points and
    ``package.module:factory`` are rejected. Unknown names raise an error later, when they are looked up.

    Args:
        kind: ``GrounderSpec`` or ``DatasetSpec``.
        name: name in the file.
        file: file and field, for the error message.
        remedy: advice for users who trust the code.

    Raises:
        VGGymError: the name would import a module.

    >>> refuse_code(GrounderSpec, "agent:refshapes", "agent.json", "")
    >>> refuse_code(GrounderSpec, "downloaded.evil:make", "agent.json", "type it yourself")
    Traceback (most recent call last):
    vg_gym.errors.VGGymError: agent.json names the code 'downloaded.evil:make', and what a file names is never \
imported; if you trust it, type it yourself
    """
    if kind is DatasetSpec:
        built_in = name in DATASETS or name.partition(":")[0] in DATASET_KINDS or name.lower().endswith(FILE_ENDINGS)
    else:
        built_in = name.partition(":")[0] in GROUNDERS
    if not built_in and (":" in name or name in offered(kind)):
        raise VGGymError(
            f"{file} names the code {name!r}, and what a file names is never imported; if you trust it, {remedy}"
        )


def _spec(what: str, name: str, table: Mapping[str, S], kind: type[S], others: Sequence[str] = ()) -> S:
    """Return the spec of a name. The error for unknown names also lists ``others``, names that are in no table."""
    if name in table:
        return table[name]
    if name in offered(kind):
        return offered_spec(kind, name)
    error = unknown(what, name.partition(":")[0], [*table, *offered(kind), *others])
    if ":" not in name or kind not in GROUPS:
        raise error
    return spec_at(kind, name, error)


def grounder(name: str, /, **options: Any) -> Grounder:
    """Build the grounder called ``name`` (``"center"``, ``"clip-window"``, ``"agent:runs/latest"``).

    Args:
        name: a key of :data:`GROUNDERS`, or ``KEY:ARGUMENT`` if the grounder takes an argument; the name of an entry
            point of another package; or ``package.module:factory``.
        **options: options of the factory.

    Raises:
        VGGymError: the name or an option is unknown, the grounder takes no argument, or a package is missing.

    >>> grounder("center", fraction=0.3).name
    'center'
    """
    spec, key = grounder_spec(name), grounder_key(name)
    argument = name[len(key) + 1 :]
    if name != key and not (spec.argument and argument):
        raise VGGymError(f"{name!r}: {key} takes {'an' if spec.argument else 'no'} argument after the colon")
    try:
        return _build(key, spec, options, {spec.argument: argument} if argument else {})
    except MissingWeights as error:
        if not spec.takes_clip or ":" not in (clip := str(options.get("clip", ""))):
            raise
        remedy = f"CLIP {clip} is fetched as well: give clip=ARCHITECTURE:FILE {CLIP_FLAG}"
        raise MissingWeights(f"{error}. {remedy}") from error


def grounder_with_clip(name: str, clip: str, /, **options: Any) -> Grounder:
    """Build a :func:`grounder` with a CLIP if it takes one and the options have none; agents keep their own CLIP."""
    if grounder_spec(name).takes_clip:
        options.setdefault("clip", clip)
    return grounder(name, **options)


def proposer(name: str, /, **options: Any) -> Proposer:
    """Build the first stage of a two-stage pipeline: ``proposer("yolo", weights="yolov8n.pt").propose(images)``.

    Raises:
        VGGymError: the name or an option is unknown, a package is missing, or the weights are not found.
    """
    return _build(name, proposer_spec(name), options)


def proposer_spec(name: str) -> ProposerSpec:
    """Return the spec of a proposer.

    Raises:
        VGGymError: the name is unknown.
    """
    return _spec("proposer", name, PROPOSERS, ProposerSpec)


def ceiling(name: str, /, **options: Any) -> Any:
    """Build a ceiling, which sees the true boxes: an object with ``name`` and ``ground_samples(samples)``.

    Raises:
        VGGymError: the name or an option is unknown.
    """
    return _build(name, _spec("ceiling", name, CEILINGS, Spec), options)


def network_class(name: str) -> Any:
    """Return the class of a trainable network, a :class:`vg_gym.learned.model.GroundingModel`.

    Raises:
        VGGymError: the name is unknown.
    """
    return _spec("learned grounder", name, LEARNED, Spec).load()


def open_dataset(name: str, split: str, root: str | None = None, **options: Any) -> GroundingDataset:
    """Open a split of a data set as a sequence of :class:`~vg_gym.types.Sample`, one per expression.

    Args:
        name: a key of :data:`DATASETS`; RefCOCO-type sets carry their split authority (``refcocog-umd``). Or a file
            of your data, ``FILE.jsonl`` or ``FILE.json`` (:mod:`vg_gym.data.own`), ``hub:ORG/NAME`` or ``hub:FOLDER``
            (:mod:`vg_gym.data.parquet`), the name of an entry point of another package, or ``package.module:factory``.
        split: one of the ``splits`` in its spec: ``train``, ``val``, ``test`` (RefCOCO/+: ``testA``, ``testB``).
        root: folder with ``annotations`` and ``images`` for the real data sets; RefShapes needs none. For a file, the
            folder to which image paths are relative.
        **options: options of the data set (RefShapes: ``image_size``, ``seed``).

    Raises:
        VGGymError: the name, the split or an option is unknown, or files are missing under ``root``.

    >>> open_dataset("refshapes", "test", scenes=2)[0].query.expression
    'the solid yellow shape'
    """
    return dataset_spec(name).load()(name, split, root=root, **options)


def check_factory_options(name: str, spec: Spec, options: Mapping[str, Any], argument: Iterable[str] = ()) -> None:
    """Reject options that the factory of a spec, or what it passes options to, does not accept.

    Args:
        name: name in messages.
        spec: spec of the factory.
        options: name -> value.
        argument: parameters that the name itself sets.

    Raises:
        VGGymError: an option is unknown or out of range.

    >>> check_factory_options("center", GROUNDERS["center"], {"fration": 0.3})
    Traceback (most recent call last):
    vg_gym.errors.UnknownName: unknown option of center 'fration': did you mean 'fraction'? known: fraction
    """
    paths, proposer_name = [*spec.passes_options_to], getattr(spec, "proposer", "")
    if proposer_name:
        first = proposer_spec(proposer_name)
        paths += [first.factory, *first.passes_options_to]
    passed_to = [load_object(path) for path in paths]
    check_options(name, spec.load(), options, [*spec.fixed, *argument], passed_to)


def _build(
    name: str, spec: Spec, options: Mapping[str, Any], argument: Mapping[str, str] = MappingProxyType({})
) -> Any:
    """Check the options of a spec's factory, and call it."""
    fixed = {**spec.fixed, **argument}
    try:
        factory = spec.load()
        check_factory_options(name, spec, options, argument)
        return factory(**fixed, **{**spec.options, **options})
    except ModuleNotFoundError as error:
        extra = spec.extra or spec.published_extra
        if not extra:
            raise
        raise missing_extra(name, str(error.name), extra) from error
    except VGGymError:
        raise
    except Exception as error:  # third-party code may fail in any way
        if spec.factory.startswith("vg_gym."):
            raise
        reason = f"{type(error).__name__}: {error}{place_of(error)}"
        raise VGGymError(f"{name} cannot be built: {reason}") from error
