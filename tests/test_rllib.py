"""The RLlib example runs, in the learner's process and in others."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[1] / "examples" / "rllib_ppo.py"


@pytest.mark.slow
@pytest.mark.parametrize("env_runners", [0, 2])
def test_rllib_learns_on_the_vector_environment(env_runners):
    pytest.importorskip("ray.rllib")
    arguments = f"--scenes 20 --iterations 2 --num-envs 8 --rollout 8 --env-runners {env_runners}".split()
    done = subprocess.run([sys.executable, EXAMPLE, *arguments], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    line = done.stdout.splitlines()[-1]
    steps, rate, iou = re.search(r"2 +(\d+) steps +(\d+)/s .* IoU ([\d.]+)", line).groups()
    assert int(steps) >= 2 * 8 * 8 * max(1, env_runners) and int(rate) > 0 and 0 < float(iou) < 1
