"""Tables of the registry. Only this module names concrete classes, as strings."""

from __future__ import annotations

from typing import Any

from vg_gym.registry.specs import DatasetSpec, GrounderSpec, ProposerSpec, Spec

FOUNDATION = "vg_gym.baselines.foundation"
"""Package of the foundation models."""
NOTHING = "nothing"
"""Value for parts without training."""
CAPTIONS = "captions"
"""Value for a published CLIP: images and their captions, without boxes."""
CLASS_BOXES = "boxes of classes"
"""Value for detectors; SAM has seen masks."""
PHRASE_BOXES = "boxes of phrases"
"""Value for detectors that were trained on phrases of captions with their boxes."""
EXPRESSION_BOXES = "boxes of expressions"
"""Value for models that were trained on expressions with their boxes."""
BUILT_IN_CLIP_SEEN = EXPRESSION_BOXES
"""Value for the CLIPs ``refshapes`` and ``refscenes-regions``: their losses for regions, crops and localisation use
boxes of expressions, as does the choice of their best weights."""
CAPTION_CLIPS = frozenset({"refscenes-captions"})
"""Built-in CLIPs that were trained on pictures and captions alone, and chosen by the retrieval of captions."""
TUNED = "two numbers tuned on boxes of expressions"
"""Value for heat maps, whose area penalty and temperature were tuned on val."""


def _detector(name: str, summary: str, extra: str, published: str, *classes: str) -> ProposerSpec:
    module = f"vg_gym.baselines.detectors.{name}"
    seen = "masks" if name == "sam" else CLASS_BOXES
    return ProposerSpec(
        f"{module}:load_{name}", summary, extra, weights=f"{name}-refshapes", published=published, seen=seen,
        passes_options_to=tuple(f"{module}:{each}" for each in classes),
    )  # fmt: skip


def _open_vocabulary(name: str, summary: str, published: str, seen: str = EXPRESSION_BOXES) -> ProposerSpec:
    factory, about = f"{FOUNDATION}.open_vocabulary:OpenVocabularyDetector", f"{summary}, prompted with class names"
    return ProposerSpec(
        factory, about, "foundation", fixed={"name": name}, published=published, seen=seen, licence="Apache-2.0"
    )


PROPOSERS: dict[str, ProposerSpec] = {
    "yolo": _detector("yolo", "YOLO of ultralytics", "yolo", "yolov8x.pt", "Yolo"),
    "detr": _detector("detr", "DETR or RT-DETR of transformers", "detr", "facebook/detr-resnet-50", "Detr"),
    "ssd": _detector("ssd", "SSD of torchvision", "", "ssd300_vgg16", "Ssd"),
    "sam": _detector("sam", "segment anything", "sam", "vit_h", "Sam", "UltralyticsSam"),
    "segments": ProposerSpec(
        "vg_gym.baselines.segments:SegmentProposer", "superpixels and watersheds", "segments", seen=NOTHING
    ),
    "contours": ProposerSpec(
        "vg_gym.baselines.contours:ContourProposer", "CLIP's windows, moved to contours", takes_clip=True, seen=NOTHING
    ),
    "grounding-dino": _open_vocabulary("grounding-dino", "Grounding DINO", "IDEA-Research/grounding-dino-base"),
    "mm-grounding-dino": _open_vocabulary(
        "mm-grounding-dino", "MM-Grounding-DINO", "openmmlab-community/mm_grounding_dino_large_all"
    ),
    "llmdet": _open_vocabulary("llmdet", "LLMDet", "iSEE-Laboratory/llmdet_large"),
    "yolo-world": ProposerSpec(
        f"{FOUNDATION}.text_prompted_yolo:YoloWorld",
        "YOLO-World, prompted with class names",
        "yolo",
        published="yolov8x-worldv2.pt",
        licence="AGPL-3.0",
        seen=PHRASE_BOXES,
    ),
    "yoloe": ProposerSpec(
        f"{FOUNDATION}.text_prompted_yolo:Yoloe",
        "YOLOE, prompted with class names",
        "yolo",
        published="yoloe-11l-seg.pt",
        licence="AGPL-3.0",
        seen=PHRASE_BOXES,
    ),
    "owlv2": _open_vocabulary("owlv2", "OWLv2", "google/owlv2-large-patch14-ensemble", PHRASE_BOXES),
}
"""First stages of two-stage pipelines."""


