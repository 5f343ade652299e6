"""Speed of gymnasium.make with random actions from an empty and from a filled cache, and of plain SB3.

python benchmarks/cold_start.py --seconds 60 [--json out.json]
python benchmarks/cold_start.py --ppo           # also PPO("MultiInputPolicy", gymnasium.make(ID)) and its lower bound

The second run plays as many steps with the same seed, so it has the same episodes, with all features in the cache. The
lower bound of PPO is the same PPO on an environment with the same spaces that does nothing. PPO("MlpPolicy") on
CartPole-v1, with four numbers and two actions, shows the highest speed of SB3's PPO.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from vg_gym.cli.figures import write_figures

KINDS = {
    "each image anew": "image_pool=0, cache=False",
    "empty cache": "",
    "second run": "",
}
"""Name of a measurement -> options of the environment; the last two share a cache folder."""
MAKE = """
import json, time
start = time.perf_counter()
import gymnasium, vg_gym
env = gymnasium.make("RefShapes-Ground-v0", {options})
env.reset(seed=0)
begun, worked = time.perf_counter(), time.process_time()
"""
PLAY = """
steps = 0
env.action_space.seed(0)
while steps < {steps} if {steps} else time.perf_counter() - begun < {seconds}:
    *_, terminated, truncated, _ = env.step(env.action_space.sample())
    steps += 1
    if terminated or truncated:
        env.reset()
"""
PPO = """
from stable_baselines3 import PPO
if {on!r} == "CartPole-v1":
    env = gymnasium.make({on!r})
elif {on!r} == "nothing":
    class Null(gymnasium.Env):
        observation_space, action_space = env.observation_space, env.action_space
        seen, steps = env.reset()[0], 0

        def reset(self, **given):
            return self.seen, {{}}

        def step(self, action):
            self.steps += 1
            return self.seen, 0.0, False, self.steps % 9 == 0, {{}}

    env = Null()
policy = "MultiInputPolicy" if isinstance(env.observation_space, gymnasium.spaces.Dict) else "MlpPolicy"
model = PPO(policy, env, seed=0, device="cpu")
model.learn(1)
begun, worked = time.perf_counter(), time.process_time()
steps = -model.num_timesteps
model.learn({steps}, reset_num_timesteps=False)
steps += model.num_timesteps
"""
SAY = """
print(json.dumps([begun - start, steps, time.perf_counter() - begun, time.process_time() - worked]))
"""


def run(program: str, cache: str, **given: Any) -> list[float]:
    """Return seconds to the first observation, steps, seconds and CPU seconds of playing, measured in a new process."""
    code = (MAKE + program + SAY).format(**{"options": "", "steps": 0, "seconds": 0, "on": ""} | given)
    environment = {**os.environ, "XDG_CACHE_HOME": cache}
    done = subprocess.run([sys.executable, "-c", code], env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def play(seconds: float) -> dict[str, float]:
    """Play random actions, print a line for each of :data:`KINDS`, and return the results by name."""
    found = {}
    with tempfile.TemporaryDirectory() as cache:
        steps = 0
        for name, options in KINDS.items():
            again = steps if name == "second run" else 0
            first, steps, took, worked = run(PLAY, cache, options=options, seconds=seconds, steps=again)  # type: ignore[assignment]
            print(f"{name:16}  import, make and first reset {first:4.1f} s   {steps / took:6,.0f} steps/s"
                  f"   {steps / worked:6,.0f} a CPU second   {steps:,} steps", flush=True)  # fmt: skip
            found |= {f"{name}: first reset, s": first, f"{name}: steps/s": steps / took}
    return found


def ppo(steps: int) -> dict[str, float]:
    """Run plain SB3 from an empty cache, again with the same episodes, on the null environment, and on CartPole."""
    found = {}
    with tempfile.TemporaryDirectory() as cache:
        for name, on in (("empty cache", ""), ("second run", ""), ("floor", "nothing"), ("CartPole", "CartPole-v1")):
            _, done, took, worked = run(PPO, cache, steps=steps, on=on)
            name = f"PPO, {name}"
            print(f"{name:16}  {done / took:6,.0f} FPS   {done / worked:6,.0f} a CPU second", flush=True)
            found[f"{name}: FPS"] = done / took
    return found


def main() -> None:
    """Run each measurement in a separate process and print one line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20, help="seconds of playing of each measurement; 0: none")
    parser.add_argument(
        "--ppo", type=int, nargs="?", const=8192, default=0, metavar="STEPS", help="also run PPO for this long"
    )
    parser.add_argument("--json", type=Path, help="file for the results")
    given = parser.parse_args()
    found = play(given.seconds) if given.seconds else {}
    if given.ppo:
        found |= ppo(given.ppo)
    if given.json:
        write_figures(given.json, found)


if __name__ == "__main__":
    main()
