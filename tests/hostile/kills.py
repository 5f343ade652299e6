"""``kill -9`` of the long programs, at moments drawn from a seed, and what a user does next.

A moment is a share of the run's time, or the n-th time that it is about to open, rename or remove a file for writing:
there a run is most easily hurt, and the same on every machine. Programs are forked from a process that has imported all
they need, so that a run takes seconds.
"""

from __future__ import annotations

import errno
import multiprocessing
import os
import pwd
import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.symlink", "shutil.rmtree")
"""Audit events of what changes files, beside ``open``."""
ORPHANS_END = 20
"""Seconds within which the children of a killed program have ended too."""
MINUTES = 5
"""Within which a tiny run has ended, on a busy machine."""


@dataclass(frozen=True)
class Program:
    """A program, with options that let it end in seconds."""

    command: tuple[str, ...]
    """What is typed; results are in ``run``."""
    results: Callable[[Path], dict[str, object]]
    """The folder of results -> the bytes or numbers that are promised, by name."""
    resume: tuple[str, ...] = ()
    """What is added to go on."""
    again: tuple[str, ...] = ()
    """What is added where there was nothing to go on from."""
    exact: bool = True
    """A resumed run has the numbers of one that was not killed; else it depends on what was on disk alone."""


@dataclass(frozen=True)
class Moment:
    """When a program is killed: at a share of its time, or of its changes of files."""

    clock: bool
    share: float

    def __str__(self):
        return f"{self.share:.3f} of its {'time' if self.clock else 'files'}"


@dataclass
class Run:
    """A program that ran, or was killed."""

    status: int
    said: str
    seconds: float
    changes: int = 0
    """Of files, if it ended by itself."""
    orphans: list[int] = field(default_factory=list)
    """Children that outlived it."""


@dataclass(frozen=True)
class Trouble:
    """What becomes of a program, from its n-th change of files on."""

    change: int = 0
    """n, from 0."""
    error: int = 0
    """What the system refuses each change with; 0: the program is killed."""
    place: str = ""
    """Below the folder: only there."""
    homeless: bool = False
    """The user has no home, and names no folder for the cache."""


def moments(program: str, count: int, seed: int = 0) -> list[Moment]:
    """Random moments of a program, by the clock and by files in turn."""
    rng = np.random.default_rng([seed, *program.encode()])
    return [Moment(i % 2 == 1, float(share)) for i, share in enumerate(rng.random(count))]


def run(arguments: tuple[str, ...], folder: Path, seconds: float | None = None, trouble: Trouble | None = None) -> Run:
    """Run ``vg-gym`` in a folder, which also holds its cache; kill it after a time, or give it trouble."""
    folder.mkdir(parents=True, exist_ok=True)
    said, count = folder / "said.txt", folder / "changes.txt"
    begin = time.monotonic()
    process = _server().Process(target=_command, args=(arguments, str(folder), trouble))
    process.start()
    process.join(60 * MINUTES if seconds is None else seconds)
    if process.is_alive():
        process.kill()
        assert seconds is not None, f"{arguments} hangs: {said.read_text()}"
    process.join()
    took = time.monotonic() - begin
    assert process.pid is not None and process.exitcode is not None
    orphans = _orphans(process.pid) if process.exitcode == -signal.SIGKILL else []
    changes = int(count.read_text()) if count.is_file() else 0
    return Run(process.exitcode, said.read_text() if said.is_file() else "", took, changes, orphans)


def kill_and_resume(program: Program, whole: Run, moment: Moment, folder: Path) -> tuple[Run, Run]:
    """Kill a program at a moment, then go on as its messages say; the killed run, and the one that ended."""
    shutil.rmtree(folder, ignore_errors=True)
    if moment.clock:
        killed = run(program.command, folder, seconds=moment.share * whole.seconds)
    else:
        killed = run(program.command, folder, trouble=Trouble(int(moment.share * whole.changes)))
    if not program.exact:
        shutil.copytree(folder, twin(folder), symlinks=True, dirs_exist_ok=True)
    return killed, resumed(program, folder)


def twin(folder: Path) -> Path:
    """Where a copy of a killed run is, for a program whose resumed runs are to agree with each other."""
    return folder.with_name(f"{folder.name}-twin")


def resumed(program: Program, folder: Path) -> Run:
    """Go on with a killed program; where it says that there is nothing to go on from, start again."""
    going = run((*program.command, *program.resume), folder)
    if program.again and going.status == 2 and "nothing to resume" in going.said:
        return run((*program.command, *program.again), folder)
    return going


def _command(arguments: tuple[str, ...], folder: str, trouble: Trouble | None) -> None:
    """In the forked process: what ``vg-gym`` does, in a session of its own."""
    os.setsid()
    multiprocessing.set_start_method("fork", force=True)  # as in a process that was not forked by a server
    os.chdir(folder)
    os.environ["XDG_CACHE_HOME"] = f"{folder}/cache"
    said = os.open(f"{folder}/said.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(said, stream)
    if trouble and trouble.homeless:
        _lose_home()
    seen = _meet(trouble, folder)
    from vg_gym.cli.entry import main

    main(arguments)
    if trouble is None:
        Path(f"{folder}/changes.txt").write_text(str(len(seen)))


def _lose_home() -> None:
    def nobody(_: int) -> None:
        raise KeyError("no such user")

    pwd.getpwuid = nobody  # type: ignore[assignment]
    for name in ("HOME", "XDG_CACHE_HOME"):
        os.environ.pop(name, None)


def _meet(trouble: Trouble | None, folder: str) -> list[str]:
    """Have the trouble come as this process is about to change a file of the folder for the n-th time; the changes."""
    seen: list[str] = []
    me, place = os.getpid(), os.path.join(folder, trouble.place if trouble else "")

    def hear(event: str, about: tuple) -> None:
        writes = event == "open" and isinstance(about[2], int) and about[2] & (os.O_WRONLY | os.O_RDWR)
        if not (writes or event in CHANGES) or os.getpid() != me or not isinstance(about[0], (str, Path)):
            return
        if os.path.abspath(about[0]).startswith(place):
            seen.append(event)
            if trouble and not trouble.homeless and len(seen) > trouble.change:
                if not trouble.error:
                    os.kill(me, signal.SIGKILL)
                if trouble.error != errno.ENOSPC or event in ("open", "os.mkdir"):
                    raise OSError(trouble.error, os.strerror(trouble.error), str(about[0]))

    sys.addaudithook(hear)
    return seen


def _orphans(session: int) -> list[int]:
    """Processes of a session that are still there after a while."""
    end = time.monotonic() + ORPHANS_END
    while (alive := _of_session(session)) and time.monotonic() < end:
        time.sleep(0.2)
    return alive


def _of_session(session: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, its = stat.read_text().rpartition(")")[2].split()[:4]
        except OSError:  # it ended just now
            continue
        if int(its) == session and state != "Z":
            found.append(int(stat.parent.name))
    return found


def _server():
    """Forks processes from one that has imported everything."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.hostile.preloaded"])
    return context
