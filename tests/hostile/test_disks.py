"""Disks that are full or read-only, no home, no cache: one line says what could not be written; nothing is half."""

import errno

import numpy as np
import pytest

from tests.hostile.kills import Trouble, resumed, run
from tests.hostile.test_kills import PROGRAMS, make_clip, whole

ALMOST_FULL = [float(share) for share in np.random.default_rng(2).random(5)]
"""Shares of a run's changes of files after which the disk is full."""
NO_CACHE = {"read-only cache": Trouble(0, errno.EROFS, "cache"), "full cache": Trouble(0, errno.ENOSPC, "cache"),
            "no home": Trouble(homeless=True)}  # fmt: skip


def refused(done, status=2):
    """It ended with one line that says what could not be written and where."""
    last = done.said.replace("\r", "\n").strip().splitlines()[-1]
    assert done.status == status and "Traceback" not in done.said, done.said
    assert last.startswith("vg-gym: error: cannot write ") and "; " in last, last


@pytest.mark.parametrize("error", [errno.EROFS, errno.EACCES, errno.ENOSPC], ids=["read-only", "another's", "full"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_folder_of_results_that_takes_no_files(name, error, tmp_path):
    make_clip()
    refused(run(PROGRAMS[name].command, tmp_path / "here", trouble=Trouble(0, error, "run")))


@pytest.mark.slow
@pytest.mark.parametrize("share", ALMOST_FULL, ids=lambda share: f"{share:.3f}")
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_disk_that_fills_up_on_the_way(name, share, tmp_path):
    program, (unkilled, promised) = PROGRAMS[name], whole(name)
    done = run(program.command, tmp_path / "here", trouble=Trouble(int(share * unkilled.changes), errno.ENOSPC))
    if done.status:  # what is full from here on may have been the cache alone
        refused(done)
        assert resumed(program, tmp_path / "here").status == 0
    found = program.results(tmp_path / "here" / "run")
    assert found.keys() == promised.keys()
    if program.exact:
        assert [name for name in found if found[name] != promised[name]] == []


@pytest.mark.slow
@pytest.mark.parametrize("trouble", NO_CACHE)
@pytest.mark.parametrize("name", PROGRAMS)
def test_without_a_cache_all_runs_to_the_same_results(name, trouble, tmp_path):
    program, (_, promised) = PROGRAMS[name], whole(name)
    done = run(program.command, tmp_path / "here", trouble=NO_CACHE[trouble])
    assert done.status == 0 and "Traceback" not in done.said, done.said
    found = program.results(tmp_path / "here" / "run")
    assert [name for name in promised if found[name] != promised[name]] == []
