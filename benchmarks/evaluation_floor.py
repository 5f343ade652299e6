"""Every method's ms a query in an evaluation, beside the floor of its own networks; medians of five, in turns.

python benchmarks/evaluation_floor.py [--json out.json] [--limit 128] [--methods mdetr,yolo-clip]

The prediction is what evaluate.py does with a method that is loaded: images read, batches of 64 predicted and written
to the disk; what all methods of a table share, as the sizes of the images, is made before. ``row`` is what follows
when the predictions are on the disk: the row of the table, crop metrics included. The floor is the forward passes of
the method's networks alone, with the very inputs that they had in an evaluation of the same queries, one after
another. ``images`` is the reading of the images alone, which for RefShapes is drawing them.
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
from vg_gym.cli.run import run
from vg_gym.clip import load_clip
from vg_gym.clip.encoder import forget_clips
from vg_gym.devices import Threads
from vg_gym.evaluation.evaluator import Evaluator
from vg_gym.evaluation.figures import write_figures
from vg_gym.evaluation.methods import predict_batch
from vg_gym.types import Grounder, Query

METHODS = (
    "clip-window", "yolo-clip", "detr-clip", "ssd-clip", "sam-clip", "segments-clip", "contours-clip", "reclip",
    "seg-clip", "adapting-clip", "mdetr", "transvg", "dynamic-mdetr", "red", "diffusion", "diffusion-ddpm",
    "agent:refshapes",
)  # fmt: skip
"""Those of the registry that have built-in weights and a network."""
BATCH = 64
"""Queries a call of a method, as evaluate.py has it."""

Call = tuple[torch.nn.Module, tuple[Any, ...], dict[str, Any]]
"""A forward pass: the network and what it was given."""


def fresh(name: str, other: Query) -> Grounder:
    """A loaded method that has answered nothing but another query, so that it remembers no text and no image."""
    forget_clips()
    grounder = registry.grounder(name)
    grounder.ground([other])
    load_clip("refshapes").encode_crops([other.image.array()])  # that of the crop metrics
    return grounder


def seconds_of(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


@contextmanager
def recording(calls: list[Call]) -> Iterator[None]:
    """Keep a copy of every forward pass that no other forward pass makes."""
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
    """The same forward passes."""
    for module, arguments, options in calls:
        module(*arguments, **options)


def measured(name: str, data: Any, limit: int) -> dict[str, Any]:
    """Of a method: ms a query of the prediction, the row, the floor, reading the images; and the share of the floor."""
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
            answers = evaluator.predict(grounder.name, factory)
            end = time.perf_counter()
            evaluator.add(grounder.name, "method", answers)
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
    """Measure, print, write."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--json", type=Path, help="also write the figures here")
    p.add_argument("--limit", type=int, default=128, help="queries of RefShapes test")
    p.add_argument("--methods", default=",".join(METHODS), help="with commas")
    p.add_argument("--threads", type=int, default=1)
    given = p.parse_args()
    threads, data = Threads(given.threads).count, registry.open_dataset("refshapes", "test")
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
