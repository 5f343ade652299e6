"""Ctrl-C and SIGTERM on real processes: all is saved in seconds, and the same command or ``resume`` goes on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

ROOT = Path(__file__).parents[2]
SECONDS = 15
"""Within which a command has saved and ended, on a busy core."""
PLAIN = ("proposals=", "edge_profiles=false", "action=edges", "score=context", "threads=1", "test_samples=0")
AGENT = (
    "train",
    "agent",
    *PLAIN,
    "dataset_options.scenes=8",
    "num_envs=4",
    "batch_size=64",
    "eval_samples=2",
    "width=16",
)
GROUNDER = ("train", "grounder", "transvg_refshapes", "images=300", "validate_samples=20", "steps=30", "warmup=5")


@pytest.fixture
def command(tmp_path):
    """Starts ``vg-gym`` in an empty folder, with a cache of its own; what is still running at the end is killed."""
    started = []

    def start(*arguments):
        env = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
        said = tmp_path / f"errors-{len(started)}"
        with said.open("w") as errors:
            process = subprocess.Popen(
                [sys.executable, "-m", "vg_gym.cli", *arguments],
                cwd=tmp_path, env=env, stdout=subprocess.DEVNULL, stderr=errors,
            )  # fmt: skip
        started.append(process)
        process.said = said.read_text
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def wait_for(process, condition, seconds=300):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None and time.monotonic() < end, process.said()
        time.sleep(0.05)


def stop(process, number):
    """Send a signal; the last line of what the process says, once it has ended as it should."""
    process.send_signal(number)
    begin = time.monotonic()
    assert process.wait(60) == 128 + number, process.said()
    assert time.monotonic() - begin < SECONDS
    said = process.said()
    assert "Traceback" not in said and "Exception ignored" not in said, said
    return said.replace("\r", "\n").splitlines()[-1]


def test_sigterm_saves_an_agent_that_goes_on(command, tmp_path):
    process = command(*AGENT, "minutes=9", "clone.minutes=0", "out=run")
    wait_for(process, lambda: "fps=" in process.said())
    assert stop(process, signal.SIGTERM).endswith("Resume with: vg-gym train agent resume=true out=run")
    steps = torch.load(tmp_path / "run" / "last" / "state.pt", weights_only=True)["steps"]
    assert steps > 0 and {p.name for p in (tmp_path / "run" / "last").iterdir()} == {
        "agent.json", "policy.safetensors", "state.pt"
    }  # fmt: skip
    again = command("train", "agent", "resume=true", "out=run", f"total_timesteps={steps + 100}")
    assert again.wait(300) == 0, again.said()
    assert torch.load(tmp_path / "run" / "last" / "state.pt", weights_only=True)["steps"] >= steps + 100


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_grounder_keeps_its_features_and_goes_on_to_the_same_weights(command, tmp_path, number):
    whole = command(*GROUNDER, "out=whole")
    assert whole.wait(300) == 0, whole.said()
    before = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "cache").rglob("rows-*.npy")}
    assert len(before) == 2
    for path in (tmp_path / "cache").rglob("rows-00001.npy"):
        path.unlink()

    process = command(*GROUNDER, "out=run")
    wait_for(process, lambda: "frozen features:  8" in process.said().replace("\r", "\n"))
    time.sleep(0.5)
    assert "what was computed is kept: the same command resumes" in stop(process, number)
    process = command(*GROUNDER, "out=run")
    wait_for(process, lambda: "total=" in process.said())
    assert stop(process, number).endswith("resume with: vg-gym train grounder resume=true out=run")
    process = command("train", "grounder", "resume=true", "out=run")
    assert process.wait(300) == 0, process.said()
    after = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "cache").rglob("rows-*.npy")}
    assert after["rows-00000.npy"] == before["rows-00000.npy"]
    a, b = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("whole", "run"))
    assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("arguments", "said", "last"),
    [
        ((*AGENT, "dataset_options.scenes=2000", "out=run"), "images:", "the same command resumes"),
        ((*AGENT, "minutes=9", "out=run"), "agreement=", "vg-gym train agent resume=true out=run"),
        (("features", "--dataset", "refshapes", "--limit", "600", "--out", "store"), "images:", "interrupted"),
        (("train", "detector", "ssd_refshapes", "images=2000", "out=run"), "images:", "the same command resumes"),
        (
            ("train", "detector", "ssd_refshapes", "images=60", "workers=1", "out=run"),
            "total=",
            "vg-gym train detector resume=true out=run",
        ),
        (("train", "clip", "steps=500", "threads=1", "out=run"), "total=", "vg-gym train clip resume=true out=run"),
    ],
)
def test_everywhere_a_signal_ends_in_seconds_with_one_line(command, number, arguments, said, last):
    process = command(*arguments)
    wait_for(process, lambda: said in process.said())
    time.sleep(1)
    assert stop(process, number).endswith(last)