def _two_stage(proposer: str, summary: str, **options: Any) -> GrounderSpec:
    return GrounderSpec(
        "vg_gym.baselines.two_stage:TwoStageGrounder",
        summary,
        PROPOSERS[proposer].extra,
        weights=PROPOSERS[proposer].weights,
        fixed={"proposer": proposer},
        options=options,
        takes_clip=True,
        proposer=proposer,
        seen=NOTHING,
    )


def _heat_map(scorer: str, summary: str) -> GrounderSpec:
    factory = "vg_gym.baselines.heat_map_grounder:HeatMapGrounder"
    return GrounderSpec(factory, summary, "segments", fixed={"scorer": scorer}, takes_clip=True, seen=TUNED)


def _one_stage(name: str, summary: str, weights: str = "") -> GrounderSpec:
    factory = "vg_gym.baselines.one_stage.checkpoints:one_stage"
    return GrounderSpec(
        factory,
        summary,
        published_extra="detr",
        weights=weights,
        fixed={"name": name},
        argument="weights",
        seen=EXPRESSION_BOXES,
        stands_on={"CLIP": BUILT_IN_CLIP_SEEN, "detector": CLASS_BOXES} if weights else {},
    )


def _diffusion(factory: str, summary: str, weights: str = "") -> GrounderSpec:
    factory = f"vg_gym.diffusion.grounder:{factory}"
    return GrounderSpec(
        factory,
        summary,
        weights=weights,
        refines=True,
        argument="weights",
        passes_options_to=("vg_gym.diffusion.options:Sampling",),
        seen=EXPRESSION_BOXES,
        stands_on={"CLIP": BUILT_IN_CLIP_SEEN},
    )


def _prompted(name: str, summary: str) -> GrounderSpec:
    """Return the spec of a proposer that is prompted with the expression."""
    p, about = PROPOSERS[name], f"{summary}, prompted with the expression"
    return GrounderSpec(
        p.factory,
        about,
        p.extra,
        fixed=p.fixed,
        argument="weights",
        any_words=True,
        says_nothing=True,
        published=p.published or "",
        seen=p.seen,
        licence=p.licence,
    )


def _vision_language(name: str, summary: str, published: str, refines: bool, licence: str) -> GrounderSpec:
    factory = f"{FOUNDATION}.vlm:VisionLanguageGrounder"
    return GrounderSpec(
        factory,
        summary,
        "foundation",
        fixed={"name": name},
        refines=refines,
        argument="weights",
        any_words=True,
        scored=False,
        says_nothing=True,
        says_several=True,
        published=published,
        seen=EXPRESSION_BOXES,
        licence=licence,
    )


