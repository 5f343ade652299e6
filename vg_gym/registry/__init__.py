"""Names to lazy specs: how a thing is built, what it needs and what it can.

``grounder("center")``, ``grounder("clip-window", clip="refshapes")``, ``grounder("agent:runs/latest")``,
``grounder("my_package.module:factory")``; ``open_dataset("refshapes", "test")``. Nothing heavy is imported until a name
is asked for. The tables of what comes with the package are in :mod:`vg_gym.registry.tables`; what others bring is found
by :mod:`vg_gym.registry.plugins`.

>>> list_grounders()["reclip"].takes_clip, list_grounders()["reclip"].proposer
(True, 'yolo')
>>> list_datasets()["refcocog-google"].splits
('train', 'val')
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from vg_gym.config import check_options
from vg_gym.errors import UnknownName, VGGymError, missing_extra, unknown
from vg_gym.registry.plugins import GROUPS, S, load_plugins, offered, offered_spec, spec_at
from vg_gym.registry.specs import DatasetSpec, GrounderSpec, ProposerSpec, Spec
from vg_gym.registry.tables import CEILINGS, DATASET_KINDS, DATASETS, FILE_ENDINGS, FILES, GROUNDERS, LEARNED, PROPOSERS
from vg_gym.types import Grounder, GroundingDataset, Proposer

__all__ = [
    "CEILINGS", "DATASETS", "GROUNDERS", "LEARNED", "PROPOSERS", "DatasetSpec", "GrounderSpec", "ProposerSpec", "Spec",
    "ceiling", "dataset_spec", "grounder", "grounder_key", "grounder_names", "grounder_spec", "grounder_with_clip",
    "is_grounder", "list_datasets", "list_grounders", "list_proposers", "load_plugins", "network_class", "open_dataset",
    "proposer", "proposer_spec", "register_dataset", "register_grounder", "register_proposer", "registered",
    "register_all", "refuse_code",
]  # fmt: skip


def list_grounders() -> dict[str, GrounderSpec]:
    """Every grounder by name, registered ones and those of entry points too; a warning names those that are broken."""
    return {**GROUNDERS, **_offered_specs(GrounderSpec, GROUNDERS)}


def list_datasets() -> dict[str, DatasetSpec]:
    """Every data set by name, registered ones and those of entry points too; a warning names those that are broken."""
    return {**DATASETS, **_offered_specs(DatasetSpec, DATASETS)}


def _offered_specs(kind: type[S], table: Mapping[str, S]) -> dict[str, S]:
    specs = {}
    for name, entry in offered(kind).items():
        try:
            if name not in table:
                specs[name] = offered_spec(kind, name)
            elif table[name].factory.startswith("vg_gym."):
                raise VGGymError(f"entry point {name!r} ({entry.value}) is left out: that is a name of vg_gym's own")
        except VGGymError as error:
            warnings.warn(str(error), stacklevel=3)
    return specs


def list_proposers() -> dict[str, ProposerSpec]:
    """The first stages of two-stage pipelines by name."""
    return dict(PROPOSERS)


def register_grounder(name: str, factory: str, **capabilities: Any) -> None:
    """Make ``grounder(name)`` call a factory; replaces an earlier entry.

    Args:
        name: of the grounder, without a colon.
        factory: ``"package.module:name"``.
        **capabilities: other fields of :class:`GrounderSpec`, e.g. ``takes_clip=True``.

    >>> register_grounder("upper-half", "vg_gym.baselines.priors:constant", fixed={"box": (0, 0, 1, 0.5)})
    >>> grounder("upper-half").name
    'constant'
    >>> del GROUNDERS["upper-half"]
    """
    GROUNDERS[name] = GrounderSpec(factory, **capabilities)


def register_dataset(name: str, factory: str, **capabilities: Any) -> None:
    """Make ``open_dataset(name, split)`` call a factory; replaces an earlier entry.

    Args:
        name: of the data set.
        factory: ``"package.module:name"``, which takes (name, split, root=None, **options).
        **capabilities: other fields of :class:`DatasetSpec`, e.g. ``splits=("train", "test")``.
    """
    DATASETS[name] = DatasetSpec(factory, **capabilities)


def register_proposer(name: str, factory: str, **capabilities: Any) -> None:
    """Make ``proposer(name)`` call a factory; replaces an earlier entry.

    Args:
        name: of the proposer, without a colon.
        factory: ``"package.module:name"``, which takes ``device``, and ``weights`` where it has any.
        **capabilities: other fields of :class:`ProposerSpec`, e.g. ``published="yolov8x.pt"``.
    """
    PROPOSERS[name] = ProposerSpec(factory, **capabilities)


def registered() -> tuple[dict[str, GrounderSpec], dict[str, DatasetSpec], dict[str, ProposerSpec]]:
    """All that stands in the tables, for another process to :func:`register_all`."""
    return dict(GROUNDERS), dict(DATASETS), dict(PROPOSERS)


def register_all(known: tuple[dict[str, GrounderSpec], dict[str, DatasetSpec], dict[str, ProposerSpec]]) -> None:
    """Register what another process knows."""
    for table, specs in zip((GROUNDERS, DATASETS, PROPOSERS), known, strict=True):
        table.update(specs)  # type: ignore[attr-defined]


def grounder_names() -> list[str]:
    """The names of all grounders; nothing is imported."""
    return [*GROUNDERS, *offered(GrounderSpec)]


def grounder_key(name: str) -> str:
    """What the options of a grounder are given to: its name without an argument.

    >>> grounder_key("agent:refshapes"), grounder_key("my_package.module:factory")
    ('agent', 'my_package.module:factory')
    """
    key = name.partition(":")[0]
    return key if key in GROUNDERS or key in offered(GrounderSpec) else name


def grounder_spec(name: str) -> GrounderSpec:
    """The spec of a grounder: of the tables, of an entry point, or of ``package.module:factory``.

    Raises:
        VGGymError: the name is unknown, or what it names cannot be imported.
    """
    return _spec("grounder", grounder_key(name), GROUNDERS, GrounderSpec)


def is_grounder(name: str) -> bool:
    """Whether there is a grounder of this name."""
    try:
        return bool(grounder_spec(name))
    except UnknownName:
        return False


def dataset_spec(name: str) -> DatasetSpec:
    """The spec of a data set: of the tables, of a file, of a kind (``hub:``), of an entry point, or by its factory.

    Raises:
        VGGymError: the name is unknown, or what it names cannot be imported.

    >>> dataset_spec("refshapes").splits, dataset_spec("mine.jsonl").splits
    (('train', 'val', 'test'), ('all',))
    """
    if (kind := name.partition(":"))[1] and kind[0] in DATASET_KINDS:
        return DATASET_KINDS[kind[0]]
    if name not in DATASETS and name.lower().endswith(FILE_ENDINGS):
        return FILES
    return _spec("data set", name, DATASETS, DatasetSpec, [f"FILE{ending}" for ending in FILE_ENDINGS])


def refuse_code(kind: type[Spec], name: str, file: object, remedy: str) -> None:
    """Refuse a name that a file gives and that would import a module: what a file says is never imported.

    Names in the tables are accepted, those that the user's own plugins registered included. Names of entry points and
    ``package.module:factory`` are refused. A name that nothing has is left to whoever looks it up.

    Args:
        kind: ``GrounderSpec`` or ``DatasetSpec``.
        name: what the file names.
        file: the file, and the field of it, for the error.
        remedy: what the user can do where the code is trusted.

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
    """The spec of a name; an error says ``others`` too, kinds of names that are in no table."""
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
        name: a key of :data:`GROUNDERS`, or ``KEY:ARGUMENT`` where the grounder takes an argument; the name of an entry
            point of another package; or ``package.module:factory``.
        **options: passed to the factory.

    Raises:
        VGGymError: the name or an option is unknown, the grounder takes no argument, or a package is missing.

    >>> grounder("center", fraction=0.3).name
    'center'
    """
    spec, key = grounder_spec(name), grounder_key(name)
    argument = name[len(key) + 1 :]
    if name != key and not (spec.argument and argument):
        raise VGGymError(f"{name!r}: {key} takes {'an' if spec.argument else 'no'} argument after the colon")
    return _build(key, spec, options, {spec.argument: argument} if argument else {})


def grounder_with_clip(name: str, clip: str, /, **options: Any) -> Grounder:
    """:func:`grounder`, given a CLIP by name where it takes one and the options have none; agents keep their own."""
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
    """The spec of a proposer.

    Raises:
        VGGymError: the name is unknown.
    """
    return _spec("proposer", name, PROPOSERS, ProposerSpec)


def ceiling(name: str, /, **options: Any) -> Any:
    """Build what sees the answer: an object with ``name`` and ``ground_samples(samples)``.

    Raises:
        VGGymError: the name or an option is unknown.
    """
    return _build(name, _spec("ceiling", name, CEILINGS, Spec), options)


def network_class(name: str) -> Any:
    """The class of a trainable network, a :class:`vg_gym.learned.model.GroundingModel`.

    Raises:
        VGGymError: the name is unknown.
    """
    return _spec("learned grounder", name, LEARNED, Spec).load()


def open_dataset(name: str, split: str, root: str | None = None, **options: Any) -> GroundingDataset:
    """Open a split of a data set as a sequence of :class:`~vg_gym.types.Sample`, one per expression.

    Args:
        name: a key of :data:`DATASETS`; RefCOCO-type sets carry their split authority (``refcocog-umd``). Or a file of
            one's own, ``FILE.jsonl`` or ``FILE.json`` (:mod:`vg_gym.data.own`), ``hub:ORG/NAME`` or ``hub:FOLDER``
            (:mod:`vg_gym.data.parquet`), the name of an entry point of another package, or ``package.module:factory``.
        split: one of its spec's ``splits``: ``train``, ``val``, ``test`` (RefCOCO/+: ``testA``, ``testB``).
        root: folder with ``annotations`` and ``images`` for the real data sets; RefShapes needs none. Of a file: what
            its images' paths are relative to.
        **options: passed to the data set (RefShapes: ``image_size``, ``seed``).

    Raises:
        VGGymError: the name, the split or an option is unknown, or files are missing under ``root``.

    >>> open_dataset("refshapes", "test", scenes=2)[0].query.expression
    'the solid yellow shape'
    """
    return dataset_spec(name).load()(name, split, root=root, **options)


def _build(
    name: str, spec: Spec, options: Mapping[str, Any], argument: Mapping[str, str] = MappingProxyType({})
) -> Any:
    """Call the factory of a spec, once its options are known to be ones it takes."""
    fixed = {**spec.fixed, **argument}
    try:
        factory = spec.load()
        check_options(name, factory, options, fixed)
        return factory(**fixed, **{**spec.options, **options})
    except ModuleNotFoundError as error:
        extra = spec.extra or spec.published_extra
        if not extra:
            raise
        raise missing_extra(name, str(error.name), extra) from error
