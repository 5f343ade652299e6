"""Rehearsal of ``vg-gym recipe refcocog``: data of RefCOCOg's layout and sizes, models of published sizes at random.

python experiments/rehearsal.py runs/rehearsal      # needs pip install "vg_gym[all]"; 6 GB of disk

The index has RefCOCOg's 25,799 images, 49,822 objects and 95,010 expressions; its images are links to a few scenes of
RefScenes at 640 x 480. Each step is a command of the recipe, in a process of its own, with a dozen images instead of
all. The log says the time and the peak memory of each; the time of the whole data set on one GPU is computed from
shapes. Steps that ended well are left out of the next run; a step that fails does not stop the others.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).parents[1]))

from vg_gym.cli.recipe import GPU_GFLOPS, Machine, duration, words_of  # noqa: E402
from vg_gym.cli.recipe_steps import EXPRESSIONS, IMAGES, Cost, Step, refcocog, transformer_gflop  # noqa: E402
from vg_gym.storage.files import write_json  # noqa: E402

HOST_IMAGES = 3200.0
"""Assumed photographs that the host of a GPU decodes in a second: 16 cores, 200 each."""
YOLO_FILE = Path("cache", "vg_gym", "weights", "yolov8x.pt")
"""Place of YOLOv8x below the folder of the rehearsal, where the published weights would be."""
MOST_GB = 12.0
"""Memory that no step may exceed."""
LARGE = Cost(
    IMAGES["all"],
    IMAGES["all"] * transformer_gflop(1024, 24, 257) + EXPRESSIONS["all"] * transformer_gflop(768, 12, 77),
)
"""Cost of the features of a ViT-L/14."""
BASELINES = (
    "clip-window", "contours-clip", "seg-clip", "adapting-clip", "yolo-words", "yolo-clip", "reclip", "detr-clip",
    "mdetr", "transvg",
)  # fmt: skip
"""Baselines of the recipe whose architectures are made here."""
OPEN = """
import warnings
from vg_gym.registry import open_dataset
warnings.simplefilter("error")  # the data set warns if its sizes are not the published ones
for split in ("train", "val", "test"):
    data = open_dataset("refcocog-umd", split, root=ROOT)
    print(split, len(data), data[len(data) - 1].query.image.array().shape)
