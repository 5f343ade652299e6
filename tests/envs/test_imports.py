"""What an environment imports: users wait for it whenever they start a program."""

import json
import subprocess
import sys

NEVER = ("stable_baselines3", "ultralytics", "pandas", "matplotlib", "tensorboard", "ray", "peft", "datasets", "cv2",
         "gradio", "pygame")  # fmt: skip
HEAVY = ("torch", "transformers", "torchvision", "open_clip", *NEVER)
PROGRAM = """
import json, sys
import gymnasium, vg_gym
light = "torch" not in sys.modules
env = gymnasium.make("RefShapes-Ground-v0", dataset_options={"scenes": 2})
env.reset(seed=0), env.step(env.action_space.sample())
print(json.dumps([light, [name for name in sys.argv[1:] if name in sys.modules]]))
"""


def imported():
    done = subprocess.run([sys.executable, "-c", PROGRAM, *HEAVY], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_an_environment_imports_no_more_than_it_needs():
    light, cold = imported()
    assert light, "import vg_gym loads torch"
    assert "open_clip" in cold, "features are encoded with it"
    assert not set(NEVER) & set(cold)
    assert imported() == [True, []], "features are in the cache, and arrays need no torch"
