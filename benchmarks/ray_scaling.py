"""Speed-up of evaluation by two Ray workers instead of one, for a method that keeps a CPU core busy.

    OMP_NUM_THREADS=1 python benchmarks/ray_scaling.py [--method clip-window] [--queries 64]

The time to start workers and build the method does not depend on their number, and is reported separately. Runs with
one and two workers alternate, and the ratio of the medians is the result. It is meaningless on a machine with fewer
than two idle cores.
"""

import argparse
import os
import statistics
import sys
import time
from contextlib import closing

import torch

from vg_gym.cli.run import run
from vg_gym.evaluation.methods import GrounderFactory
from vg_gym.registry import open_dataset
from vg_gym.runtime.runners import Runner, make_runner

REQUIRED_SPEEDUP = 1.7
"""Required speed of two workers relative to one."""


def seconds(runner: Runner, factory: GrounderFactory, batches: list) -> float:
    """Return the seconds of all batches."""
    start = time.perf_counter()
    answered = sum(len(lines) for _, lines in runner.map(factory, batches))
    assert answered == sum(len(asked) for asked, _ in batches)
    return time.perf_counter() - start


def main() -> None:
    """Measure and print the results."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--method", default="clip-window", help="grounder (default: %(default)s)")
    p.add_argument(
        "--queries", type=int, default=64, help="number of expressions of RefShapes test (default: %(default)s)"
    )
    p.add_argument("--batch", type=int, default=16, help="expressions per batch (default: %(default)s)")
    p.add_argument("--repeats", type=int, default=5, help="of each measurement (default: %(default)s)")
    given = p.parse_args()
    if os.environ.get("OMP_NUM_THREADS") != "1":
        sys.exit("set OMP_NUM_THREADS=1: workers with several threads each wait for each other")
    torch.set_num_threads(1)
    data = open_dataset("refshapes", "test")
    queries = [data[i].query for i in range(given.queries)]
    batches: list = [(queries[at : at + given.batch], None) for at in range(0, len(queries), given.batch)]
    factory = GrounderFactory(given.method, {}, "refshapes", "refshapes", "train", None)
    names = {"this process": ("local", 1), "1 Ray worker": ("ray", 1), "2 Ray workers": ("ray", 2)}
    runners = {name: make_runner(*runner) for name, runner in names.items()}
    found: dict[str, list[float]] = {name: [] for name in names}
    with closing(runners["1 Ray worker"]), closing(runners["2 Ray workers"]):
        # One CPU for each worker of both runners, which do not run at the same time.
        _start_ray(cpus=3)
        starts = {name: seconds(runner, factory, batches) for name, runner in runners.items()}
        for _ in range(given.repeats):
            for name, runner in runners.items():
                found[name].append(seconds(runner, factory, batches))
    print(f"{given.method}, {given.queries:,} queries on {os.cpu_count()} cores, medians of {given.repeats}")
    print(f"{'':16}{'seconds':>9}{'queries/s':>11}{'first time':>12}")
    medians = {name: statistics.median(times) for name, times in found.items()}
    for name, median in medians.items():
        print(f"{name:16}{median:9.2f}{given.queries / median:11.1f}{starts[name]:10.1f} s")
    ratio = medians["1 Ray worker"] / medians["2 Ray workers"]
    print(f"two workers are {ratio:.2f} times as fast as one (wanted: {REQUIRED_SPEEDUP})")


def _start_ray(cpus: int) -> None:
    import ray

    ray.init(num_cpus=cpus, include_dashboard=False, log_to_driver=False)


if __name__ == "__main__":
    run(main)
