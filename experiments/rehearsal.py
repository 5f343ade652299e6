"""Rehearsal of ``vg-gym recipe refcocog``: data of RefCOCOg's layout and sizes, models of published sizes at random.

python experiments/rehearsal.py runs/rehearsal      # needs pip install "vg_gym[all]"; 6 GB of disk

The index has RefCOCOg's 25,799 images, 49,822 objects and 95,010 expressions; its images are links to a few scenes of
RefScenes at 640 x 480. Each step is a command of the recipe, cut to a few images, in a process of its own that starts
with the libraries loaded. ``rehearsal.json`` has the processor time and the peak memory of each step, and the minutes
of the whole data set on one GPU, which are computed from shapes. Steps that ended well are left out of the next run; a
step that fails does not stop the others.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

if __name__ == "__main__":  # read when the libraries are imported
    os.environ |= {"HF_HUB_OFFLINE": "1", "YOLO_OFFLINE": "true"}
sys.path.insert(0, str(Path(__file__).parents[1]))

from experiments.rehearsal_parts import YOLO_FILE, write_data, write_small, write_weights  # noqa: E402
from vg_gym.cli import entry  # noqa: E402
from vg_gym.cli.figures import write_figures  # noqa: E402
from vg_gym.cli.recipe import GPU_GFLOPS, Machine, words_of  # noqa: E402
from vg_gym.cli.recipe_steps import EXPRESSIONS, IMAGES, Cost, refcocog, transformer_gflop  # noqa: E402
from vg_gym.registry import open_dataset  # noqa: E402

COMMAND = "python experiments/rehearsal.py runs/rehearsal"
"""Command in the file of figures."""
HOST_IMAGES = 3200.0
"""Assumed photographs that the host of a GPU decodes in a second: 16 cores, 200 each."""
AGENT_MINUTES = 60
"""Minutes of training of an agent in the recipe."""
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

OF_SMALL = ("features", "detections", "label-free", "agents", "refiner")
"""Groups of steps on the small copy, since an agent needs the features of all images of its data set."""


@dataclass(frozen=True)
class Task:
    """Step of the rehearsal."""

    name: str
    ran: str
    """What the step runs on here."""
    call: Callable[[], object]
    """Function that runs the step."""
    minutes: float | None = None
    """Computed minutes of the whole data set on one GPU; None: nothing is computed."""


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("out", type=Path, help="folder of data, weights, results and figures")
    p.add_argument("--images", type=int, default=2, help="images of most steps")
    p.add_argument("--only", default="", metavar="NAME[,NAME]", help="steps to run (default: all)")
    o = p.parse_args()
    o.out.mkdir(parents=True, exist_ok=True)
    os.environ["XDG_CACHE_HOME"] = str(o.out / "cache")
    chosen = set(filter(None, o.only.split(",")))
    rehearse([task for task in tasks(o.out, o.images) if not chosen or task.name in chosen], o.out)


def rehearse(steps: list[Task], out: Path) -> None:
    """Run the steps that have not ended well before, and write the figures after each."""
    path = out / "rehearsal.json"
    figures: dict[str, Any] = json.loads(path.read_text())["figures"] if path.is_file() else {}
    for task in steps:
        if figures.get(f"{task.name}: status") == 0:
            continue
        row = measured(task, out / "logs")
        figures |= {f"{task.name}: {name}": figure for name, figure in row.items()}
        write_figures(path, figures, COMMAND)
        over = " over the limit" if row["GB"] > MOST_GB else ""
        print(f"{task.name}: status {row['status']}, {row['ran']}, {row['CPU seconds']:.0f} s of a core, "
              f"{row['GB']:.2f} GB{over}", flush=True)  # fmt: skip


def measured(task: Task, logs: Path) -> dict[str, Any]:
    """Run a step in a fork of this process; what it prints is in a file of its name."""
    logs.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    start = time.monotonic()
    child = os.fork()
    if not child:
        _run_and_leave(task.call, logs / f"{task.name.replace(' ', '-').replace('/', '-')}.log")
    _, status, used = os.wait4(child, 0)
    row = {
        "ran": task.ran, "status": os.waitstatus_to_exitcode(status), "seconds": time.monotonic() - start,
        "CPU seconds": used.ru_utime + used.ru_stime, "GB": used.ru_maxrss * 1024 / 1e9,
    }  # fmt: skip
    return row if task.minutes is None else {**row, "GPU minutes": task.minutes}


def _run_and_leave(call: Callable[[], object], log: Path) -> None:
    """Call a function with its output in a file, and end this process with its status."""
    status = 1
    with log.open("w") as printed:
        os.dup2(printed.fileno(), 1)
        os.dup2(printed.fileno(), 2)
        try:
            call()
            status = 0
        except SystemExit as error:
            status = error.code if isinstance(error.code, int) else 1
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)


def tasks(out: Path, images: int) -> Iterator[Task]:
    """Yield all steps in their order."""
    yield Task("data", "all of the index", partial(write_data, out))
    yield Task("small copy", "one image of each split", partial(write_small, out))
    yield Task("weights", "six models", partial(write_weights, out))
    for name in ("open", "open again"):
        yield Task(name, "all of the index", partial(open_all, str(out / "data")))
    weights = out / "weights"
    options = [
        f"mdetr.weights={weights / 'mdetr'}", f"transvg.weights={weights / 'transvg'}",
        f"detr.weights={weights / 'detr'}", f"yolo.weights={out / YOLO_FILE}",
    ]  # fmt: skip
    base = {"root": out / "data", "out": out / "run", "minutes": 0.2, "gpus": 0, "options": options}
    small = SimpleNamespace(clip=f"ViT-B-32:{weights / 'ViT-B-32.pt'}", **base)
    large = SimpleNamespace(clip=f"ViT-L-14:{weights / 'ViT-L-14.pt'}", **base)
    for step in refcocog(seeds=1):
        if step.name == "download" or step.group == "baselines" and step.name not in BASELINES:
            continue
        root = out / ("small" if step.group in OF_SMALL else "data")
        words, ran = cut(words_of(step, SimpleNamespace(**{**vars(small), "root": root})), step.name, images)
        yield of_recipe(step.name, words, ran, step.cost)
        if step.name == "features":
            words = [word.replace("/features", "/features-large") for word in cut(words_of(step, large), "", images)[0]]
            yield of_recipe("features of ViT-L/14", words, ran, LARGE)


def open_all(root: str) -> None:
    """Open all splits; the data set warns if its sizes are not the published ones."""
    warnings.simplefilter("error")
    for split in ("train", "val", "test"):
        data = open_dataset("refcocog-umd", split, root=root)
        print(split, len(data), data[len(data) - 1].query.image.array().shape)


def of_recipe(name: str, words: list[str], ran: str, cost: Cost) -> Task:
    """Return the step that runs a command of the recipe."""
    training = AGENT_MINUTES if words[:2] == ["train", "agent"] else 0
    return Task(name, ran, partial(entry.main, words), training + Machine(1, GPU_GFLOPS, HOST_IMAGES).minutes(cost))


def cut(words: list[str], name: str, images: int) -> tuple[list[str], str]:
    """Return the words of a command of the recipe cut to some images, and what is left."""
    if words[0] == "features":
        return [*words, "--limit", "1"], f"3 of {IMAGES['all']:,} images"
    if name == "check":
        words = [word.replace("/results/", "/") for word in words]  # a leaderboard is of the same queries
        return words, f"all {EXPRESSIONS['test']:,} expressions of test"
    if words[0] == "evaluate":
        return [*words, "--limit", str(images)], f"{images} of {EXPRESSIONS['test']:,} expressions"
    if words[:2] == ["train", "clip"]:
        words = [word for word in words if not word.startswith(("steps=", "batch_size="))]
        return [
            *words,
            "steps=2",
            f"batch_size={images}",
            "validate_samples=2",
        ], f"2 of 2,000 steps, {images} images each"
    if words[:2] == ["train", "agent"]:
        return [*words, "num_envs=8", "batch_size=32", "threads=1"], f"0.2 of {AGENT_MINUTES} min, 3 images"
    return words, "all results"


if __name__ == "__main__":
    main()
