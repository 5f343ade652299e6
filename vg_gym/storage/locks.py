"""Lock for one writer per folder, which the system releases when the process ends in any way."""

from __future__ import annotations

import errno
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from vg_gym.errors import VGGymError
from vg_gym.storage.files import make_folder, writing

try:
    import fcntl
except ImportError:  # Windows: users must keep two runs apart themselves
    fcntl = None  # type: ignore[assignment]

LOCK = ".lock"
"""Name of the lock file in the folder. It is removed at the end; the file of a killed process locks nothing."""
LOCKED_ERRNOS = (errno.EACCES, errno.EAGAIN)
"""Error numbers for a lock that another process holds."""
UNSUPPORTED_ERRNOS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""Error numbers of a file system without locks, on which runs proceed without one."""


@contextmanager
def writing_alone(folder: Path) -> Iterator[None]:
    """Lock a folder against other processes that use this function; the folder is created if missing.

    The lock belongs to the process: its child processes do not hold it, and it does not separate two runs in one
    process.

    Raises:
        VGGymError: another process writes to the folder; the message names it.
        CannotWrite: the folder cannot be created or written.
    """
    make_folder(folder)
    path = folder / LOCK
    if fcntl is None:
        yield
        return
    file = _locked(path)
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)
        file.close()


def _locked(path: Path) -> IO[str]:
    """Open and lock the file at a path; retry if its holder removes it in the meantime."""
    while True:
        with writing(path):
            file = path.open("a+")
        try:
            _lock(file, path)
            if _is_at(file, path):
                return file
        except BaseException:
            file.close()
            raise
        file.close()


def _lock(file: IO[str], path: Path) -> None:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in LOCKED_ERRNOS:
            file.seek(0)
            holder = file.read(200).strip() or "another process"
            raise VGGymError(
                f"{path.parent} is being written by {holder}: wait until it ends, or name another folder"
            ) from error
        if error.errno not in UNSUPPORTED_ERRNOS:
            raise
    with writing(path):
        file.truncate(0)
        file.write(f"process {os.getpid()} on {platform.node()}")
        file.flush()


def _is_at(file: IO[str], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
