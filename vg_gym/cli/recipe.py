"""``vg-gym recipe``: the commands that make a whole table, step by step."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from vg_gym.cli.parsers import add_command
from vg_gym.cli.recipe_steps import Cost, Step, refcocog
from vg_gym.errors import VGGymError, unknown
from vg_gym.runtime.devices import usable_cores
from vg_gym.storage.files import make_folder, write_json

RECIPES = {"refcocog": refcocog}
"""Name of a recipe -> function from the number of seeds to its steps."""
GPU_GFLOPS = 100_000.0
"""Assumed GFLOP/s of a GPU in bfloat16, a tenth to a third of what an A100 or H100 has on paper."""
CPU_SHARE = 0.4
"""Assumed share of the rate of matrix products that a model reaches on a CPU."""
MEASURED_S = 0.2
"""Seconds of each measurement of the machine."""


def add(commands) -> None:
    """Add the subcommand to the parser's ``commands``."""
    about = (
        "Print the commands that make the table of a data set, from the download to the report, with the time, disk "
        "and memory of each. With --run they are run; finished steps are left out, so the same command resumes."
    )
    parser = add_command(commands, "recipe", about, recipe)
    parser.add_argument("name", choices=RECIPES, help="name of the recipe")
    parser.add_argument("--root", type=Path, required=True, metavar="DIR", help="folder of the data set")
    parser.add_argument("--out", type=Path, default=Path("runs/recipe"), metavar="DIR", help="folder of all results")
    parser.add_argument("--gpus", type=int, default=1, metavar="N", help="number of GPUs; independent steps share them")
    parser.add_argument("--clip", default="ViT-B-32:openai", metavar="NAME", help="published CLIP")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="number of agents of each kind")
    parser.add_argument("--minutes", type=float, default=60, metavar="N", help="minutes of training of an agent")
    parser.add_argument("--skip", default="", metavar="NAME[,NAME]", help="steps or groups to leave out")
    parser.add_argument("--only", default="", metavar="NAME[,NAME]", help="steps or groups to keep")
    parser.add_argument("--run", action="store_true", help="run the commands")
    parser.add_argument("--dry-run", action="store_true", help="only print the commands (default)")
    about = "option of a baseline, e.g. yolo.weights=FILE; mdetr and transvg need their checkpoints: mdetr.weights=FILE"
    parser.add_argument("options", nargs="*", metavar="METHOD.KEY=VALUE", help=about)


def recipe(options: argparse.Namespace) -> None:
    """Print the steps, and run them.

    Raises:
        VGGymError: a name is unknown, a step fails, or the disk is too small.
    """
    if options.run and options.dry_run:
        raise VGGymError("--run and --dry-run exclude each other")
    if min(options.gpus, options.seeds - 1) < 0:
        raise VGGymError(f"--gpus {options.gpus} --seeds {options.seeds}: there are 0 or more GPUs, 1 or more seeds")
    every = RECIPES[options.name](options.seeds)
    steps = chosen(every, _names(options.only), _names(options.skip))
    machine = Machine.measured(options.gpus)
    print(f"# {options.name}: {len(steps)} steps. Times are computed from shapes, not measured, for {machine}.")
    groups = grouped(steps) if options.run else [[step] for step in steps]
    for group in groups:
        waiting = [step for step in group if _announce(step, options, machine)]
        for at in range(0, len(waiting), max(1, options.gpus)):
            _run(waiting[at : at + max(1, options.gpus)], options)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def chosen(steps: Sequence[Step], only: Sequence[str], skip: Sequence[str]) -> list[Step]:
    """Return the steps that ``only`` keeps and ``skip`` does not leave out, by their names or groups.

    Raises:
        VGGymError: no step and no group has such a name.
    """
    names = {name for step in steps for name in (step.name, step.group)}
    for name in (*only, *skip):
        if name not in names:
            raise unknown("step", name, names)
    return [
        step
        for step in steps
        if (not only or {step.name, step.group} & set(only)) and not {step.name, step.group} & set(skip)
    ]


def grouped(steps: Sequence[Step]) -> Iterator[list[Step]]:
    """Yield neighbours of one group, whose steps can run at the same time if they train or evaluate."""
    row: list[Step] = []
    for step in steps:
        if row and (step.group != row[-1].group or step.group == "data"):
            yield row
            row = []
        row.append(step)
    if row:
        yield row


@dataclass(frozen=True)
class Machine:
    """Rates of a machine, from which times are computed."""

    gpus: int
    """Number of GPUs; 0: the CPU runs the models."""
    gflops: float
    """GFLOP/s of one GPU, or of the CPU."""
    images: float
    """Number of photographs that all cores decode in a second."""

    @classmethod
    def measured(cls, gpus: int) -> Machine:
        """Measure the rates of this machine's CPU in less than a second; the rate of a GPU is assumed."""
        return cls(gpus, GPU_GFLOPS if gpus else CPU_SHARE * _matrix_gflops(), usable_cores() * _decoded_per_second())

    def __str__(self) -> str:
        models = f"a CPU of {self.gflops:.0f} GFLOP/s ({CPU_SHARE:g} of its measured matrix products)"
        if self.gpus:
            models = f"{self.gpus} GPU(s) of {self.gflops / 1000:.0f} TFLOP/s each (assumed)"
        return f"{models} and {self.images:.0f} decoded photographs/s (measured)"

    def minutes(self, cost: Cost) -> float:
        """Return the computed minutes of a step on one GPU: decoding and the models run at the same time."""
        return cost.minutes + max(cost.images / self.images, cost.gflop / self.gflops) / 60


