"""Lock for one writer per folder, which the system releases when the process ends in any way."""

from __future__ import annotations

import errno
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from vg_gym.errors import VGGymError
from vg_gym.storage.files import make_folder, writing

LOCK = ".lock"
"""Name of the lock file in the folder. It is removed at the end; the file of a killed process locks nothing."""
UNSUPPORTED_ERRNOS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""Error numbers of a file system without locks, on which runs proceed without one."""


@contextmanager
def writing_alone(folder: Path) -> Iterator[None]:
    """Lock a folder against other uses of this function; the folder is created if missing.

    After an error, folders that this function created are removed if they are empty.

    Raises:
        VGGymError: another process writes to the folder; the message names it.
        CannotWrite: the folder cannot be created or written.
    """
    created = [path for path in (folder, *folder.parents) if not path.exists()]
    path = make_folder(folder) / LOCK
    lock = FileLock(path, timeout=0, fallback_to_soft=False)
    _acquire(lock, path)
    try:
        with writing(path), suppress(PermissionError):  # Windows forbids it while the file is locked
            path.write_text(f"process {os.getpid()} on {platform.node()}")
        yield
        created = []
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)
        lock.release()
        with suppress(OSError):  # a folder with content stays, and so do its parents
            for empty in created:
                empty.rmdir()


def _acquire(lock: FileLock, path: Path) -> None:
    with writing(path):
        try:
            lock.acquire()
        except Timeout as error:
            raise VGGymError(
                f"{path.parent} is being written by {_holder(path)}: wait until it ends, or name another folder"
            ) from error
        except OSError as error:
            if error.errno not in UNSUPPORTED_ERRNOS:
                raise


def _holder(path: Path) -> str:
    """Return the name of the process that holds a lock."""
    with suppress(OSError):
        if name := path.read_text()[:200].strip():
            return name
    return "another process"
