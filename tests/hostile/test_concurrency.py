"""Several processes on one folder: each line once, the same bytes, or one line that names who is there."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.hostile.kills import run
from tests.hostile.test_kills import PROGRAMS, make_clip, whole
from vg_gym.cli.evaluate import _parser, command_of
from vg_gym.errors import VGGymError
from vg_gym.evaluation.comparison import Comparison
from vg_gym.evaluation.methods import method_options
from vg_gym.storage.locks import LOCK, writing_alone

HOLD = """
import sys, time
from pathlib import Path
from vg_gym.storage.locks import writing_alone
with writing_alone(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    """A process that writes to the folder ``run``."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / "run")], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


@pytest.mark.parametrize("name", [name for name in PROGRAMS if name not in ("features", "ground")])
def test_a_folder_has_one_writer_and_whoever_comes_second_is_told_who(name, holder, tmp_path):
    make_clip()
    refused = run(PROGRAMS[name].command, tmp_path)
    assert refused.status == 2 and f"run is being written by process {holder.pid} on " in refused.said
    assert [p.name for p in (tmp_path / "run").iterdir()] == [LOCK]


def test_a_lock_goes_with_its_process_however_that_ends(holder, tmp_path):
    with pytest.raises(VGGymError, match=rf"process {holder.pid} on "), writing_alone(tmp_path / "run"):
        pass
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with writing_alone(tmp_path / "run"):
        assert (tmp_path / "run" / LOCK).is_file()
    assert not (tmp_path / "run" / LOCK).exists()


def two(name: str, folder: Path, delay: float) -> list[tuple[int, str]]:
    """Exit statuses of a program that is started twice, and what it said."""
    folder.mkdir(exist_ok=True)
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "XDG_CACHE_HOME": str(folder / "cache")}
    started = []
    for _ in range(2):
        command = [sys.executable, "-m", "vg_gym.cli", *PROGRAMS[name].command]
        started.append(subprocess.Popen(command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT))
        time.sleep(delay)
    said = [process.communicate(timeout=300)[0].decode() for process in started]
    return [(process.returncode, text) for process, text in zip(started, said, strict=True)]


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in PROGRAMS if name != "ground"])
@pytest.mark.parametrize("delay", [0, 0.3, 1.5])
def test_two_at_once_leave_what_one_leaves(name, delay, tmp_path):
    _, promised = whole(name)
    ends = two(name, tmp_path / "twice", delay)
    assert 0 in [status for status, _ in ends], ends
    for status, said in ends:  # the second one is refused, or comes after the first: features are made by both
        assert status == 0 or (status == 2 and ("is being written by" in said or "another run's results" in said)), said
        assert "Traceback" not in said
    assert PROGRAMS[name].results(tmp_path / "twice" / "run") == promised
    shutil.rmtree(tmp_path / "twice")


def test_the_command_of_a_table_is_the_table_that_was_interrupted(tmp_path):
    options = {"action-oracle": {"action": "fine-edges", "max_steps": 8, "coarse": 0.4, "fine": 0.1}}
    table = Comparison(
        ["agent:some where", "action-oracle"], str(tmp_path / "test"), "refshapes", "test", "the data", clip="tiny",
        limit=4, fresh=True, options=options,
    )  # fmt: skip
    import shlex

    program, sub, *words = shlex.split(command_of(table))
    given = _parser().parse_args(words)
    assert (program, sub, given.fresh, given.out) == ("vg-gym", "evaluate", False, table.out)
    assert given.methods.split(",") == table.methods and method_options(given.options) == options
    for name in ("dataset", "split", "root", "train_split", "clip", "limit", "seed", "frame"):
        assert getattr(given, name) == getattr(table, name), name
