"""Time per query of every method in an evaluation, and of its networks alone; medians of five interleaved runs.

python benchmarks/evaluation_floor.py [--json out.json] [--limit 128] [--methods mdetr,yolo-clip]

The prediction time covers evaluate.py with a loaded method: it reads images, predicts batches of 64 and writes them to
the disk. Work shared by all methods of a table, such as reading image sizes, is not included. ``row`` is the time from
saved predictions to the row of the table, including crop metrics. The floor (lower bound) is the time of the forward
passes of the method's networks, with the same inputs as in an evaluation of the same queries. ``images`` is the time of
reading the images, which RefShapes draws.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timing import REPEATS
from torch.utils._pytree import tree_map

from vg_gym import registry
from vg_gym.cli.figures import write_figures
from vg_gym.cli.run import run
from vg_gym.clip import load_clip
from vg_gym.clip.loader import forget_clips
from vg_gym.evaluation.columns import Answers
from vg_gym.evaluation.evaluator import Evaluator
from vg_gym.evaluation.lines import predict_batch
from vg_gym.runtime.devices import use_threads
from vg_gym.types import Grounder, Query

METHODS = (
    "clip-window", "yolo-clip", "detr-clip", "ssd-clip", "sam-clip", "segments-clip", "contours-clip", "reclip",
    "seg-clip", "adapting-clip", "mdetr", "transvg", "dynamic-mdetr", "red", "diffusion", "diffusion-ddpm",
    "agent:refshapes",
)  # fmt: skip
"""Methods of the registry with built-in weights and a network."""
BATCH = 64
"""Queries per call of a method, as in evaluate.py."""

Call = tuple[torch.nn.Module, tuple[Any, ...], dict[str, Any]]
"""Forward pass: the network and its inputs."""


def fresh(name: str, other: Query) -> Grounder:
    """Return a loaded method that has answered only one other query, so that it has no cached text or image."""
    forget_clips()
    grounder = registry.grounder(name)
    grounder.ground([other])
    load_clip("refshapes").encode_crops([other.image.array()])  # loads the CLIP of the crop metrics
    return grounder


def seconds_of(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


@contextmanager
def recording(calls: list[Call]) -> Iterator[None]:
    """Record every outermost forward pass."""
    original, depth = torch.nn.Module.__call__, [0]

    def call(module: torch.nn.Module, *arguments: Any, **options: Any) -> Any:
        if depth[0] == 0:
            calls.append((module, *tree_map(_copied, (arguments, options))))
        depth[0] += 1
        try:
            return original(module, *arguments, **options)
        finally:
            depth[0] -= 1

    torch.nn.Module.__call__ = call  # type: ignore[method-assign]
    try:
        yield
    finally:
        torch.nn.Module.__call__ = original  # type: ignore[method-assign]


def _copied(value: Any) -> Any:
    return value.clone() if isinstance(value, torch.Tensor) else value


@torch.inference_mode()
def replay(calls: list[Call]) -> None:
    """Repeat recorded forward passes."""
    for module, arguments, options in calls:
        module(*arguments, **options)


def measured(name: str, data: Any, limit: int) -> dict[str, Any]:
    """Return ms per query of a method for prediction, row, floor and reading images; and the share of the floor."""
    calls: list[Call] = []
    predicted, row, floor, images = [], [], [], []
    queries, other = [data[i].query for i in range(limit)], data[len(data) - 1].query
    recorder = fresh(name, other)
    with recording(calls):
        for at in range(0, limit, BATCH):
            recorder.ground(queries[at : at + BATCH])
    first = {query.image.key: query.image for query in queries}
    for _ in range(REPEATS):
        grounder = fresh(name, other)
        with tempfile.TemporaryDirectory() as folder:
            evaluator = Evaluator(data, Path(folder), {}, limit, clip=load_clip("refshapes"))
            factory = lambda grounder=grounder: partial(predict_batch, grounder.ground)  # noqa: E731
            start = time.perf_counter()
            lines = evaluator.predict(grounder.name, factory)
            end = time.perf_counter()
            evaluator.add(grounder.name, "method", Answers.of(lines))
            predicted.append(end - start)
            row.append(time.perf_counter() - end)
        floor.append(seconds_of(lambda: replay(calls)))
        images.append(seconds_of(lambda: [image.array() for image in first.values()]))
    ms = {
        what: 1000 * float(np.median(values)) / limit
        for what, values in (("prediction", predicted), ("row", row), ("floor", floor), ("images", images))
    }
    return {**ms, "passes": len(calls), "share": ms["floor"] / ms["prediction"]}


def main() -> None:
    """Measure, print and write the results."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--json", type=Path, help="file for the results")
    p.add_argument("--limit", type=int, default=128, help="number of queries of RefShapes test")
    p.add_argument("--methods", default=",".join(METHODS), help="methods, separated by commas")
    p.add_argument("--threads", type=int, default=1)
    given = p.parse_args()
    threads, data = use_threads(given.threads), registry.open_dataset("refshapes", "test")
    rows: dict[str, Any] = {}
    print(f"{threads} threads, {given.limit} queries, ms a query: prediction, its networks, images, row; their share")
    for name in given.methods.split(","):
        rows[name] = row = measured(name, data, given.limit)
        print(f"  {name:20} {row['prediction']:9.2f} {row['floor']:9.2f} {row['images']:9.2f} {row['row']:9.2f} "
              f"{row['share']:8.0%}", flush=True)  # fmt: skip
    if given.json:
        figures = {f"{name}: {what}": value for name, row in rows.items() for what, value in row.items()}
        write_figures(given.json, {"threads": threads, "queries": given.limit, **figures})


if __name__ == "__main__":
    run(main)
