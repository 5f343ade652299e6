"""Names to lazy specs: how a thing is built, what it needs, what it can. The only module that names concrete classes.

``grounder("center")``, ``grounder("clip-window", clip="refshapes")``, ``grounder("agent:runs/latest")``;
``open_dataset("refshapes", "test")``. Nothing heavy is imported until a name is asked for.

>>> list_grounders()["reclip"].takes_clip, list_grounders()["reclip"].proposer
(True, 'yolo')
>>> list_datasets()["refcocog-google"].splits
('train', 'val')
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from inspect import Parameter, signature
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from vg_gym.errors import VGGymError, missing_extra, unknown
from vg_gym.types import Grounder, GroundingDataset

if TYPE_CHECKING:
    from vg_gym.baselines.proposals import Proposer


@dataclass(frozen=True)
class Spec:
    """How a thing is built, known before anything of it is imported."""

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
    """The first stage of a two-stage pipeline, a name of :data:`PROPOSERS`; options of that reach the pipeline."""
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


PROPOSERS: dict[str, ProposerSpec] = {
    "yolo": ProposerSpec(
        "vg_gym.baselines.detectors.yolo:load_yolo", "YOLO of ultralytics", "pipelines", published="yolov8x.pt"
    ),
    "detr": ProposerSpec(
        "vg_gym.baselines.detectors.detr:load_detr",
        "DETR or RT-DETR of transformers",
        "pipelines",
        published="facebook/detr-resnet-50",
    ),
    "ssd": ProposerSpec("vg_gym.baselines.detectors.ssd:load_ssd", "SSD of torchvision", published="ssd300_vgg16"),
    "sam": ProposerSpec("vg_gym.baselines.detectors.sam:load_sam", "segment anything", "pipelines", published="vit_h"),
    "segments": ProposerSpec("vg_gym.baselines.segments:SegmentProposer", "superpixels and watersheds", "pipelines"),
}
"""First stages of two-stage pipelines."""


def _two_stage(proposer: str, summary: str, **options: Any) -> GrounderSpec:
    return GrounderSpec(
        "vg_gym.baselines.two_stage:TwoStageGrounder",
        summary,
        PROPOSERS[proposer].extra,
        {"proposer": proposer},
        options,
        takes_clip=True,
        proposer=proposer,
    )


def _heat_map(scorer: str, summary: str) -> GrounderSpec:
    factory = "vg_gym.baselines.heat_map_grounder:HeatMapGrounder"
    return GrounderSpec(factory, summary, "pipelines", {"scorer": scorer}, takes_clip=True)


def _one_stage(name: str, summary: str) -> GrounderSpec:
    factory = "vg_gym.baselines.one_stage.grounders:one_stage"
    return GrounderSpec(factory, summary, "pipelines", {"name": name}, argument="weights")


def _diffusion(factory: str, summary: str) -> GrounderSpec:
    return GrounderSpec(f"vg_gym.diffusion.grounder:{factory}", summary, refines=True, argument="weights")


GROUNDERS: dict[str, GrounderSpec] = {
    "no-op": GrounderSpec("vg_gym.baselines.priors:NoOp", "the initial box as it is", refines=True),
    "full": GrounderSpec("vg_gym.baselines.priors:full", "the whole image"),
    "center": GrounderSpec("vg_gym.baselines.priors:center", "a centred box"),
    "constant": GrounderSpec("vg_gym.baselines.priors:Constant", "the best constant box of training", fitted=True),
    "random": GrounderSpec("vg_gym.baselines.priors:random", "a random box"),
    "clip-window": GrounderSpec("vg_gym.baselines.clip_window:ClipWindow", "CLIP's best window", takes_clip=True),
    "yolo-clip": _two_stage("yolo", "boxes of YOLO, chosen by CLIP"),
    "detr-clip": _two_stage("detr", "boxes of DETR, chosen by CLIP"),
    "ssd-clip": _two_stage("ssd", "boxes of SSD, chosen by CLIP"),
    "sam-clip": _two_stage("sam", "boxes of SAM's masks, chosen by CLIP"),
    "segments-clip": _two_stage(
        "segments", "boxes of segments, chosen by CLIP", min_confidence=0.0, max_boxes=200, max_overlap=0.95
    ),
    "reclip": _two_stage(
        "yolo", "ReCLIP: crops, blurs and spatial relations", views="crop+blur", parse=True, name="reclip"
    ),
    "seg-clip": _heat_map("crops", "heat map of segments, scored as crops"),
    "adapting-clip": _heat_map("regions", "heat map of segments, scored by region attention"),
    "mdetr": _one_stage("mdetr", "MDETR"),
    "transvg": _one_stage("transvg", "TransVG"),
    "dynamic-mdetr": _one_stage("dynamic-mdetr", "Dynamic MDETR"),
    "dynamic-mdetr-clip": _one_stage("dynamic-mdetr-clip", "Dynamic MDETR over CLIP's ViT; no built-in weights"),
    "red": _one_stage("red", "TransVG with RED"),
    "diffusion": _diffusion("diffusion", "box diffusion, deterministic sampling (DDIM)"),
    "diffusion-ddpm": _diffusion("diffusion_ddpm", "box diffusion, ancestral sampling (DDPM)"),
    "diffusion-vector": _diffusion("diffusion_vector", "diffusion of four numbers; no built-in weights"),
    "agent": GrounderSpec(
        "vg_gym.agents.grounder:load_agent", "agent:NAME, a run folder or built-in agent", refines=True, argument="name"
    ),
}
"""Every grounder by name; ``NAME:ARGUMENT`` passes ARGUMENT as the option that the spec's ``argument`` names."""

