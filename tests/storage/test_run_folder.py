"""A folder holds the results of one run: it is claimed, resumed, or cleared, and files of others are left alone."""

import pytest

from vg_gym.errors import CannotWrite, VGGymError
from vg_gym.storage.locks import LOCK
from vg_gym.storage.run_folder import CONFIG, RESULTS, claimed, clear


def claim(out, resume=False, fresh=False):
    with claimed(out, resume, fresh):
        assert (out / LOCK).is_file()
    return sorted(path.name for path in out.iterdir())


@pytest.fixture
def run(tmp_path):
    """A folder with a checkpoint, the curves of a run, and a file of the user."""
    out = tmp_path / "run"
    (out / "last").mkdir(parents=True)
    (out / "last" / "weights").write_text("old")
    (out / CONFIG).write_text("out: run\nresume: false\nfresh: false\n")
    (out / "events.out.tfevents.1").touch()
    (out / "notes.txt").touch()
    return out


def test_a_new_folder_is_made_with_its_parents(tmp_path):
    assert claim(tmp_path / "deep" / "run") == []
    assert claim(tmp_path / "deep" / "run", resume=True) == []


def test_results_stay_unless_the_user_decides(run):
    before = sorted(path.name for path in run.iterdir())
    with pytest.raises(VGGymError, match=r"run holds another run's results \(last\): `resume=true` resumes it"):
        claim(run)
    with pytest.raises(VGGymError, match="set only one of them"):
        claim(run, resume=True, fresh=True)
    assert claim(run, resume=True) == claim(run, fresh=True) == before


def test_files_of_others_are_not_overwritten(run):
    (run / CONFIG).write_text("model: 3\n")
    for choice in ({}, {"resume": True}, {"fresh": True}):
        with pytest.raises(VGGymError, match=r"config.yaml is not of a training of vg_gym and would be overwritten"):
            claim(run, **choice)
    (run / CONFIG).unlink()
    with pytest.raises(VGGymError, match="holds last but no config.yaml, so it is not a run of vg_gym"):
        claim(run, fresh=True)


def test_one_run_at_a_time(run):
    with claimed(run, resume=True, fresh=False):
        with pytest.raises(VGGymError, match="is being written by process"):
            claim(run, resume=True)


@pytest.mark.parametrize("resume", [True, False])
def test_a_replacement_that_a_crash_interrupted_is_finished(run, resume):
    (run / "last").rename(run / ".last.old")  # the first of the two renames
    with pytest.raises(VGGymError, match="set only one of them"):
        claim(run, resume=True, fresh=True)
    assert (run / "last" / "weights").read_text() == "old" and not (run / ".last.old").exists()
    assert "last" in claim(run, resume=resume, fresh=not resume)


def test_clear_deletes_results_and_curves_only(run):
    for name in RESULTS:
        (run / name).exists() or (run / name).touch()
    clear(run)
    assert sorted(path.name for path in run.iterdir()) == [CONFIG, "notes.txt"]
    clear(run)


def test_clear_removes_a_link_and_not_what_it_points_to(run, tmp_path):
    (run / "last").rename(tmp_path / "elsewhere")
    (run / "last").symlink_to(tmp_path / "elsewhere")
    clear(run)
    assert not (run / "last").exists() and (tmp_path / "elsewhere" / "weights").exists()


def test_a_file_in_place_of_the_folder_is_an_error(tmp_path):
    (tmp_path / "run").touch()
    with pytest.raises(CannotWrite, match="cannot write .*run: .*; name another place"):
        claim(tmp_path / "run")