GROUNDERS: dict[str, GrounderSpec] = {
    "no-op": GrounderSpec(
        "vg_gym.baselines.priors:NoOp", "the initial box as it is", refines=True, scored=False, seen=NOTHING
    ),
    "full": GrounderSpec("vg_gym.baselines.priors:full", "the whole image", scored=False, seen=NOTHING),
    "center": GrounderSpec("vg_gym.baselines.priors:center", "a centred box", scored=False, seen=NOTHING),
    "constant": GrounderSpec(
        "vg_gym.baselines.priors:constant",
        "the best constant box of training",
        fitted=True,
        scored=False,
        seen="boxes, without pictures or words",
    ),
    "random": GrounderSpec("vg_gym.baselines.priors:random", "a random box", scored=False, seen=NOTHING),
    "clip-window": GrounderSpec(
        "vg_gym.baselines.clip_window:ClipWindow", "CLIP's best window", takes_clip=True, seen=NOTHING
    ),
    "yolo-words": GrounderSpec(
        "vg_gym.baselines.words:WordsGrounder",
        "boxes of YOLO, chosen by class names and places, without CLIP",
        PROPOSERS["yolo"].extra,
        weights=PROPOSERS["yolo"].weights,
        fixed={"proposer": "yolo"},
        proposer="yolo",
        seen=NOTHING,
    ),
    "yolo-clip": _two_stage("yolo", "boxes of YOLO, chosen by CLIP"),
    "detr-clip": _two_stage("detr", "boxes of DETR, chosen by CLIP"),
    "ssd-clip": _two_stage("ssd", "boxes of SSD, chosen by CLIP"),
    "sam-clip": _two_stage("sam", "boxes of SAM's masks, chosen by CLIP"),
    "segments-clip": _two_stage(
        "segments", "boxes of segments, chosen by CLIP", min_confidence=0.0, max_boxes=200, max_overlap=0.95
    ),
    "contours-clip": _two_stage("contours", "CLIP's windows, moved to contours, chosen by CLIP"),
    "grounding-dino-clip": _two_stage("grounding-dino", "boxes of classes by Grounding DINO, chosen by CLIP"),
    "owlv2-clip": _two_stage("owlv2", "boxes of classes by OWLv2, chosen by CLIP"),
    "reclip": _two_stage(
        "yolo", "ReCLIP: crops, blurs and spatial relations", views="crop+blur", parse=True, name="reclip"
    ),
    "seg-clip": _heat_map("crops", "heat map of segments, scored as crops"),
    "adapting-clip": _heat_map("regions", "heat map of segments, scored by region attention"),
    "mdetr": _one_stage("mdetr", "MDETR", "mdetr-refshapes"),
    "transvg": _one_stage("transvg", "TransVG", "transvg-refshapes"),
    "dynamic-mdetr": _one_stage("dynamic-mdetr", "Dynamic MDETR", "dynamic-mdetr-refshapes"),
    "dynamic-mdetr-clip": _one_stage("dynamic-mdetr-clip", "Dynamic MDETR over CLIP's ViT"),
    "red": _one_stage("red", "TransVG with RED", "red-refshapes"),
    "diffusion": _diffusion("diffusion", "box diffusion, deterministic sampling (DDIM)", "diffusion-refshapes"),
    "diffusion-ddpm": _diffusion("diffusion_ddpm", "box diffusion, ancestral sampling (DDPM)", "diffusion-refshapes"),
    "diffusion-vector": _diffusion("diffusion_vector", "diffusion of four numbers"),
    "grounding-dino": _prompted("grounding-dino", "Grounding DINO"),
    "mm-grounding-dino": _prompted("mm-grounding-dino", "MM-Grounding-DINO"),
    "llmdet": _prompted("llmdet", "LLMDet"),
    "owlv2": _prompted("owlv2", "OWLv2"),
    "yolo-world": _prompted("yolo-world", "YOLO-World"),
    "yoloe": _prompted("yoloe", "YOLOE"),
    "sam3": GrounderSpec(
        f"{FOUNDATION}.sam3:Sam3Grounder",
        "SAM 3, prompted with the noun phrase",
        "foundation",
        argument="weights",
        any_words=True,
        says_nothing=True,
        published="facebook/sam3",
        seen="masks of noun phrases",
        licence="SAM License, access on request",
    ),
    "florence-2": _vision_language(
        "florence-2", "Florence-2", "florence-community/Florence-2-large-ft", refines=False, licence="MIT"
    ),
    "vlm": _vision_language(
        "vlm",
        "vlm:MODEL, a vision-language model (vg-gym list families) of transformers",
        "Qwen/Qwen2.5-VL-7B-Instruct",
        refines=True,
        licence="Apache-2.0; other models: vg-gym list families",
    ),
    "api": GrounderSpec(
        f"{FOUNDATION}.api:ApiGrounder",
        "api:MODEL, a vision-language model behind a server (vLLM and others)",
        "api",
        fixed={"name": "api"},
        refines=True,
        argument="model",
        neutral=frozenset({"concurrency", "timeout_s", "retries", "cache"}),
        any_words=True,
        scored=False,
        says_nothing=True,
        says_several=True,
        seen="unknown (a model behind a server)",
    ),
    "agent": GrounderSpec(
        "vg_gym.agents.grounder:load_agent",
        "agent:NAME, a run folder or built-in agent",
        refines=True,
        says_nothing=True,
        says_several=True,
        argument="name",
        finds="vg_gym.agents.checkpoint:find_agent",
        passes_options_to=("vg_gym.agents.grounder:AgentGrounder", "vg_gym.envs.options:EnvOptions"),
    ),
}
"""Every grounder by name; ``NAME:ARGUMENT`` passes ARGUMENT as the option that the spec's ``argument`` names."""

