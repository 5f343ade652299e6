"""The real path, small: real annotations, images and YOLO; an open_clip ViT-B-32 of random weights from a file."""

import json
import os
import subprocess
import sys
from pathlib import Path

import open_clip
import pytest
import torch

from vg_gym.cli.run import run
from vg_gym.cli.train import main

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_train_and_evaluate_on_refcocog_with_vit_b_32(realdata, tmp_path):
    torch.manual_seed(0)
    torch.save(open_clip.create_model("ViT-B-32").state_dict(), tmp_path / "weights.pt")
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path), "PYTHONWARNINGS": "ignore"}
    options = [
        "dataset=refcocog-umd", f"root={realdata / 'refcocog_mini'}", f"clip=ViT-B-32:{tmp_path / 'weights.pt'}",
        "train_split=val", f"out={tmp_path / 'run'}", "reward=clip", "total_timesteps=256", "num_envs=8", "n_steps=8",
        "batch_size=32", "eval_samples=8", "test_samples=20", f"proposals=yolo:{realdata / 'weights' / 'yolov8n.pt'}",
    ]  # fmt: skip
    command = [sys.executable, str(ROOT / "train_agent.py"), *options]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    results = json.loads((tmp_path / "run" / "test" / "results.json").read_text())
    rows = {row["method"]: row for row in results["rows"]}
    assert {"full", "center", "constant", f"agent:{tmp_path / 'run'}", "action-oracle"} <= rows.keys()
    assert rows[f"agent:{tmp_path / 'run'}"]["failures"] == 0 and rows["action-oracle"]["mean_iou"] > 0.8


def test_a_user_s_mistake_is_one_line(capsys):
    with pytest.raises(SystemExit) as ended:
        run(lambda: main("agent", ["dataset=refcocog-umd", "root=/nowhere"]))
    errors = capsys.readouterr().err
    assert ended.value.code == 2 and "Traceback" not in errors and "/nowhere" in errors.splitlines()[-1]
