"""The faces behind a server have the rewards of the environment in numbers."""

import os
from pathlib import Path

import pytest

from experiments import text_episodes

ROOT = Path(__file__).parents[2]


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Both packages under the names by which they are installed."""
    (tmp_path / "vg_gym_openenv").symlink_to(ROOT / "integrations/openenv")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.syspath_prepend(str(ROOT / "integrations/verifiers"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.setenv("VG_GYM_OPTIONS", os.environ.get("VG_GYM_OPTIONS", "{}"))  # the face changes it


@pytest.mark.parametrize(("face", "package"), [("OpenEnv", "openenv.core"), ("verifiers", "verifiers.v1")])
def test_a_served_face_has_the_rewards_of_numbers(face, package, installed):
    pytest.importorskip(package)
    rows = text_episodes.compare(2, "refshapes-label-free", "iou", (face,))
    assert [row.face for row in rows] == [face] * 3
    for row in rows:
        assert row.same_ends and row.difference <= text_episodes.TOLERANCE and row.steps > 2, row
