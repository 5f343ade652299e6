"""Steps of ``vg-gym recipe``, with their costs, computed from the sizes of the data and the shapes of models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

IMAGES = {"all": 25_799, "train": 21_899, "val": 1_300, "test": 2_600}
"""Number of RefCOCOg's images, by split."""
EXPRESSIONS = {"all": 95_010, "train": 80_512, "val": 4_896, "test": 9_602}
"""Number of RefCOCOg's expressions, by split (UMD)."""
BOXES = 10
"""Assumed number of a detector's boxes in an image."""
SEGMENTS = 100
"""Assumed number of segments of an image."""
FLOORS = 4
"""Number of floors in a table."""
CLIP_STEPS, CLIP_BATCH = 2000, 32
"""Steps of the fine-tuning of CLIP, and images in a step."""
DOWNLOAD_GB = 13.5
"""Size of COCO's train2014."""


def transformer_gflop(width: int, layers: int, tokens: int) -> float:
    """Return the GFLOP of a forward pass through a transformer.

    >>> round(transformer_gflop(768, 12, 50), 1)
    8.6
    """
    return (24 * layers * tokens * width**2 + 4 * layers * tokens**2 * width) / 1e9


CROP = transformer_gflop(768, 12, 50)
"""GFLOP of one crop in a ViT-B/32."""
TEXT = transformer_gflop(512, 12, 77)
"""GFLOP of one expression in its text tower."""
YOLO = 258.0
"""GFLOP of one image in YOLOv8x at 640 pixels, as published."""


@dataclass(frozen=True)
class Cost:
    """Cost of a step: the amounts of work from which its time is computed, disk and memory."""

    images: int = 0
    """Number of photographs that are decoded."""
    gflop: float = 0.0
    """GFLOP of all forward and backward passes."""
    minutes: float = 0.0
    """Minutes that do not depend on the machine: a budget of training, or a download at 100 Mbit/s."""
    disk_gb: float = 0.01
    """GB that the step writes."""
    memory_gb: float = 2.0
    """GB of memory, without that of the device."""


@dataclass(frozen=True)
class Step:
    """Step of a recipe: a command of ``vg-gym``."""

    name: str
    """Name for ``--skip`` and ``--only``."""
    group: str
    """Group for ``--skip`` and ``--only``; the steps of a group do not depend on each other."""
    about: str
    """Description in a few words."""
    command: tuple[str, ...]
    """Words after ``vg-gym``, with the places ``{root}``, ``{out}``, ``{clip}`` and ``{minutes}``."""
    cost: Cost
    """Cost on the whole data set."""
    begun: str = ""
    """File below ``{out}`` whose existence means that the command resumes with ``resume=true``."""
    methods: tuple[str, ...] = ()
    """Methods that the command evaluates. They receive the options ``METHOD.KEY=VALUE`` of the user, and use a GPU."""
    needs: str = ""
    """Option without which the step is left out."""


BASELINES: Mapping[str, tuple[float, float, float]] = {
    "clip-window": (CROP, TEXT, 3),
    "contours-clip": (21 * CROP, TEXT, 3),
    "seg-clip": (SEGMENTS * CROP, TEXT, 3),
    "adapting-clip": (2 * CROP, TEXT, 3),
    "yolo-words": (YOLO, 0, 3),
    "yolo-clip": (YOLO + BOXES * CROP, TEXT, 3),
    "reclip": (YOLO + 2 * BOXES * CROP, TEXT, 3),
    "ssd-clip": (62 + BOXES * CROP, TEXT, 3),
    "detr-clip": (172 + BOXES * CROP, TEXT, 3),
    "sam-clip": (transformer_gflop(1280, 32, 4096) + SEGMENTS * CROP, TEXT, 5),
    "mdetr": (0, 190, 4),
    "transvg": (0, 190, 4),
    "grounding-dino": (0, 930, 5),
    "mm-grounding-dino": (0, 1700, 6),
    "owlv2": (0, transformer_gflop(1024, 24, 5184), 6),
    "yolo-world": (0, 282, 4),
    "yoloe": (0, 148, 4),
    "florence-2": (0, 900, 5),
    "vlm": (0, 15_000, 18),
}
"""Baseline -> GFLOP of an image, GFLOP of an expression, and memory in GB."""
NO_FETCHED_WEIGHTS = ("mdetr", "transvg")
"""Baselines whose published checkpoints must be given: ``mdetr.weights=FILE``."""
DATA = ("--dataset", "refcocog-umd", "--root", "{root}")
TEST = ("--split", "test")


