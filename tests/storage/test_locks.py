"""One writer per folder; tests/hostile/test_concurrency.py has those of several processes."""

import errno
import os
import signal
import time

import pytest
from filelock import FileLock

from vg_gym.errors import CannotWrite, VGGymError
from vg_gym.storage.locks import LOCK, writing_alone


def test_a_second_writer_in_one_process_is_refused(tmp_path):
    with writing_alone(tmp_path / "run"):
        assert (tmp_path / "run" / LOCK).read_text().startswith(f"process {os.getpid()} on ")
        with pytest.raises(VGGymError, match=rf"run is being written by process {os.getpid()} on "):
            with writing_alone(tmp_path / "run"):
                pass
        assert (tmp_path / "run" / LOCK).exists(), "the refused one leaves the lock alone"
    assert not (tmp_path / "run" / LOCK).exists()
    with writing_alone(tmp_path / "run"):
        pass


def test_an_error_releases_the_lock(tmp_path):
    with pytest.raises(ZeroDivisionError), writing_alone(tmp_path):
        raise ZeroDivisionError
    with writing_alone(tmp_path):
        pass


def test_the_file_of_a_dead_process_locks_nothing(tmp_path):
    (tmp_path / LOCK).write_text("process 1 on elsewhere, which ended long ago")
    with writing_alone(tmp_path):
        assert (tmp_path / LOCK).read_text().startswith(f"process {os.getpid()} on ")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_does_not_hold_the_lock(tmp_path):
    with writing_alone(tmp_path):
        child = os.fork()
        if not child:  # pragma: no cover
            time.sleep(60)
            os._exit(0)
    try:
        with writing_alone(tmp_path):
            pass
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def failing(number):
    def acquire(self):
        raise OSError(number, os.strerror(number))

    return acquire


def test_a_file_system_without_locks_is_used_without_one(tmp_path, monkeypatch):
    monkeypatch.setattr(FileLock, "acquire", failing(errno.ENOLCK))
    with writing_alone(tmp_path):
        assert (tmp_path / LOCK).exists()
    monkeypatch.setattr(FileLock, "acquire", failing(errno.EACCES))
    with pytest.raises(CannotWrite, match=r"cannot write .*\.lock: Permission denied; name another place"):
        with writing_alone(tmp_path):
            pass
