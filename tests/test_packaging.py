"""Wheel and sdist: built, compared, installed in a clean virtual environment, used outside the checkout."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.slow


def call(*command, cwd, rc=0):
    """Run a command without the checkout on its path; what it said."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run([str(part) for part in command], cwd=cwd, env=clean, capture_output=True, text=True)
    assert done.returncode == rc, (command, done.stdout[-3000:], done.stderr[-3000:])
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A folder with the sdist of what git tracks, and with the wheel of it."""
    folder = tmp_path_factory.mktemp("built")
    call("git", "-C", ROOT, "checkout-index", "-a", f"--prefix={folder}/source/", cwd=ROOT)
    tools = folder / "tools"
    call(sys.executable, "-m", "venv", tools, cwd=folder)
    call(tools / "bin/pip", "install", "-q", "build", "twine", cwd=folder)
    call(tools / "bin/python", "-m", "build", "--outdir", folder / "dist", "source", cwd=folder)
    return folder


def contents(wheel):
    """Name -> checksum of all files but the list of them."""
    with zipfile.ZipFile(wheel) as archive:
        return {info.filename: info.CRC for info in archive.infolist() if not info.filename.endswith("RECORD")}


def test_wheel_and_sdist_hold_what_they_need(built):
    assert "FAILED" not in call(built / "tools/bin/twine", "check", "--strict", *(built / "dist").iterdir(), cwd=built)
    (wheel,), (sdist,) = (built / "dist").glob("*.whl"), (built / "dist").glob("*.tar.gz")
    files = contents(wheel)
    call(built / "tools/bin/python", "-m", "build", "--wheel", "--outdir", built / "direct", "source", cwd=built)
    assert contents(next((built / "direct").iterdir())) == files  # that in dist/ is made from the sdist
    tracked = call("git", "-C", ROOT, "ls-files", "vg_gym", "configs", cwd=ROOT).split()
    wanted = {name if name.startswith("vg_gym/") else f"vg_gym/{name}" for name in tracked} - {"vg_gym/configs"}
    assert wanted <= files.keys()
    licences = {name.partition("licenses/")[2] for name in files if "dist-info/licenses/" in name}
    assert licences == {"LICENSE", "vg_gym/assets/yolo-refshapes/LICENSE"}
    with zipfile.ZipFile(wheel) as archive:
        metadata = archive.read(next(name for name in files if name.endswith("dist-info/METADATA"))).decode()
    assert "License-Expression: Apache-2.0 AND AGPL-3.0-or-later\n" in metadata and "\nAuthor: " in metadata
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"train_agent.py", "examples/own_method.py", "tests/cli/test_run.py", "CHANGELOG.md"} <= names


def test_the_main_job_needs_the_wheel_alone(built):
    venv, away = built / "venv", built / "away"
    call(sys.executable, "-m", "venv", venv, cwd=built)
    call(venv / "bin/pip", "install", "-q", next((built / "dist").glob("*.whl")), cwd=built)
    away.mkdir()
    python, vg_gym = venv / "bin/python", venv / "bin/vg-gym"
    code = """
import gymnasium, vg_gym, sys
from PIL import Image
from vg_gym.registry import open_dataset
env = gymnasium.make("RefShapes-Ground-v0")
env.reset(seed=0)
env.step(env.action_space.sample())
query = open_dataset("refshapes", "test")[0].query
Image.fromarray(query.image.array()).save("scene.png")
print(query.expression)
assert not {"ultralytics", "transformers"} & set(sys.modules)
"""
    expression = call(python, "-c", code, cwd=away).splitlines()[-1]
    assert "scene.png" in call(vg_gym, "ground", "scene.png", expression, "--out", "boxed.png", cwd=away)
    assert (away / "boxed.png").is_file()
    options = "dataset_options.scenes=40 minutes=0.3 test_samples=20 seed=1 out=run"
    assert "run: run" in call(vg_gym, "train", "agent", *options.split(), cwd=away)
    line = "evaluate --methods agent:run,mdetr,transvg,dynamic-mdetr,red,diffusion --dataset refshapes --limit 20"
    assert "mdetr" in call(vg_gym, *line.split(), "--out", "results", cwd=away)
    line = "evaluate --methods yolo-clip,ssd-clip,seg-clip --dataset refshapes --limit 8 --out lacking"
    said = call(vg_gym, *line.split(), cwd=away, rc=2)
    assert 'pip install "vg_gym[yolo]"' in said and 'pip install "vg_gym[segments]"' in said and "ssd-clip" in said
    states = dict(line.split()[:2] for line in call(vg_gym, "list", "detectors", cwd=away).splitlines())
    assert states["yolo"] == "missing" and states["ssd"] == "ready"