CEILINGS: dict[str, Spec] = {
    "action-oracle": Spec("vg_gym.agents.oracle:ActionOracle", "the greedy best moves of an action set")
}
"""Ceilings, which see the true boxes: objects with ``name`` and ``ground_samples(samples)``, not grounders."""

LEARNED: dict[str, Spec] = {
    "mdetr": Spec("vg_gym.baselines.one_stage.mdetr:MDETR", "MDETR", published_extra="detr"),
    "transvg": Spec("vg_gym.baselines.one_stage.transvg:TransVG", "TransVG", published_extra="detr"),
    "dynamic-mdetr": Spec(
        "vg_gym.baselines.one_stage.dynamic_mdetr:DynamicMDETR", "Dynamic MDETR", published_extra="detr"
    ),
    "red": Spec("vg_gym.baselines.one_stage.transvg:RED", "TransVG with RED", published_extra="detr"),
    "dynamic-mdetr-clip": Spec(
        "vg_gym.baselines.one_stage.dynamic_mdetr_clip:DynamicMDETRClip",
        "Dynamic MDETR over CLIP's ViT",
        published_extra="detr",
    ),
    "diffusion": Spec("vg_gym.diffusion.model:BoxDiffusion", "box diffusion"),
}
"""Networks that ``train_grounder.py`` trains: classes of :class:`vg_gym.learned.model.GroundingModel`."""


ANY = "none, one, several"
"""Value of ``targets`` for data sets of which an expression may mean any number of objects."""
DRAWN = "Apache-2.0"
"""Licence of drawn scenes."""


def _refshapes(summary: str, targets: str = "one") -> DatasetSpec:
    factory = "vg_gym.data.worlds.refshapes.dataset:open_refshapes"
    return DatasetSpec(factory, summary, targets=targets, world="refshapes", licence=DRAWN)


def _refscenes(summary: str, targets: str = "one") -> DatasetSpec:
    splits = (
        "train", "val", "test", "test-new-pairs", "test-new-words", "test-two-hop", "test-crowded", "test-shifted",
        "test-small",
    )  # fmt: skip
    factory = "vg_gym.data.worlds.refscenes.samples:open_refscenes"
    return DatasetSpec(factory, summary, splits=splits, targets=targets, world="refscenes", licence=DRAWN)


def _refcoco(summary: str, size: str, licence: str, *splits: str, targets: str = "one") -> DatasetSpec:
    factory = "vg_gym.data.refcoco:open_refcoco"
    return DatasetSpec(
        factory, summary, splits=splits, read_from_disk=True, targets=targets, licence=licence, size=size
    )


def _parquet(summary: str, size: str, licence: str, *splits: str, targets: str = "one") -> DatasetSpec:
    return DatasetSpec(
        "vg_gym.data.published_parquet:open_published_parquet",
        summary,
        "foundation",
        splits=splits,
        read_from_disk=True,
        targets=targets,
        licence=licence,
        size=size,
    )


