"""``kill -9`` at random moments of the long programs: what comes of going on is what an unkilled run has."""

import json
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from PIL import Image

from tests.hostile.kills import Moment, Program, Run, kill_and_resume, moments, resumed, run, twin
from tests.tiny_clip import make_tiny_clip
from vg_gym.clip.finetuning.model import save_model

ROOMS = TemporaryDirectory(prefix="vg_gym-kills-")
"""Of the runs that are not killed; it goes when the tests end."""
CLIP = f"{ROOMS.name}/clip"
PICTURES = f"{ROOMS.name}/pictures"


def files(folder: Path, *without: str) -> dict[str, object]:
    """Contents of all files of a folder by name, but for what a killed writer left under a temporary name."""
    kept = [p for p in folder.rglob("*") if p.is_file() and not any(part.endswith(".part") for part in p.parts)]
    return {str(p.relative_to(folder)): p.read_bytes() for p in kept if p.name not in without}


def trained(run: Path) -> dict[str, object]:
    """The finished model, and the figures of its validation."""
    return {**files(run / "model"), "report.json": (run / "report.json").read_bytes()}


def agent(run: Path) -> dict[str, object]:
    """The agents: weights, steps and figures."""
    return {**files(run / "best"), **{f"last {k}": v for k, v in files(run / "last", "state.pt").items()}}


def store(run: Path) -> dict[str, object]:
    """All shards and keys; the manifest but for its date."""
    manifest = json.loads((run / "manifest.json").read_text())
    return {**files(run, "manifest.json"), "manifest": {k: v for k, v in manifest.items() if k != "made"}}


def table(run: Path) -> dict[str, object]:
    """All rows but for their times, and each prediction once."""
    rows = json.loads((run / "results.json").read_text())["rows"]
    lines = [json.loads(line) for line in (run / "predictions.jsonl").read_text().splitlines()]
    answers = {f"{line['method']} {line['key']}": line["box"] for line in lines}
    assert len(answers) == len(lines)
    return {**answers, **{row["method"]: {k: v for k, v in row.items() if k != "ms_per_query"} for row in rows}}


TRAINING = ("out=run", "threads=1", "warmup=2", "batch_size=4")
CONTINUES = {"resume": ("resume=true",), "again": ("fresh=true",)}
PROGRAMS = {
    "train agent": Program(
        ("train", "agent", "out=run", "threads=1", f"clip={CLIP}", "proposals=", "edge_profiles=false", "action=edges",
         "score=context", "test_samples=0", "dataset_options.scenes=4", "eval_samples=2", "num_envs=4", "n_steps=8",
         "batch_size=16", "width=16", "total_timesteps=192", "clone.steps=16", "clone.batch_size=32",
         "clone.buffer_size=500"),
        agent, **CONTINUES, exact=False,
    ),
    "train grounder": Program(
        ("train", "grounder", "transvg_refshapes", *TRAINING, "images=20", "validate_samples=8", "steps=12",
         "validate_every=4"),
        trained, **CONTINUES,
    ),
    "train detector": Program(
        ("train", "detector", "ssd_refshapes", *TRAINING, "images=20", "validate_images=8", "steps=6",
         "validate_every=2", "workers=1"),
        trained, **CONTINUES,
    ),
    "train clip": Program(
        ("train", "clip", *TRAINING, f"clip={CLIP}", "dataset_options.scenes=20", "validate_samples=8", "steps=8",
         "validate_every=3", "workers=0", "amp=false", "texts=3"),
        trained, **CONTINUES,
    ),
    "features": Program(
        ("features", "--dataset", "refshapes", "--clip", CLIP, "--splits", "val", "--limit", "12", "--shard", "3",
         "--out", "run", "--phrases", "--proposals", "ssd", "--edge-profiles"),
        store,
    ),
    "evaluate": Program(
        ("evaluate", "--methods", "action-oracle,clip-window", "--dataset", "refshapes", "--clip", CLIP,
         "--limit", "80", "--out", "run", "constant.box=[0.2,0.2,0.6,0.6]"),
        table,
    ),
    "ground": Program(("ground", PICTURES, "the red square", "--method", "center", "--out", "run"), files),
}  # fmt: skip


def make_clip() -> None:
    """The CLIP of the programs, and the pictures, once."""
    if not Path(CLIP).is_dir():
        save_model(make_tiny_clip(), Path(CLIP))
        Path(PICTURES).mkdir()
        for number in range(12):
            Image.new("RGB", (64, 48), (20 * number, 0, 0)).save(f"{PICTURES}/{number:02d}.png")


@lru_cache(None)
def whole(name: str) -> tuple[Run, dict[str, object]]:
    """A program that nobody kills, and its results."""
    make_clip()
    folder = Path(ROOMS.name) / name
    done = run(PROGRAMS[name].command, folder)
    assert done.status == 0, done.said
    return done, PROGRAMS[name].results(folder / "run")


def check(name: str, moment: Moment, folder: Path) -> None:
    """Kill, go on, compare."""
    program, (unkilled, promised) = PROGRAMS[name], whole(name)
    killed, done = kill_and_resume(program, unkilled, moment, folder)
    assert "Traceback" not in killed.said + done.said, killed.said + done.said
    assert done.status == 0, done.said
    assert not killed.orphans
    found = program.results(folder / "run")
    if not program.exact and found != promised:
        again = resumed(program, twin(folder))
        assert again.status == 0, again.said
        promised = program.results(twin(folder) / "run")
    assert found.keys() == promised.keys()
    assert [name for name in found if found[name] != promised[name]] == []


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_killed_program_goes_on(name, tmp_path):
    (moment,) = moments(name, 1)
    check(name, moment, tmp_path / "killed")


MANY = [(name, moment) for name in PROGRAMS for moment in moments(name, 20, seed=1)]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "moment"), MANY, ids=str)
def test_a_program_that_is_killed_at_any_moment_goes_on(name, moment, tmp_path):
    check(name, moment, tmp_path / "killed")
