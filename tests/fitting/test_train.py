"""What surrounds the loop."""

import json
import math
from dataclasses import replace

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
        train(lambda _: Broken(), config(tmp_path, resume=True))
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


def contents(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir()}


def test_a_run_owns_its_folder(tmp_path):
    given = config(tmp_path / "run")
    before = contents(train(lambda _: Line(), given))
    message = "holds another run's results .*model.*: `resume=true .*` resumes it; add fresh=true"
    with pytest.raises(VGGymError, match=message):
        train(lambda _: Line(), given)
    assert contents(tmp_path / "run" / "model") == before
    with pytest.raises(VGGymError, match="set only one of them"):
        train(lambda _: Line(), replace(given, resume=True, fresh=True))
    shorter = replace(given, fresh=True, steps=20)
    train(lambda _: Line(), shorter)
    assert load_config(FitConfig, [str(tmp_path / "run" / "config.yaml")]) == replace(shorter, fresh=False)
    assert json.loads((tmp_path / "run" / "model" / "metrics.json").read_text())["step"] == 20
    assert len(list((tmp_path / "run").glob("events.out.tfevents.*"))) == 1


def test_what_is_no_run_is_left_alone(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "thesis.pt").touch()
    with pytest.raises(VGGymError, match="not a run of vg_gym"):
        train(lambda _: Line(), config(tmp_path, fresh=True))
    assert (tmp_path / "model" / "thesis.pt").exists()


def test_a_mistake_leaves_the_results_that_fresh_would_throw_away(tmp_path):
    before = contents(train(lambda _: Line(), config(tmp_path)))

    def mistaken(_):
        raise VGGymError("no such data set")

    with pytest.raises(VGGymError, match="no such data set"):
        train(mistaken, config(tmp_path, fresh=True))
    assert contents(tmp_path / "model") == before


def test_no_stale_weights_are_published(tmp_path):
    """What two mistakes used to do: a moving average of NaN, and a figure that is NaN, in a used folder."""
    before = contents(train(lambda _: Line(), config(tmp_path)))
    with pytest.raises(VGGymError, match="option 'ema' is nan; it must be a finite number at least 0 and below 1"):
        train(lambda _: Line(), config(tmp_path, ema=math.nan, fresh=True))
    assert contents(tmp_path / "model") == before

    class Lost(Line):
        def validate(self, module):
            return {"closeness": math.nan}

    with pytest.raises(VGGymError, match="closeness of validation is nan at step 20"):
        train(lambda _: Lost(), config(tmp_path, fresh=True))
    assert not (tmp_path / "model").exists() and not (tmp_path / "best.safetensors").exists()


@pytest.mark.parametrize(
    "name", ["steps", "batch_size", "learning_rate", "weight_decay", "drop_at", "clip_grad", "workers"]
)
@pytest.mark.parametrize("value", [math.nan, math.inf, -1])
def test_options_out_of_their_range_are_named(tmp_path, name, value):
    with pytest.raises(VGGymError, match=f"option '{name}' is {value}; it must be"):
        train(lambda _: Line(), config(tmp_path, **{name: value}))


def test_two_runs_agree_bit_for_bit(tmp_path):
    a, b = (train(lambda _: Line(), config(tmp_path / name)) for name in "ab")
    assert contents(a)["line.safetensors"] == contents(b)["line.safetensors"]
