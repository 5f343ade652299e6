"""Names to lazy factories, for grounders and data sets. The only module that names concrete classes.

``grounder("center")``, ``grounder("clip-window", clip="refshapes")``, ``grounder("agent:runs/latest")``;
``open_dataset("refshapes", "test")``. Nothing heavy is imported until a name is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import import_module
from inspect import Parameter, signature
from typing import TYPE_CHECKING, Any

from vg_gym.errors import unknown
from vg_gym.types import Grounder, GroundingDataset

if TYPE_CHECKING:
    from vg_gym.baselines.proposals import Proposer

GROUNDERS: dict[str, str] = {
    "no-op": "vg_gym.baselines.priors:NoOp",
    "full": "vg_gym.baselines.priors:full",
    "center": "vg_gym.baselines.priors:center",
    "constant": "vg_gym.baselines.priors:constant",
    "random": "vg_gym.baselines.priors:random",
    "clip-window": "vg_gym.baselines.clip_window:ClipWindow",
    "yolo-clip": "vg_gym.baselines.two_stage:yolo_clip",
    "detr-clip": "vg_gym.baselines.two_stage:detr_clip",
    "ssd-clip": "vg_gym.baselines.two_stage:ssd_clip",
    "sam-clip": "vg_gym.baselines.two_stage:sam_clip",
    "segments-clip": "vg_gym.baselines.two_stage:segments_clip",
    "reclip": "vg_gym.baselines.two_stage:reclip",
    "seg-clip": "vg_gym.baselines.heat_map_grounder:seg_clip",
    "adapting-clip": "vg_gym.baselines.heat_map_grounder:adapting_clip",
    "mdetr": "vg_gym.baselines.one_stage.grounders:mdetr",
    "transvg": "vg_gym.baselines.one_stage.grounders:transvg",
    "dynamic-mdetr": "vg_gym.baselines.one_stage.grounders:dynamic_mdetr",
    "dynamic-mdetr-clip": "vg_gym.baselines.one_stage.grounders:dynamic_mdetr_clip",
    "red": "vg_gym.baselines.one_stage.grounders:red",
    "diffusion": "vg_gym.diffusion.grounder:diffusion",
    "diffusion-ddpm": "vg_gym.diffusion.grounder:diffusion_ddpm",
    "diffusion-vector": "vg_gym.diffusion.grounder:diffusion_vector",
    "agent": "vg_gym.agents.grounder:load_agent",
}
"""Grounder name -> "module:factory". A name of the form ``NAME:ARGUMENT`` passes ARGUMENT as first argument."""

LEARNED: dict[str, str] = {
    "mdetr": "vg_gym.baselines.one_stage.mdetr:MDETR",
    "transvg": "vg_gym.baselines.one_stage.transvg:TransVG",
    "dynamic-mdetr": "vg_gym.baselines.one_stage.dynamic_mdetr:DynamicMDETR",
    "red": "vg_gym.baselines.one_stage.transvg:RED",
    "dynamic-mdetr-clip": "vg_gym.baselines.one_stage.dynamic_mdetr_clip:DynamicMDETRClip",
    "diffusion": "vg_gym.diffusion.model:BoxDiffusion",
}
"""What ``train_grounder.py`` trains, as "module:class" of a :class:`vg_gym.learned.model.GroundingModel`."""

CEILINGS: dict[str, str] = {"action-oracle": "vg_gym.agents.oracle:ActionOracle"}
"""What sees the answer, as "module:factory": objects with ``name`` and ``ground_samples(samples)``; never grounders."""

PROPOSERS: dict[str, str] = {
    "yolo": "vg_gym.baselines.detectors.yolo:load_yolo",
    "detr": "vg_gym.baselines.detectors.detr:load_detr",
    "ssd": "vg_gym.baselines.detectors.ssd:load_ssd",
    "sam": "vg_gym.baselines.detectors.sam:load_sam",
    "segments": "vg_gym.baselines.segments:SegmentProposer",
}
"""First stages of two-stage pipelines, as "module:factory"; the factory takes ``weights``, ``device``, options."""

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
    factory = _factory("grounder", key, GROUNDERS, options)
    return factory(argument, **options) if argument else factory(**options)


def grounder_with_clip(name: str, clip: str, **options: Any) -> Grounder:
    """:func:`grounder`, given a CLIP by name where it takes one and the options have none; agents keep their own."""
    key = name.partition(":")[0]
    if key in GROUNDERS and key != "agent" and "clip" in signature(resolve(GROUNDERS[key])).parameters:
        options.setdefault("clip", clip)
    return grounder(name, **options)


def proposer(name: str, **options: Any) -> Proposer:
    """Build the first stage of a two-stage pipeline: ``proposer("yolo", weights="yolov8n.pt").propose(images)``.

    Raises:
        VGGymError: the name or an option is unknown, or the weights cannot be had.
    """
    return _factory("proposer", name, PROPOSERS, options)(**options)


def _factory(what: str, name: str, table: dict[str, str], options: Iterable[str]) -> Callable[..., Any]:
    """The factory of a name, once its options are known to be ones it takes."""
    if name not in table:
        raise unknown(what, name, table)
    factory = resolve(table[name])
    known = signature(factory).parameters
    takes_anything = any(p.kind is Parameter.VAR_KEYWORD for p in known.values())
    for option in options:
        if option not in known and not takes_anything:
            raise unknown(f"option of {name}", option, known)
    return factory


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
