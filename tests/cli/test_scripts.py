"""The scripts at the top, as they are typed, and the functions behind them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from vg_gym.cli import evaluate, train
from vg_gym.errors import VGGymError

ROOT = Path(__file__).parents[2]


def call(script, *arguments):
    return subprocess.run([sys.executable, ROOT / script, *arguments], capture_output=True, text=True)


def test_help_of_evaluate_prints_the_usage_and_every_option():
    done = call("evaluate.py", "--help")
    assert done.returncode == 0
    assert "python evaluate.py --methods clip-window,agent:refshapes --dataset refshapes" in done.stdout
    assert "--train-split" in done.stdout and "METHOD.KEY=VALUE" in done.stdout


SCRIPTS = [what for what in train.TRAININGS if what != "presence"]
"""Trainings with a script at the top; a presence head is trained by ``vg-gym train presence`` alone."""


@pytest.mark.parametrize("what", SCRIPTS)
def test_a_script_is_its_training_and_its_usage(what):
    source = (ROOT / f"train_{what}.py").read_text()
    assert f'main("{what}")' in source and f"\npython train_{what}.py " in source
    with pytest.raises(VGGymError, match="unknown option 'no_such'"):
        train.main(what, ["no_such=1"])


def test_a_mistake_in_a_script_is_one_line(tmp_path):
    done = call("train_detector.py", "no_such=1")
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.splitlines()[-1].startswith("vg-gym: error: unknown option 'no_such'")


def test_evaluate_takes_methods_and_options(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["evaluate.py"])
    out = str(tmp_path / "out")
    given = ["--methods", "random,center", "--dataset", "refshapes", "--clip", "none", "--limit", "4", "--out", out]
    evaluate.main(arguments=[*given, "center.fraction=0.25", "random.seed=1,2"])
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    rows = [row["method"] for row in results["rows"]]
    assert rows == ["no-op", "full", "center", "constant", "random[seed=1]", "random[seed=2]"]
    assert results["meta"]["options"] == {"center": {"fraction": 0.25}, "random": {"seed": "1,2"}}
    assert results["meta"]["command"].startswith("python evaluate.py --methods random,center --dataset")
