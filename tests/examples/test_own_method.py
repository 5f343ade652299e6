"""The worked example, as its docstring says to type it."""

import json
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from PIL import Image

from vg_gym import boxes as box_ops
from vg_gym import registry
from vg_gym.cli.entry import main

FOLDER = Path(__file__).parents[2] / "examples"


@pytest.fixture(autouse=True)
def in_the_folder(monkeypatch):
    monkeypatch.chdir(FOLDER)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for table in ("GROUNDERS", "DATASETS"):
        monkeypatch.setattr(registry, table, dict(getattr(registry, table)))
    yield
    sys.modules.pop("own_method", None)


def evaluated(out, *arguments):
    main(["evaluate", "--clip", "none", "--out", str(out), *arguments])
    return {row["method"]: row for row in json.loads((out / "results.json").read_text())["rows"]}


def test_by_module_and_factory(tmp_path):
    methods = "own_method:ColorGrounder,center"
    rows = evaluated(tmp_path, "--methods", methods, "--dataset", "own_method:Squares")
    row = rows["own_method:ColorGrounder"]
    assert row["n"] == 100 and row["failures"] == 0 and row["mean_iou"] > 0.8 > rows["center"]["mean_iou"]
    option = "own_method:ColorGrounder.tolerance=0"
    rows = evaluated(tmp_path / "b", "--methods", methods, "--dataset", "own_method:Squares", "--limit", "20", option)
    assert rows["own_method:ColorGrounder"]["mean_iou"] == pytest.approx(1, abs=1e-4)


def test_by_name_with_plugins(tmp_path, capsys):
    rows = evaluated(
        tmp_path, "--plugins", "own_method", "--methods", "color", "--dataset", "squares", "color.tolerance=40"
    )
    assert rows["color"]["mean_iou"] > 0.8
    capsys.readouterr()
    main(["list", "grounders", "--plugins", "own_method"])
    assert "pixels of the color that is named" in capsys.readouterr().out
    main(["list", "datasets", "--plugins", "own_method"])
    assert "two squares; train, val, test" in capsys.readouterr().out


def test_a_picture_is_grounded(tmp_path, capsys):
    pixels = np.full((60, 80, 3), 255, dtype=np.uint8)
    pixels[10:30, 20:50] = (255, 0, 0)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    main(["ground", str(tmp_path / "photo.png"), "the red square", "--method", "own_method:ColorGrounder"])
    assert "20.0 10.0 50.0 30.0" in capsys.readouterr().out


def test_episodes_start_at_its_boxes():
    sys.path.append(str(FOLDER))
    env = gymnasium.make(
        "RefShapes-Ground-v0", dataset="own_method:Squares", split="test", initial_box="own_method:ColorGrounder",
        dataset_options={"images": 4}, fallback=None, clip="refshapes",
    )  # fmt: skip
    _, info = env.reset(seed=0, options={"index": 3})
    sample = registry.open_dataset("own_method:Squares", "test", images=4)[3]
    np.testing.assert_allclose(info["box"], box_ops.normalize(sample.box, (128, 96)), atol=0.01)