def _matrix_gflops(side: int = 1024) -> float:
    """Return the GFLOP/s of float32 matrix products."""
    matrix = np.ones((side, side), np.float32)
    return 2 * side**3 / 1e9 * _rate(lambda: matrix @ matrix)


def _decoded_per_second() -> float:
    """Return how many photographs of 640 x 480 one core decodes in a second."""
    from io import BytesIO

    noise = np.random.default_rng(0).integers(0, 255, (30, 40, 3), np.uint8)
    file = BytesIO()
    Image.fromarray(noise).resize((640, 480), Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
    return _rate(lambda: np.asarray(Image.open(BytesIO(file.getvalue()))))


def _rate(call) -> float:
    """Return the calls per second, after one for warming up."""
    call()
    start, count = time.perf_counter(), 0
    while (seconds := time.perf_counter() - start) < MEASURED_S:
        call()
        count += 1
    return count / seconds


def words_of(step: Step, options: argparse.Namespace) -> list[str]:
    """Return the words of a step's command after ``vg-gym``."""
    places = {"root": options.root, "out": options.out, "clip": options.clip, "minutes": f"{options.minutes:g}"}
    words = [word.format(**places) for word in step.command]
    if step.begun and (options.out / step.begun).is_file():
        words.append("resume=true")
    if step.methods:
        from vg_gym.evaluation.methods import owners

        named = {owner for method in step.methods for owner in owners(method)}
        words += [pair for pair in options.options if pair.partition(".")[0] in named]
        words += [f"{method}.device=cuda" for method in step.methods if options.gpus]
    return words


def _announce(step: Step, options: argparse.Namespace, machine: Machine) -> bool:
    """Print a step with its cost and its command; return whether it is to be run."""
    cost = step.cost
    minutes = machine.minutes(cost) + (options.minutes if "minutes={minutes}" in step.command else 0)
    lacks = step.needs and not any(pair.startswith(f"{step.needs}=") for pair in options.options)
    state = f"; left out without {step.needs}=FILE" if lacks else "; finished" if is_finished(step, options) else ""
    print(f"\n# {step.name}: {step.about} ({duration(minutes)}, {cost.disk_gb:g} GB of disk, {cost.memory_gb:g} GB of "
          f"memory{state})")  # fmt: skip
    print(f"{'# ' if lacks else ''}{shlex.join(['vg-gym', *words_of(step, options)])}", flush=True)
    return options.run and not state


def duration(minutes: float) -> str:
    """Return minutes as text.

    >>> duration(0.2), duration(12.3), duration(600)
    ('less than 1 min', '12 min', '10.0 h')
    """
    if minutes < 1:
        return "less than 1 min"
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"


def _marker(step: Step, options: argparse.Namespace) -> Path:
    return options.out / "steps" / f"{step.name}.json"


def is_finished(step: Step, options: argparse.Namespace) -> bool:
    """Return whether the same command has run to its end; ``resume=true`` makes no difference."""
    path = _marker(step, options)
    words = [word for word in words_of(step, options) if word != "resume=true"]
    return path.is_file() and json.loads(path.read_text(encoding="utf-8"))["command"] == words


def _start(words: Sequence[str], gpu: int | None) -> subprocess.Popen:
    """Start a command, on one GPU if several steps run at the same time."""
    visible = {} if gpu is None else {"CUDA_VISIBLE_DEVICES": str(gpu)}
    return subprocess.Popen([sys.executable, "-m", "vg_gym.cli", *words], env={**os.environ, **visible})


def _run(steps: Sequence[Step], options: argparse.Namespace) -> None:
    """Run steps at the same time, each on a separate GPU, and mark those that succeed.

    Raises:
        VGGymError: a step failed, or the disk is too small.
    """
    make_folder(options.out / "steps")
    free, needed = shutil.disk_usage(options.out).free / 1e9, sum(step.cost.disk_gb for step in steps)
    if free < needed:
        raise VGGymError(f"{steps[0].name} needs {needed:.1f} GB, and {options.out} has {free:.1f} GB free")
    start = time.monotonic()
    processes = [_start(words_of(step, options), n if len(steps) > 1 else None) for n, step in enumerate(steps)]
    statuses = [process.wait() for process in processes]
    for step, status in zip(steps, statuses, strict=True):
        if status == 0:
            words = [word for word in words_of(step, options) if word != "resume=true"]
            write_json(_marker(step, options), {"command": words, "seconds": round(time.monotonic() - start, 1)})
    for step, status in zip(steps, statuses, strict=True):
        if status:
            raise VGGymError(f"step {step.name} ended with status {status}; the same command resumes, and --skip "
                             f"{step.name} leaves it out")  # fmt: skip
