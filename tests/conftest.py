"""Fixtures shared by all rooms: a tiny random CLIP, small data sets, the real data where it is."""

import os
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # read on import; tests shall not wait for a hub that is out of reach

import numpy as np
import pytest
import torch
from hypothesis import settings

from tests.hostile import counting
from tests.tiny_clip import make_tiny_clip
from vg_gym.data.worlds.refshapes.dataset import RefShapes
from vg_gym.runtime.devices import usable_cores
from vg_gym.types import Query

settings.register_profile("busy machine", deadline=None)  # a slow example is no failure
settings.load_profile("busy machine")


ROOT = Path(__file__).parents[1]
QUICK = [
    "tests/language", "tests/registry", "tests/storage", "tests/envs/test_actions.py", "tests/envs/test_answers.py",
    "tests/envs/test_rewards.py", "tests/agents/test_budget.py", "tests/agents/test_plan.py", "tests/test_boxes.py",
    "tests/test_config.py", "tests/test_frames.py", "tests/test_style.py", "tests/test_types.py", "vg_gym/language",
    "vg_gym/storage", "vg_gym/boxes.py", "vg_gym/config.py", "vg_gym/types.py",
]  # fmt: skip
"""Files and rooms whose tests are marked ``quick``; ``pytest -m quick`` without paths does not import the others."""


def pytest_collection_modifyitems(items):
    """Mark the quick tests."""
    quick = [ROOT / path for path in QUICK]
    for item in items:
        if not item.get_closest_marker("slow") and any(item.path.is_relative_to(path) for path in quick):
            item.add_marker("quick")


def pytest_configure(config):
    """Count hostile cases, where reports of all workers arrive; workers of pytest-xdist share the cores."""
    if config.option.markexpr == "quick" and config.args_source != pytest.Config.ArgsSource.ARGS:
        config.args = [str(ROOT / path) for path in QUICK]
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(counting)
    if workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 0)):
        torch.set_num_threads(max(1, usable_cores() // workers))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers():
    """One for each core that may be used; each takes a gigabyte or two."""
    return min(usable_cores(), 8)


@pytest.fixture(autouse=True)
def cache_of_its_own(tmp_path, monkeypatch):
    """No test finds what another, or the user, has computed."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def tiny_clip():
    """:func:`tests.tiny_clip.make_tiny_clip`."""
    return make_tiny_clip()


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
