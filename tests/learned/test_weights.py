"""Networks on disk: half precision, a fingerprint, strict loading."""

import pytest
import torch

from tests.learned.tiny import TINY
from vg_gym.errors import VGGymError
from vg_gym.learned.grounder import LearnedGrounder
from vg_gym.learned.model import build
from vg_gym.learned.weights import find_model, load_model, load_strictly, save_model


def test_saved_and_loaded_in_half_precision(tmp_path):
    model = build("transvg", TINY)
    save_model("transvg", model, tmp_path / "model")
    name, again = load_model(tmp_path / "model")
    assert name == "transvg" and not again.training
    for key, value in model.state_dict().items():
        torch.testing.assert_close(again.state_dict()[key], value.half().to(value.dtype), rtol=0, atol=0)
    a, b = (LearnedGrounder("x", m).fingerprint for m in (again, load_model(tmp_path / "model")[1]))
    assert a == b != LearnedGrounder("x", model).fingerprint


def test_a_folder_of_another_network(tmp_path):
    save_model("transvg", build("transvg", TINY), tmp_path / "model")
    with pytest.raises(VGGymError, match="is a transvg, not a mdetr; use the grounder 'transvg'"):
        find_model("mdetr", str(tmp_path / "model"))
    assert find_model("mdetr", str(tmp_path / "nowhere")) is None
    with pytest.raises(VGGymError, match="needs config.json and model.safetensors"):
        load_model(tmp_path)


def test_a_mismatch_is_explained_by_key():
    model = torch.nn.Linear(2, 3)
    state = {"weight": torch.zeros(3, 4), "extra": torch.zeros(1)}
    with pytest.raises(VGGymError, match=r"1 missing \(bias\); 1 unexpected \(extra\); 1 of another shape \(weight is"):
        load_strictly(model, state, "file")
