"""What surrounds the loop."""

import json

import pytest
from safetensors.torch import load_file

from tests.fitting.test_loop import Line, config
from vg_gym.config import load_config
from vg_gym.errors import VGGymError
from vg_gym.fitting.config import FitConfig
from vg_gym.fitting.train import train


def test_a_run_leaves_its_config_and_a_model_with_its_figures(tmp_path):
    given = config(tmp_path / "run", betas=(0.8, 0.9))
    folder = train(lambda _: Line(), given)
    assert folder == tmp_path / "run" / "model"
    assert load_config(FitConfig, [str(tmp_path / "run" / "config.yaml")]) == given
    weight = float(load_file(folder / "line.safetensors")["weight"])
    assert json.loads((folder / "metrics.json").read_text())["closeness"] == pytest.approx(-abs(weight - 3))


def test_a_model_that_cannot_be_saved_leaves_the_old_one(tmp_path):
    folder = train(lambda _: Line(), config(tmp_path))
    before = {p.name: p.read_bytes() for p in folder.iterdir()}

    class Broken(Line):
        def save(self, module, folder):
            (folder / "line.safetensors").write_bytes(b"half")
            raise VGGymError("disk full")

    with pytest.raises(VGGymError, match="disk full"):
        train(lambda _: Broken(), config(tmp_path))
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
