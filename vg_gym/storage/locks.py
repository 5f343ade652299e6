"""One writer of a folder at a time: a lock that goes with its process, however that ends."""

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
except ImportError:  # Windows: there two runs are the user's to keep apart
    fcntl = None  # type: ignore[assignment]

LOCK = ".lock"
"""Name of the file, in the folder; it is removed at the end. One that a killed process left locks nothing."""
HELD = (errno.EACCES, errno.EAGAIN)
"""Numbers of the errors of a lock that another process has."""
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""Of a file system that has none: the run goes on without."""


@contextmanager
def writing_alone(folder: Path) -> Iterator[None]:
    """Keep other processes that ask for the same out of a folder, which is made where there is none.

    The lock is the process's own: those that it starts do not have it, and two runs in one process are not kept apart.

    Raises:
        VGGymError: another process writes there; the message names it.
        CannotWrite: the folder cannot be made or written.
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
    """The file, opened and locked; it is still the one of this name, and not one that its holder has just removed."""
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
        if error.errno in HELD:
            file.seek(0)
            holder = file.read(200).strip() or "another process"
            raise VGGymError(
                f"{path.parent} is being written by {holder}: wait until it ends, or name another folder"
            ) from error
        if error.errno not in NO_LOCKS:
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
