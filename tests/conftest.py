"""Fixtures shared by all rooms: a tiny random CLIP, small data sets, the real data where it is."""

import os
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from hypothesis import settings

from vg_gym.clip.encoder import ClipEncoder
from vg_gym.clip.tokenizer import WordTokenizer
from vg_gym.data.expressions import vocabulary
from vg_gym.data.refshapes import RefShapes
from vg_gym.types import Query

settings.register_profile("busy machine", deadline=None)  # a slow example is no failure
settings.load_profile("busy machine")

TINY = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 64, "patch_size": 16, "width": 32, "layers": 2, "head_width": 16},
    "text_cfg": {"context_length": 16, "vocab_size": len(vocabulary()) + 4, "width": 32, "heads": 2, "layers": 1},
}


@pytest.fixture(autouse=True)
def cache_of_its_own(tmp_path, monkeypatch):
    """No test finds what another, or the user, has computed."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def tiny_clip():
    """A random CLIP of the built-in one's architecture, 4 x 4 tokens of width 16: quick, and deterministic."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = open_clip.model.CLIP(**TINY)
    mean, std = open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD
    open_clip.factory.set_model_preprocess_cfg(model, {"mean": mean, "std": std})
    return ClipEncoder("tiny", model, WordTokenizer(vocabulary(), 16), crop_size=32, dense="tokens", config=TINY)


@pytest.fixture(scope="session")
def shapes():
    """Eight samples of RefShapes."""
    return RefShapes("refshapes", "val", scenes=2)


@pytest.fixture
def blind(shapes):
    """The same, as bare queries."""
    return [Query(s.query.image, s.query.expression, s.query.key) for s in shapes]


def shared(name, variable):
    """A folder of files that are not the project's own, or a skip that says where it was looked for."""
    root = Path(os.environ.get(variable, Path(__file__).parents[2] / "shared" / name))
    if not root.is_dir():
        pytest.skip(f"no {name} at {root}; set {variable}")
    return root


@pytest.fixture(scope="session")
def realdata():
    """Real annotations, images and weights."""
    return shared("realdata", "VG_GYM_REALDATA")


@pytest.fixture(scope="session")
def parity():
    """Numbers made by other people's code."""
    return shared("parity", "VG_GYM_PARITY")


@pytest.fixture
def rng():
    return np.random.default_rng(0)
