"""The files of drawn scenes, while several processes write them and some are killed."""

import os
import signal
import subprocess
import sys
from functools import cache

import numpy as np
import pytest

from vg_gym.data.worlds.refscenes import chunks
from vg_gym.data.worlds.refscenes.samples import RefScenes

SCENES = 16
READS = f"""
from vg_gym.data.worlds.refscenes.samples import RefScenes
data = RefScenes("val", {SCENES}, image_size=128)
print([(s.query.expression, s.boxes.tolist(), int(s.query.image.array().sum())) for s in data])
"""
KILLED_BEFORE_THE_NAME = """
import os, pathlib, signal
pathlib.Path.replace = lambda self, target: os.kill(os.getpid(), signal.SIGKILL)
"""
KILLED_HALF_WAY = """
import os, pathlib, signal
opened = pathlib.Path.open
def killed(self, mode="r", **how):
    file = opened(self, mode, **how)
    if mode == "wb" and ".scenes" in self.name:
        file.write(bytes(3))
        file.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    return file
pathlib.Path.open = killed
"""


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache of the writers"


@pytest.fixture
def environment(folder):
    return {**os.environ, "XDG_CACHE_HOME": str(folder)}


def started(program, environment):
    return subprocess.Popen([sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, text=True)


@cache
def expected():
    data = RefScenes("val", SCENES, image_size=128)
    return str([(s.query.expression, s.boxes.tolist(), int(s.query.image.array().sum())) for s in data])


def files(folder):
    return sorted(path.name for path in folder.rglob("*.scenes"))


def test_several_processes_write_the_same_scenes(folder, environment):
    writers = [started(READS, environment) for _ in range(3)]
    texts = [writer.communicate(timeout=300)[0].strip() for writer in writers]
    assert texts == [expected()] * 3
    assert files(folder) == ["0000000.scenes", "0000001.scenes"]
    assert not list(folder.rglob("*.part"))


@pytest.mark.parametrize("death", [KILLED_BEFORE_THE_NAME, KILLED_HALF_WAY])
def test_a_killed_writer_leaves_nothing_that_is_read(folder, environment, death):
    writer = started(death + READS, environment)
    assert writer.communicate(timeout=300)[0] == "" and writer.returncode == -signal.SIGKILL
    assert list(folder.rglob("*.scenes*")) and not files(folder)
    again = started(READS, environment)
    assert again.communicate(timeout=300)[0].strip() == expected()
    assert files(folder) == ["0000000.scenes", "0000001.scenes"]


def test_a_file_that_vanishes_while_it_is_read_is_drawn_again(tmp_path, monkeypatch):
    monkeypatch.setattr(chunks, "cache_place", lambda *names: tmp_path)
    chunks._chunk.cache_clear()
    chunks._drawn.cache_clear()
    sample = RefScenes("val", 1)[0]
    pixels = sample.query.image.array()
    chunks._drawn.cache_clear()
    for path in tmp_path.glob("*.scenes"):
        path.unlink()
    assert np.array_equal(sample.query.image.array(), pixels) and files(tmp_path)
    chunks._chunk.cache_clear()
