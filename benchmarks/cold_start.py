"""What people write first, gymnasium.make and random actions: without shared images, from an empty cache, once more.

python benchmarks/cold_start.py --seconds 60
"""

import argparse
import os
import subprocess
import sys
import tempfile

KINDS = {
    "each image anew": "image_pool=0, cache=False",
    "empty cache": "",
    "second run": "",
}
"""What is measured -> options of the environment; the last two share a cache folder."""
PLAY = """
import time
start = time.perf_counter()
import gymnasium, vg_gym
env = gymnasium.make("RefShapes-Ground-v0", {options})
env.reset(seed=0)
begun, steps = time.perf_counter(), 0
env.action_space.seed(0)
while time.perf_counter() - begun < {seconds}:
    *_, terminated, truncated, _ = env.step(env.action_space.sample())
    steps += 1
    if terminated or truncated:
        env.reset()
print(begun - start, steps / (time.perf_counter() - begun))
"""


def main() -> None:
    """One process each, and a line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20, help="of playing, each")
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory() as cache:
        for name, options in KINDS.items():
            code = PLAY.format(options=options, seconds=seconds)
            done = subprocess.run(
                [sys.executable, "-c", code], env={**os.environ, "XDG_CACHE_HOME": cache}, check=True,
                capture_output=True, text=True,
            )  # fmt: skip
            first, rate = map(float, done.stdout.split())
            print(f"{name:16}  import, make and first reset {first:4.1f} s   {rate:6,.0f} steps/s", flush=True)


if __name__ == "__main__":
    main()
