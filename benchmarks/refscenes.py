"""Time that each step of drawing a scene of RefScenes takes, and the memory of reading many.

python benchmarks/refscenes.py [--scenes 100] [--json out.json]

Times are of the processor, so that other load on the machine counts little: medians per picture of 256 x 192 pixels.
The target is 25 ms for a picture (labels, light, photometry). Compilation is that of an empty numba cache.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from vg_gym.cli.figures import write_figures
from vg_gym.data.worlds.refscenes import records
from vg_gym.data.worlds.refscenes.photometry import develop
from vg_gym.data.worlds.refscenes.raster import truth_of
from vg_gym.data.worlds.refscenes.renderer import light_of, traced
from vg_gym.data.worlds.refscenes.samples import RefScenes

PIXELS = 256 * 192
"""Number of pixels that times are given for."""
FIRST = """
import time
from vg_gym.data.worlds.refscenes.records import SceneRecord, draw
start = time.process_time()
draw(SceneRecord("test", 0, 0, 128))
print(time.process_time() - start)
"""


def timed(function: Callable[..., Any], *arguments: Any) -> tuple[Any, float]:
    """Return the result of a call, and its processor time in milliseconds."""
    start = time.process_time()
    result = function(*arguments)
    return result, 1000 * (time.process_time() - start)


def steps(record: records.SceneRecord) -> dict[str, float]:
    """Return the time of each step for one scene, in milliseconds."""
    scene, compose = timed(records.scene_of, record, 0)
    share = PIXELS / (scene.width * scene.height)
    (solids, view, rects, depth, ids), trace = timed(traced, scene)
    truth, labels = timed(truth_of, scene, solids, view, rects, ids)
    light, shading = timed(light_of, scene, solids, view, depth, ids)
    _, camera = timed(develop, light, scene.photometry, record.rng("pixels", 0))
    _, words = timed(records.sample_expressions, scene, truth, record.rng("words", 0), 4)
    drawing = {"rays": trace, "labels": labels, "light": shading, "photometry and JPEG": camera}
    drawing = {name: value * share for name, value in drawing.items()}
    return {"composition": compose, **drawing, "picture": sum(drawing.values()), "expressions": words}


def compilation() -> float:
    """Return the seconds of the first picture of a process with an empty cache of compiled code."""
    with tempfile.TemporaryDirectory() as folder:
        run = [sys.executable, "-c", FIRST]
        done = subprocess.run(
            run, capture_output=True, text=True, check=True, env={**os.environ, "NUMBA_CACHE_DIR": folder}
        )
    return float(done.stdout)


def memory(scenes: int) -> float:
    """Return the growth in MB of the memory of this process while it reads many scenes."""
    data = RefScenes("val", scenes)
    data[0].query.image.array()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for sample in data[:: data.expressions]:
        sample.query.image.array()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=100)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    rows = [steps(records.SceneRecord("test", index, 0, 256)) for index in range(options.scenes + 3)][3:]
    figures = {f"{name} (ms)": float(np.median([row[name] for row in rows])) for name in rows[0]}
    figures["first picture with an empty numba cache (s)"] = compilation()
    figures[f"growth of memory over {options.scenes} scenes (MB)"] = memory(options.scenes)
    for name, value in figures.items():
        print(f"{name:55}{value:8.2f}")
    if options.json:
        write_figures(options.json, figures)


if __name__ == "__main__":
    main()
