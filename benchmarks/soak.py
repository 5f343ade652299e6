"""Soak test: memory and open files during hours of use. Each part runs for some minutes in a new process.

    python benchmarks/soak.py --minutes 10 --out soak.csv

- ``vector``: steps 1,000 environments in parallel; the image tables hold only some images, so entries are replaced.
- ``ground``: answers and draws pictures, one in a hundred of them damaged.
- ``make``: repeatedly creates, plays and closes an environment.

The table has a line for every tenth of the time: completed units, resident memory, open files and threads. Memory is
constant if it does not rise after the first tenths.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from itertools import cycle, islice
from pathlib import Path

COLUMNS = ("part", "minute", "units", "MiB", "files", "threads")
SAMPLES = 10
"""Number of lines per part."""
BROKEN = 100
"""One of this many pictures is damaged."""


def vector() -> Iterator[int]:
    """Step 1,000 environments whose images do not all fit into memory."""
    import gymnasium

    import vg_gym  # noqa: F401

    envs = gymnasium.make_vec(
        "RefShapes-Ground-v0", num_envs=1000, reward="iou", dataset_options={"scenes": 1500}, memory=0.16, image_pool=64
    )
    envs.reset(seed=0)
    while True:
        envs.step(envs.action_space.sample())
        yield 1000


def ground(images: int) -> Iterator[int]:
    """Answer and draw pictures."""
    from vg_gym.errors import VGGymError
    from vg_gym.pictures.ground import ground_each

    with tempfile.TemporaryDirectory() as name:
        files = _pictures(Path(name), images)
        expressions = ["the red square"] * len(files)
        while True:
            for number, found in enumerate(ground_each(files, expressions)):
                broken = number % BROKEN == BROKEN - 1
                assert isinstance(found, VGGymError) == broken, found
                if not isinstance(found, VGGymError):
                    found.draw()
                yield 1


def _pictures(folder: Path, count: int) -> list[Path]:
    """Write scenes of RefShapes as JPEG files; some are truncated."""
    from PIL import Image

    from vg_gym.registry import open_dataset

    scenes = open_dataset("refshapes", "val")
    drawn = [scenes[i].query.image.array() for i in range(0, 800, 4)]
    files = [folder / f"{number:06d}.jpg" for number in range(count)]
    for number, (file, array) in enumerate(zip(files, islice(cycle(drawn), count), strict=True)):
        Image.fromarray(array).save(file)
        if number % BROKEN == BROKEN - 1:
            file.write_bytes(file.read_bytes()[:300])
    return files


def make() -> Iterator[int]:
    """Create, play and close environments."""
    import gymnasium

    import vg_gym  # noqa: F401

    for seed in range(10**9):
        env = gymnasium.make(
            "RefShapes-Ground-v0", reward="clip", dataset_options={"scenes": 20}, render_mode="rgb_array"
        )
        env.reset(seed=seed)
        for _ in range(3):
            env.step(env.action_space.sample())
        env.render()
        env.close()
        yield 1


def soak(part: str, units: Callable[[], Iterator[int]], minutes: float) -> Iterator[dict[str, float | str]]:
    """Run a part for some minutes, and print a line for each tenth of the time after the first unit."""
    lines, done, begin = 0, 0, 0.0
    for count in units():
        done, begin = done + count, begin or time.monotonic()
        passed = (time.monotonic() - begin) / 60
        if passed * SAMPLES >= minutes * (lines + 1):
            lines += 1
            yield {"part": part, "minute": round(passed, 2), "units": done, **_state()}
        if passed >= minutes:
            break


def _state() -> dict[str, float]:
    """Return resident memory, open files and threads of this process."""
    status = Path("/proc/self/status").read_text()
    resident = int(status.partition("VmRSS:")[2].split()[0]) / 1024
    files = len(list(Path("/proc/self/fd").iterdir()))
    return {"MiB": round(resident, 1), "files": files, "threads": threading.active_count()}


def main() -> None:
    """Run each part in a separate process, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10, help="minutes of each part")
    parser.add_argument("--parts", default="vector,ground,make", help="parts to run")
    parser.add_argument("--images", type=int, default=20_000, metavar="N", help="number of pictures of the part ground")
    parser.add_argument("--out", type=Path, help="CSV file for the table")
    parser.add_argument("--here", action="store_true", help="run one part in this process")
    options = parser.parse_args()
    work = {"vector": vector, "ground": lambda: ground(options.images), "make": make}
    if options.here:
        warnings.simplefilter("ignore")
        for line in soak(options.parts, work[options.parts], options.minutes):
            print("  ".join(f"{value:>9}" for value in line.values()), flush=True)
            with (options.out or Path("/dev/null")).open("a") as file:
                csv.DictWriter(file, COLUMNS).writerow(line)
        return
    print("  ".join(f"{name:>9}" for name in COLUMNS), flush=True)
    if options.out:
        options.out.write_text(",".join(COLUMNS) + "\n")
    for part in options.parts.split(","):
        out = ["--out", str(options.out)] if options.out else []
        told = ["--minutes", str(options.minutes), "--images", str(options.images)]
        subprocess.run([sys.executable, __file__, "--here", "--parts", part, *told, *out], check=True)


if __name__ == "__main__":
    main()
