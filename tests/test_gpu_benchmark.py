"""Every part of ``benchmarks/gpu.py`` runs at toy size, on a CPU too."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_every_part_runs_at_toy_size_and_writes_figures(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), "--toy", "--json", str(tmp_path / "gpu.json")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    figures = json.loads((tmp_path / "gpu.json").read_text())["figures"]
    assert figures.pop("toy") is True and (figures.pop("device") == "CPU") == (not torch.cuda.is_available())
    for name in (
        "tensor: steps/s, 64 rows", "crop: open_clip alone, crops/s", "crop: share of open_clip's rate",
        "crop: share of open_clip's rate in the environment", "features: images/s", "ppo: on the device, steps/s",
        "ppo: SB3, steps/s", "ppo: times as fast as SB3", "grounders: mdetr, ms a query",
        "grounders: diffusion, ms a query",
    ):  # fmt: skip
        assert math.isfinite(figures[name]) and figures[name] > 0, name
    assert figures["ppo: times as fast as SB3"] == figures["ppo: on the device, steps/s"] / figures["ppo: SB3, steps/s"]
    assert "left out" not in " ".join(figures)
