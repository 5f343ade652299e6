"""The recipe prints commands that the parsers take, runs each once, and leaves out what it is told to."""

import argparse
import json
import shlex
from pathlib import Path

import pytest

from vg_gym.cli import evaluate, recipe
from vg_gym.cli.entry import _parser, main
from vg_gym.cli.recipe_steps import FLOORS, IMAGES, Cost, refcocog
from vg_gym.cli.train import AGENT, MODELS
from vg_gym.config import load_config
from vg_gym.data.refcoco import PUBLISHED_SETS
from vg_gym.errors import VGGymError
from vg_gym.evaluation import turns
from vg_gym.evaluation.methods import method_options, options_of
from vg_gym.registry import check_factory_options, grounder_key, grounder_spec
from vg_gym.registry.specs import load_object

TINY = Path(__file__).parents[1] / "data" / "refcocog_tiny"


def printed(capsys, *words) -> list[str]:
    """The commands of a dry run."""
    main(["recipe", "refcocog", "--root", "DATA", *words])
    return [line for line in capsys.readouterr().out.splitlines() if line and not line.startswith("#")]


def check(words):
    """Raise an error unless the command's own parser takes its words and options."""
    if words[0] == "train":
        path = AGENT if words[1] == "agent" else MODELS[words[1]][0]
        load_config(load_object(path), words[2:])
    elif words[0] == "evaluate":
        arguments = evaluate._parser().parse_args(words[1:])
        options = method_options(arguments.options)
        for name in f"{arguments.methods},{arguments.refine or arguments.methods}".split(","):
            spec, key = grounder_spec(name), grounder_key(name)
            check_factory_options(key, spec, options_of(name, options), [spec.argument] if name != key else [])
    else:
        _parser().parse_args(words)


def test_a_dry_run_is_a_shell_script_of_commands_that_parse(capsys):
    lines = printed(capsys, "--seeds", "2", "--gpus", "2", "--dry-run", "mdetr.weights=a b.pth", "yolo.weights=c.pt")
    commands = [shlex.split(line) for line in lines]
    assert len(commands) == len(refcocog(2)) - 1  # transvg has no checkpoint
    for program, *words in commands:
        assert program == "vg-gym"
        check(words)
    one = next(line for line in lines if "--methods reclip" in line)
    assert one.endswith("yolo.weights=c.pt reclip.device=cuda") and "a b.pth" not in one
    refined = next(line for line in lines if "--refine" in line)
    assert refined.endswith("yolo.weights=c.pt yolo-clip.device=cuda agent.device=cuda")


@pytest.mark.parametrize(
    "command",
    [
        "train agent rewards=iou",
        "evaluate --methods yolo-clip --out x yolo-clip.devices=cuda",
        "features --splits test",
    ],
)
def test_the_check_of_commands_finds_mistakes(command):
    with pytest.raises((VGGymError, SystemExit)):
        check(command.split())


def test_sizes_are_the_published_ones():
    splits = PUBLISHED_SETS["refcocog-umd"].splits
    assert {name: images for name, (_, images) in splits.items()} == {k: v for k, v in IMAGES.items() if k != "all"}
    assert sum(images for _, images in splits.values()) == IMAGES["all"]
    assert len(turns.FLOORS) == FLOORS


def test_steps_are_kept_and_left_out(capsys):
    assert [line.split()[1] for line in printed(capsys, "--only", "data,report", "--skip", "download")] == [
        "evaluate", "leaderboard"
    ]  # fmt: skip
    with pytest.raises(SystemExit):
        printed(capsys, "--skip", "baseline")
    assert "did you mean 'baselines'" in capsys.readouterr().err


def test_time_follows_the_slower_part():
    machine = recipe.Machine(1, gflops=100.0, images=10.0)
    assert machine.minutes(Cost(images=600, gflop=0)) == machine.minutes(Cost(gflop=6000)) == 1
    assert machine.minutes(Cost(images=600, gflop=12_000, minutes=3)) == 5
    assert "2 GPU(s) of 100 TFLOP/s each (assumed)" in str(recipe.Machine(2, 100_000.0, 10.0))


class Ended:
    """A process that has ended."""

    def __init__(self, status=0):
        self.wait = lambda: status


@pytest.mark.filterwarnings("ignore:refcocog-umd.*this copy is partial")
def test_a_tiny_copy_is_run_to_its_report_and_resumed(tmp_path, monkeypatch, capsys):
    begun = []

    def start(words, gpu):
        begun.append(words)
        main(words)
        return Ended()

    monkeypatch.setattr(recipe, "_start", start)
    words = ["recipe", "refcocog", "--root", str(TINY), "--out", str(tmp_path), "--gpus", "0", "--clip", "refshapes",
             "--only", "check,features,clip-window,report", "--run"]  # fmt: skip
    main([*words, "--skip", "features-tuned"])
    assert [command[0] for command in begun] == ["evaluate", "features", "evaluate", "leaderboard"]
    assert (tmp_path / "features/manifest.json").is_file() and "clip-window" in capsys.readouterr().out
    assert "clip-window" in (tmp_path / "results/leaderboard.html").read_text()
    assert json.loads((tmp_path / "steps/check.json").read_text())["seconds"] >= 0
    main([*words, "--skip", "features-tuned"])
    assert len(begun) == 4 and capsys.readouterr().out.count("; finished)") == 4


def test_seeds_share_the_gpus_and_a_failure_is_named(tmp_path, monkeypatch, capsys):
    begun = []
    status = {"seed=1": 1}
    monkeypatch.setattr(
        recipe, "_start", lambda words, gpu: begun.append((words[-4], gpu)) or Ended(status.get(words[-4], 0))
    )
    words = ["recipe", "refcocog", "--root", "DATA", "--out", str(tmp_path), "--gpus", "2", "--only", "agents", "--run"]
    with pytest.raises(SystemExit):
        main(words)
    assert begun == [("seed=0", 0), ("seed=1", 1)]
    assert "step agent-s1 ended with status 1" in capsys.readouterr().err
    status.clear()
    (tmp_path / "agent-s1/last").mkdir(parents=True)
    (tmp_path / "agent-s1/last/agent.json").write_text("{}")
    main(words)
    assert "agent-s1 resume=true" in capsys.readouterr().out and len(begun) == 4


def test_a_small_disk_is_an_error_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(recipe.shutil, "disk_usage", lambda _: argparse.Namespace(free=1e9))
    with pytest.raises(SystemExit):
        main(["recipe", "refcocog", "--root", "DATA", "--out", str(tmp_path), "--only", "download", "--run"])