def _rows(summary: str, size: str, licence: str, *splits: str, targets: str = "one") -> DatasetSpec:
    factory = "vg_gym.data.published_rows:open_published_rows"
    return DatasetSpec(
        factory, summary, splits=splits, read_from_disk=True, targets=targets, licence=licence, size=size
    )


DATASET_KINDS: dict[str, DatasetSpec] = {
    "hub": DatasetSpec(
        "vg_gym.data.parquet:open_hub", "hub:ORG/NAME[:SPLIT] or hub:FOLDER, parquet files", "foundation",
        read_from_disk=True,
    )
}  # fmt: skip
"""Specs of data sets named ``KIND:PLACE``, by kind."""

DATASETS: dict[str, DatasetSpec] = {
    "refshapes": _refshapes("drawn scenes of shapes"),
    "refshapes-easy": _refshapes("drawn scenes with fewer objects"),
    "refshapes-hard": _refshapes("drawn scenes with more objects"),
    "refshapes-any": _refshapes("drawn scenes", ANY),
    "refshapes-biased": _refshapes("drawn scenes with a prior planted in training only"),
    "refscenes": _refscenes("drawn three-dimensional scenes of people, animals and things"),
    "refscenes-any": _refscenes("drawn three-dimensional scenes", ANY),
    "refcocog-umd": _refcoco(
        "RefCOCOg, UMD's split", "95,010 expressions", "CC BY 4.0", "train", "val", "test"
    ),
    "refcocog-google": _refcoco("RefCOCOg, Google's split", "95,010 expressions", "CC BY 4.0", "train", "val"),
    "refcoco-unc": _refcoco("RefCOCO", "142,210 expressions", "Apache-2.0", "train", "val", "testA", "testB"),
    "refcoco+-unc": _refcoco(
        "RefCOCO+, without location words", "141,564 expressions", "Apache-2.0", "train", "val", "testA", "testB"
    ),
    "grefcoco-unc": _refcoco(
        "gRefCOCO", "3,000 images in val, testA and testB", "CC BY-NC-SA 4.0", "train", "val", "testA", "testB",
        targets=ANY,
    ),
    "ref-l4": _parquet("Ref-L4", "45,341 expressions", "CC BY-NC 4.0", "val", "test"),
    "ref-adv-s": _parquet("Ref-Adv-s, with hard distractors", "1,142 expressions", "CC BY 4.0", "test"),
    "grounding-me": _parquet("GroundingME", "1,005 expressions", "research only", "test", targets="none, one"),
    "refcoco-unc-reviewed": _rows(
        "RefCOCO, each label reviewed", "21,586 expressions", "CC BY-NC 4.0", "val", "testA", "testB"
    ),
    "refcoco+-unc-reviewed": _rows(
        "RefCOCO+, each label reviewed", "21,373 expressions", "CC BY-NC 4.0", "val", "testA", "testB"
    ),
    "refcocog-umd-reviewed": _rows(
        "RefCOCOg, each label reviewed", "14,498 expressions", "CC BY-NC 4.0", "val", "test"
    ),
    "humanref": _rows(
        "HumanRef, people", "6,000 expressions", "IDEA License 1.0, research only", "test", targets=ANY
    ),
    "finecops-ref": _rows(
        "FineCops-Ref, with changed words and pictures", "27,926 expressions in test", "CC BY 4.0",
        "train", "val", "test", targets="none, one",
    ),
    "d3": _rows("D3, described object detection", "422 descriptions", "CC BY-NC 4.0", "test", targets=ANY),
}  # fmt: skip
"""Every data set by name."""

FILES = DatasetSpec("vg_gym.data.own:open_own", "rows of your own", splits=("all",), read_from_disk=True)
"""Spec of data sets that are named by a file, which lists its splits."""
FILE_ENDINGS = (".jsonl", ".json", ".csv")
"""Suffixes of such files."""
