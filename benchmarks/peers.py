"""Speed of this and other environments: medians of five interleaved measurements in steps/s, and ratios.

python benchmarks/peers.py [--json out.json] [--processes 4] [--seconds 1]

- CartPole: gymnasium's vector environment, with states of four numbers and without images.
- MiniGrid (pip install minigrid) and a robot arm of MuJoCo, as in MetaWorld's tasks (pip install mujoco): each
  environment runs in a separate process of gymnasium's AsyncVectorEnv. Missing packages are named and left out.
- vg_gym, in one process, and with default options in the same AsyncVectorEnv, which computes features of images that
  are not in the cache: run it twice.
- the published student environment, which encodes a crop and the expression with ViT-B/32 in every step
  (twins.StudentEnv).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gymnasium as gym
from gymnasium.vector import AsyncVectorEnv, VectorEnv
from gymnasium.wrappers import FilterObservation
from throughput import SCENES, prepared, stepper, vit_b32
from timing import median_rates
from twins import StudentEnv

from vg_gym.cli.figures import write_figures
from vg_gym.cli.run import run
from vg_gym.clip import load_clip
from vg_gym.data.worlds.refshapes.dataset import RefShapes
from vg_gym.envs import GroundingVectorEnv
from vg_gym.runtime.devices import use_threads

OURS = "vg_gym, 1024 in one process"


def minigrid() -> gym.Env:
    """Make a MiniGrid without its mission, whose space cannot be shared by processes."""
    return FilterObservation(gym.make("minigrid:MiniGrid-DoorKey-8x8-v0"), ["image", "direction"])


PROCESSES: dict[str, tuple[str, Callable[[], gym.Env]]] = {
    "MiniGrid": ("minigrid", minigrid),
    "MuJoCo arm (Pusher-v5)": ("mujoco", partial(gym.make, "Pusher-v5")),
    "vg_gym": ("vg_gym", partial(gym.make, "vg_gym:RefShapes-Ground-v0")),
}
"""Name -> required package and factory; each sub-environment runs in a separate process."""

Step = tuple[Callable[[], Any], int]
"""Function to call, and number of steps per call."""


def sampled(env: VectorEnv) -> Step:
    """Return steps with random actions that were drawn in advance."""
    env.reset(seed=0)
    actions, count = [env.action_space.sample() for _ in range(32)], [0]

    def step() -> None:
        count[0] += 1
        env.step(actions[count[0] % 32])

    return step, env.num_envs


def single(env: gym.Env) -> Step:
    """Return steps of a single environment, including resets."""
    env.reset(seed=0)

    def step() -> None:
        _, _, terminated, truncated, _ = env.step(env.action_space.sample())
        if terminated or truncated:
            env.reset()

    return step, 1


def main() -> None:
    """Measure, print and write the results."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--json", type=Path, help="file for the results")
    p.add_argument("--processes", type=int, default=4, help="number of sub-environments, each in a process")
    p.add_argument("--seconds", type=float, default=1.0, help="seconds of each of five measurements")
    given = p.parse_args()
    threads = use_threads(1)
    clip, data = load_clip("refshapes"), RefShapes("refshapes", "val", scenes=SCENES)
    ours = GroundingVectorEnv(1024, dataset=data, clip=clip, bank=prepared(data, clip))
    steps: dict[str, Step] = {OURS: (stepper(ours), 1024)}
    steps["CartPole-v1, its own vector environment, 1024"] = sampled(
        gym.make_vec("CartPole-v1", 1024, vectorization_mode="vector_entry_point")
    )
    open_envs: list[VectorEnv] = []
    absent = [name for name, (package, _) in PROCESSES.items() if find_spec(package) is None]
    for name, (_, make) in PROCESSES.items():
        if name not in absent:
            env = AsyncVectorEnv([make] * given.processes, context="spawn")
            open_envs.append(env)
            steps[f"{name}, {given.processes} processes"] = sampled(env)
    queries = [data[i].query for i in range(16)]
    steps["student's step: ViT-B/32, both towers"] = single(StudentEnv(queries, vit_b32()))
    rates = median_rates(steps, given.seconds)
    for env in open_envs:
        env.close()
    rows = {name: {"steps_per_second": rate, "ours_is_times": rates[OURS] / rate} for name, rate in rates.items()}
    print(f"{threads} thread a process; steps/s, medians of five in turns; ours is so many times as fast")
    for name, row in rows.items():
        print(f"  {name:50} {row['steps_per_second']:>12,.1f} {row['ours_is_times']:>12,.3g}", flush=True)
    if absent:
        print(f"not installed, left out: {', '.join(absent)}")
    if given.json:
        figures = {f"{name}: {what}": value for name, row in rows.items() for what, value in row.items()}
        write_figures(given.json, {"threads": threads, **figures})


if __name__ == "__main__":
    run(main)