CEILINGS: dict[str, Spec] = {
    "action-oracle": Spec("vg_gym.agents.oracle:ActionOracle", "the greedy best moves of an action set")
}
"""What sees the answer: objects with ``name`` and ``ground_samples(samples)``; never grounders."""

LEARNED: dict[str, Spec] = {
    "mdetr": Spec("vg_gym.baselines.one_stage.mdetr:MDETR", "MDETR", "pipelines"),
    "transvg": Spec("vg_gym.baselines.one_stage.transvg:TransVG", "TransVG", "pipelines"),
    "dynamic-mdetr": Spec("vg_gym.baselines.one_stage.dynamic_mdetr:DynamicMDETR", "Dynamic MDETR", "pipelines"),
    "red": Spec("vg_gym.baselines.one_stage.transvg:RED", "TransVG with RED", "pipelines"),
    "dynamic-mdetr-clip": Spec(
        "vg_gym.baselines.one_stage.dynamic_mdetr_clip:DynamicMDETRClip", "Dynamic MDETR over CLIP's ViT", "pipelines"
    ),
    "diffusion": Spec("vg_gym.diffusion.model:BoxDiffusion", "box diffusion"),
}
"""Networks that ``train_grounder.py`` trains: classes of :class:`vg_gym.learned.model.GroundingModel`."""


def _refshapes(summary: str) -> DatasetSpec:
    return DatasetSpec("vg_gym.data.refshapes:open_refshapes", summary)


def _refcoco(summary: str, *splits: str) -> DatasetSpec:
    return DatasetSpec("vg_gym.data.refcoco:open_refcoco", summary, splits=splits, read_from_disk=True)


DATASETS: dict[str, DatasetSpec] = {
    "refshapes": _refshapes("drawn scenes of shapes"),
    "refshapes-easy": _refshapes("with fewer objects"),
    "refshapes-hard": _refshapes("with more objects"),
    "refshapes-biased": _refshapes("with a prior planted in training alone"),
    "refcocog-umd": _refcoco("RefCOCOg, UMD's split", "train", "val", "test"),
    "refcocog-google": _refcoco("RefCOCOg, Google's split", "train", "val"),
    "refcoco-unc": _refcoco("RefCOCO", "train", "val", "testA", "testB"),
    "refcoco+-unc": _refcoco("RefCOCO+, without words of place", "train", "val", "testA", "testB"),
}
"""Every data set by name."""


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
        name: a key of :data:`DATASETS`; RefCOCO-type sets carry their split authority (``refcocog-umd``).
        split: one of its spec's ``splits``: ``train``, ``val``, ``test`` (RefCOCO/+: ``testA``, ``testB``).
        root: folder with ``annotations`` and ``images`` for the real data sets; RefShapes needs none.
        **options: passed to the data set (RefShapes: ``image_size``, ``seed``).

    Raises:
        VGGymError: the name, the split or an option is unknown, or files are missing under ``root``.

    >>> open_dataset("refshapes", "test", scenes=2)[0].query.expression
    'the solid yellow shape'
    """
    if name not in DATASETS:
        raise unknown("data set", name, DATASETS)
    return DATASETS[name].load()(name, split, root=root, **options)


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
