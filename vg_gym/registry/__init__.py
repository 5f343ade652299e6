"""Names to lazy specs: how a thing is built, what it needs and what it can.

``grounder("center")``, ``grounder("clip-window", clip="refshapes")``, ``grounder("agent:runs/latest")``;
``open_dataset("refshapes", "test")``. Nothing heavy is imported until a name is asked for. The tables of
what comes with the package are in :mod:`vg_gym.registry.tables`.

>>> list_grounders()["reclip"].takes_clip, list_grounders()["reclip"].proposer
(True, 'yolo')
>>> list_datasets()["refcocog-google"].splits
('train', 'val')
"""

from __future__ import annotations

from collections.abc import Mapping
from inspect import Parameter, signature
from types import MappingProxyType
from typing import Any

from vg_gym.errors import VGGymError, missing_extra, unknown
from vg_gym.registry.specs import DatasetSpec, GrounderSpec, ProposerSpec, Spec
from vg_gym.registry.tables import CEILINGS, DATASET_KINDS, DATASETS, GROUNDERS, LEARNED, PROPOSERS
from vg_gym.types import Grounder, GroundingDataset, Proposer


def list_grounders() -> dict[str, GrounderSpec]:
    """Every grounder, registered ones too, by name."""
    return dict(GROUNDERS)


def list_datasets() -> dict[str, DatasetSpec]:
    """Every data set, registered ones too, by name."""
    return dict(DATASETS)


def list_proposers() -> dict[str, ProposerSpec]:
    """The first stages of two-stage pipelines by name."""
    return dict(PROPOSERS)


def register_grounder(name: str, factory: str, **capabilities: Any) -> None:
    """Make ``grounder(name)`` call a factory; replaces an earlier entry.

    Args:
        name: of the grounder, without a colon.
        factory: ``"package.module:name"``.
        **capabilities: other fields of :class:`GrounderSpec`, e.g. ``takes_clip=True``.

    >>> register_grounder("upper-half", "vg_gym.baselines.priors:Constant", fixed={"box": (0, 0, 1, 0.5)})
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


def grounder(name: str, /, **options: Any) -> Grounder:
    """Build the grounder called ``name`` (``"center"``, ``"clip-window"``, ``"agent:runs/latest"``).

    Args:
        name: a key of :data:`GROUNDERS`, or ``KEY:ARGUMENT`` where the grounder takes an argument.
        **options: passed to the factory.

    Raises:
        VGGymError: the name or an option is unknown, the grounder takes no argument, or a package is missing.

    >>> grounder("center", fraction=0.3).name
    'center'
    """
    key, colon, argument = name.partition(":")
    if key not in GROUNDERS or not colon:
        return _build("grounder", key, GROUNDERS, options)
    option = GROUNDERS[key].argument
    if not option or not argument:
        raise VGGymError(f"{name!r}: {key} takes {'an' if option else 'no'} argument after the colon")
    return _build("grounder", key, GROUNDERS, options, {option: argument})


def grounder_with_clip(name: str, clip: str, /, **options: Any) -> Grounder:
    """:func:`grounder`, given a CLIP by name where it takes one and the options have none; agents keep their own."""
    spec = GROUNDERS.get(name.partition(":")[0])
    if spec is not None and spec.takes_clip:
        options.setdefault("clip", clip)
    return grounder(name, **options)


def proposer(name: str, /, **options: Any) -> Proposer:
    """Build the first stage of a two-stage pipeline: ``proposer("yolo", weights="yolov8n.pt").propose(images)``.

    Raises:
        VGGymError: the name or an option is unknown, a package is missing, or the weights are not found.
    """
    return _build("proposer", name, PROPOSERS, options)


def published_weights(name: str) -> str | None:
    """The published weights of a proposer; None where it has no weights.

    Raises:
        VGGymError: the name is unknown.
    """
    if name not in PROPOSERS:
        raise unknown("proposer", name, PROPOSERS)
    return PROPOSERS[name].published


def ceiling(name: str, /, **options: Any) -> Any:
    """Build what sees the answer: an object with ``name`` and ``ground_samples(samples)``.

    Raises:
        VGGymError: the name or an option is unknown.
    """
    return _build("ceiling", name, CEILINGS, options)


def network_class(name: str) -> Any:
    """The class of a trainable network, a :class:`vg_gym.learned.model.GroundingModel`.

    Raises:
        VGGymError: the name is unknown.
    """
    if name not in LEARNED:
        raise unknown("learned grounder", name, LEARNED)
    return LEARNED[name].load()


def open_dataset(name: str, split: str, root: str | None = None, **options: Any) -> GroundingDataset:
    """Open a split of a data set as a sequence of :class:`~vg_gym.types.Sample`, one per expression.

    Args:
        name: a key of :data:`DATASETS`; RefCOCO-type sets carry their split authority (``refcocog-umd``). Or
            ``hub:ORG/NAME``, ``hub:FOLDER`` (:mod:`vg_gym.data.parquet`).
        split: one of its spec's ``splits``: ``train``, ``val``, ``test`` (RefCOCO/+: ``testA``, ``testB``).
        root: folder with ``annotations`` and ``images`` for the real data sets; RefShapes needs none.
        **options: passed to the data set (RefShapes: ``image_size``, ``seed``).

    Raises:
        VGGymError: the name, the split or an option is unknown, or files are missing under ``root``.

    >>> open_dataset("refshapes", "test", scenes=2)[0].query.expression
    'the solid yellow shape'
    """
    return dataset_spec(name).load()(name, split, root=root, **options)


def dataset_spec(name: str) -> DatasetSpec:
    """The spec of a data set by name, or of its kind where the name is ``KIND:PLACE``.

    Raises:
        VGGymError: the name is unknown.
    """
    kind, colon, _ = name.partition(":")
    if colon and kind in DATASET_KINDS:
        return DATASET_KINDS[kind]
    if name not in DATASETS:
        raise unknown("data set", name, [*DATASETS, *(f"{kind}:..." for kind in DATASET_KINDS)])
    return DATASETS[name]


def _build(
    kind: str,
    name: str,
    table: Mapping[str, Spec],
    options: Mapping[str, Any],
    argument: Mapping[str, str] = MappingProxyType({}),
) -> Any:
    """Call the factory of a name, once its options are known to be ones it takes."""
    if name not in table:
        raise unknown(kind, name, table)
    spec = table[name]
    fixed = {**spec.fixed, **argument}
    try:
        factory = spec.load()
        _check_options(name, factory, fixed, options)
        return factory(**fixed, **{**spec.options, **options})
    except ModuleNotFoundError as error:
        if not spec.extra:
            raise
        raise missing_extra(name, str(error.name), spec.extra) from error


def _check_options(name: str, factory: Any, fixed: Mapping[str, Any], options: Mapping[str, Any]) -> None:
    parameters = signature(factory).parameters.values()
    takes_any = any(p.kind is Parameter.VAR_KEYWORD for p in parameters)
    known = [p.name for p in parameters if p.kind is not Parameter.VAR_KEYWORD and p.name not in fixed]
    for option in options:
        if option in fixed or not (takes_any or option in known):
            raise unknown(f"option of {name}", option, known)