def refcocog(seeds: int) -> list[Step]:
    """Return the steps that make the table on RefCOCOg, in their order."""
    fetch = Cost(minutes=DOWNLOAD_GB * 8e3 / 100 / 60, disk_gb=2 * DOWNLOAD_GB + 1, memory_gb=1)
    floors = ("evaluate", "--methods", "random", *DATA, *TEST, "--clip", "none", "--out", "{out}/results/floors")
    images = CLIP_STEPS * CLIP_BATCH
    tuning = Cost(images=images, gflop=images * 3 * (2 * CROP + 9 * TEXT), disk_gb=2.5, memory_gb=5)
    return [
        Step("download", "data", "fetch the annotations and COCO's images, and check them",
             ("download", "refcocog", "--root", "{root}", "--images"), fetch),
        Step("check", "data", "open all expressions of test, and score the floors", floors, Cost(IMAGES["test"])),
        Step("clip", "clip", "fine-tune CLIP on boxes and their texts",
             ("train", "clip", "dataset=refcocog-umd", "root={root}", "clip={clip}", f"steps={CLIP_STEPS}",
              f"batch_size={CLIP_BATCH}", "out={out}/clip"), tuning, "clip/checkpoint.pt"),
        *_features("features", "{clip}", "the published CLIP"),
        *_features("features-tuned", "{out}/clip/model", "the fine-tuned CLIP"),
        *(_agent(f"agent-label-free-s{seed}", "label-free", "features", seed, "reward=clip") for seed in range(seeds)),
        *(_agent(f"agent-s{seed}", "agents", "features-tuned", seed, "reward=iou") for seed in range(seeds)),
        _agent("refiner", "refiner", "features-tuned", 0, "reward=iou", "initial_box=jitter,full,yolo-clip"),
        *(_baseline(name) for name in BASELINES),
        *_agents_rows(seeds),
        Step("report", "report", "rank all results and write the page", ("leaderboard", "{out}/results"), Cost()),
    ]  # fmt: skip


def _features(folder: str, clip: str, about: str) -> list[Step]:
    """Return the steps that make a feature store, and add the detections to it."""
    words = ("features", *DATA, "--clip", clip, "--out", f"{{out}}/{folder}")
    images, texts = IMAGES["all"], EXPRESSIONS["all"]
    encode = Cost(images, images * CROP + texts * TEXT, disk_gb=1.5, memory_gb=2.5)
    detect = Cost(2 * images, images * YOLO, disk_gb=3.5, memory_gb=3)
    detections = folder.replace("features", "detections")
    return [
        Step(folder, "features", f"features of {about}", words, encode),
        Step(detections, "detections", f"boxes of YOLO and edges beside them, for {about}",
             (*words, "--proposals", "yolo", "--edge-profiles"), detect),
    ]  # fmt: skip


def _agent(name: str, group: str, store: str, seed: int, *options: str) -> Step:
    """Return the step that trains an agent; its table comes later, with all expressions."""
    words = ("train", "agent", f"features={{out}}/{store}", "root={root}", "proposals=yolo", *options, f"seed={seed}",
             "minutes={minutes}", "test_samples=0", f"out={{out}}/{name}")  # fmt: skip
    about = "label-free agent" if group == "label-free" else "agent that starts from boxes of others, a refiner" \
        if group == "refiner" else "agent with boxes as rewards"  # fmt: skip
    return Step(name, group, f"{about}, seed {seed}", words, Cost(disk_gb=0.1, memory_gb=8), f"{name}/last/agent.json")


def _baseline(name: str) -> Step:
    by_image, by_expression, memory = BASELINES[name]
    words = ("evaluate", "--methods", name, "--clip", "{clip}", *DATA, *TEST, "--out", f"{{out}}/results/{name}")
    gflop = IMAGES["test"] * by_image + EXPRESSIONS["test"] * by_expression
    needs = f"{name}.weights" if name in NO_FETCHED_WEIGHTS else ""
    cost = _table(gflop, memory)
    return Step(name, "baselines", "baseline with published weights", words, cost, "", (name,), needs)


def _table(gflop: float, memory_gb: float, rows: int = 1) -> Cost:
    """Return the cost of a table: that of its methods, and of CLIP on the crops of all rows, which reads each image.

    Args:
        gflop: GFLOP of the methods.
        memory_gb: GB of memory.
        rows: number of rows, without the floors.
    """
    scored = FLOORS + rows
    crops = EXPRESSIONS["test"] * (scored * CROP + TEXT)
    return Cost((scored + rows) * IMAGES["test"], gflop + crops, memory_gb=memory_gb)


def _agents_rows(seeds: int) -> Sequence[Step]:
    """Return the steps that evaluate the agents and the refiner on all expressions of test."""
    rows = {"label-free-rows": "agent-label-free-s", "agents-rows": "agent-s"}
    cost = _table(IMAGES["test"] * seeds * (CROP + YOLO), 4, seeds)
    steps = []
    for name, prefix in rows.items():
        methods = ",".join(f"agent:{{out}}/{prefix}{seed}" for seed in range(seeds))
        words = ("evaluate", "--methods", methods, "--clip", "{clip}", *DATA, *TEST, "--out", f"{{out}}/results/{name}")
        steps.append(Step(name, "rows", "rows of the agents", words, cost, "", ("agent",)))
    refine = ("evaluate", "--methods", "yolo-clip", "--refine", "agent:{out}/refiner", "--clip", "{clip}")
    refined = (*refine, *DATA, *TEST, "--out", "{out}/results/refined")
    cost = _table(IMAGES["test"] * (2 * YOLO + (1 + BOXES) * CROP), 4, 2)
    return [*steps, Step("refined-rows", "rows", "yolo-clip, refined", refined, cost, "", ("yolo-clip", "agent"))]