"""


@dataclass
class Record:
    """What a step took."""

    step: str
    ran: str
    """What the step ran on here."""
    seconds: float
    cpu_seconds: float
    peak_gb: float
    status: int
    gpu_minutes: float | None
    """Computed minutes of the whole data set on one GPU; None if nothing was computed."""


@dataclass(frozen=True)
class Task:
    """Step of the rehearsal: a command, and the step of the recipe that it stands for."""

    name: str
    ran: str
    command: tuple[str, ...]
    cost: Cost | None = None


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("out", type=Path, help="folder of data, weights, results and the log")
    p.add_argument("--images", type=int, default=12, help="images of each step")
    p.add_argument("--only", default="", metavar="NAME[,NAME]", help="steps to run (default: all)")
    o = p.parse_args()
    o.out.mkdir(parents=True, exist_ok=True)
    log = o.out / "log.json"
    records = [Record(**row) for row in json.loads(log.read_text())["steps"]] if log.is_file() else []
    chosen = set(filter(None, o.only.split(",")))
    for task in tasks(o.out, o.images):
        ended_well = any(record.step == task.name and record.status == 0 for record in records)
        if ended_well or (chosen and task.name not in chosen):
            continue
        record = measured(task, o.out)
        records = [*(r for r in records if r.step != task.name), record]
        write_json(log, {"images": o.images, "steps": [asdict(r) for r in records]})
        print(row_of(record), flush=True)
    print(table(records))


def tasks(out: Path, images: int) -> Iterator[Task]:
    """Yield all steps in their order."""
    parts = (sys.executable, str(Path(__file__).with_name("rehearsal_parts.py")), str(out))
    yield Task("data", "all of the index written, its pictures drawn", (*parts, "data"))
    yield Task("weights", "six models written", (*parts, "weights"))
    yield Task("open", "all of the index, three splits", opening(out))
    yield Task("open again", "all of the index, three splits", opening(out))
    weights = out / "weights"
    options = [
        f"mdetr.weights={weights / 'mdetr'}", f"transvg.weights={weights / 'transvg'}",
        f"detr.weights={weights / 'detr'}", "detr.min_score=0", f"yolo.weights={out / YOLO_FILE}",
    ]  # fmt: skip
    base = {"root": out / "data", "out": out / "run", "minutes": 0.5, "gpus": 0, "options": options}
    small = SimpleNamespace(clip=f"ViT-B-32:{weights / 'ViT-B-32.pt'}", **base)
    large = SimpleNamespace(clip=f"ViT-L-14:{weights / 'ViT-L-14.pt'}", **base)
    steps = {step.name: step for step in refcocog(seeds=1)}
    del steps["download"]
    for name, step in steps.items():
        if step.group != "baselines" or name in BASELINES:
            yield task_of(step, small, images)
        if name == "features":
            yield task_of(step, large, images, " of ViT-L/14", LARGE)


def opening(out: Path) -> tuple[str, ...]:
    return (sys.executable, "-c", f"ROOT = {str(out / 'data')!r}\n{OPEN}")


def task_of(step: Step, options: SimpleNamespace, images: int, suffix: str = "", cost: Cost | None = None) -> Task:
    """Return a step of the recipe, cut to some images."""
    words, ran = words_of(step, options), f"{images} images"
    if suffix:
        words = [word.replace("/features", "/features-large") for word in words]
    if words[0] == "features":
        words += ["--limit", str(images // 3)]
        ran = f"{images // 3} images of each split"
    elif step.name == "check":
        ran = "all of test"
    elif words[0] == "evaluate":
        words += ["--limit", str(images)]
        ran = f"{images} expressions"
    elif words[:2] == ["train", "clip"]:
        words = [w for w in words if not w.startswith(("steps=", "batch_size="))]
        words += ["steps=2", f"batch_size={images // 2}", "validate_samples=2"]
        ran = f"2 steps of {images // 2} images"
    elif words[:2] == ["train", "agent"]:
        words += ["num_envs=8", "batch_size=32", "threads=1"]
        ran = f"{images // 3} images, {options.minutes:g} min"
    return Task(step.name + suffix, ran, (sys.executable, "-m", "vg_gym.cli", *words), cost or step.cost)


def measured(task: Task, out: Path) -> Record:
    """Run a step; what it printed is in a file of its name."""
    path = out / "logs" / f"{task.name.replace(' ', '-')}.log"
    path.parent.mkdir(exist_ok=True)
    places = {"XDG_CACHE_HOME": str(out / "cache"), "PYTHONPATH": str(Path(__file__).parents[1])}
    environment = {**os.environ, **places, "HF_HUB_OFFLINE": "1", "YOLO_OFFLINE": "true"}
    start = time.monotonic()
    with path.open("w") as printed:
        process = subprocess.Popen(task.command, stdout=printed, stderr=subprocess.STDOUT, env=environment)
        _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    cpu, peak = used.ru_utime + used.ru_stime, used.ru_maxrss * 1024 / 1e9
    minutes = Machine(1, GPU_GFLOPS, HOST_IMAGES).minutes(task.cost) if task.cost else None
    minutes = minutes + 60 if minutes is not None and "agent" in task.command else minutes
    seconds = time.monotonic() - start
    return Record(task.name, task.ran, round(seconds, 1), round(cpu, 1), round(peak, 2), process.returncode, minutes)


def row_of(record: Record) -> str:
    whole = "-" if record.gpu_minutes is None else duration(record.gpu_minutes)
    state = "" if record.status == 0 else f" **failed ({record.status})**"
    over = " **over the limit**" if record.peak_gb > MOST_GB else ""
    return (f"| {record.step}{state} | {record.ran} | {record.seconds:.0f} s | {record.cpu_seconds:.0f} s | "
            f"{record.peak_gb:.2f} GB{over} | {whole} |")  # fmt: skip


def table(records: Sequence[Record]) -> str:
    """Return the table of the log, in Markdown."""
    head = "| step | here | time | of a core | peak memory | whole on one GPU, computed |\n|---|---|---|---|---|---|"
    return "\n".join([head, *map(row_of, records)])


if __name__ == "__main__":
    main()
