"""What one box needs: what is left out of the imports is still usable afterwards."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
ONE_BOX = """
import sys
from vg_gym.cli.entry import main
assert not main(["ground", "docs/scene.png", "the striped crescent left of the red crescent"])
heavy = {"numba", "torch._dynamo", "torch._dynamo.utils", "timm", "transformers"} & set(sys.modules)
assert not heavy, heavy
"""
COMPILER = """
import torch, torchvision
twice = torch.compile(lambda x: 2 * x, backend="eager")
assert twice(torch.ones(1)).item() == 2 and "torch._dynamo" in sys.modules
torch.use_deterministic_algorithms(True)
crops = torchvision.ops.roi_align(torch.ones(1, 1, 8, 8), [torch.tensor([[0.0, 0, 4, 4]])], 2)
assert crops.shape == (1, 1, 2, 2)
"""
TOWERS = """
from vg_gym.runtime.light_imports import import_towers
import open_clip
light = open_clip.model.TimmModel
try:
    light("test_vit", 16, image_size=160)
    raise SystemExit("timm was imported")
except RuntimeError as error:
    assert "timm" in str(error)
import_towers()
assert light("test_vit", 16, image_size=160).head is not None
from vg_gym.clip import load_clip
assert load_clip("refshapes").encode_text(["the red star"]).shape == (1, 128)
"""

BOX_IN_A_PROGRAM = """
import vg_gym
assert vg_gym.ground("docs/scene.png", "the striped crescent left of the red crescent").box is not None
import open_clip
assert open_clip.model.TimmModel("test_vit", 16, image_size=160).head is not None
"""


def run(program):
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_one_box_leaves_out_what_it_does_not_need():
    run(ONE_BOX + COMPILER + TOWERS)


def test_other_code_of_the_process_has_the_towers_of_open_clip():
    run(BOX_IN_A_PROGRAM)
