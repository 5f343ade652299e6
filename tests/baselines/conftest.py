import json

import pytest
from safetensors.numpy import load_file

from vg_gym.clip.finetuning.model import save_model


@pytest.fixture
def tiny(tiny_clip, tmp_path):
    """The name of a saved tiny CLIP."""
    save_model(tiny_clip, tmp_path / "clip")
    return str(tmp_path / "clip")


@pytest.fixture(scope="session")
def reclip(parity):
    """ReCLIP's own cases and numbers: settings by case, tensors by name."""
    folder = parity / "reclip"
    return json.loads((folder / "meta.json").read_text())["cases"], load_file(folder / "isolation_ranking.safetensors")
