"""The folder of a training run: whose results are in it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vg_gym.errors import VGGymError
from vg_gym.storage.files import check_writable, writing
from vg_gym.storage.locks import writing_alone
from vg_gym.storage.outputs import holds

CONFIG = "config.yaml"
"""Every training writes it first."""
RESULTS = ("best", "last", "checkpoint.pt", "best.safetensors", "report.json", "model", "trajectories.png", "test")
"""What trainings leave in their folder, of agents and of all else."""
CURVES = "events.out.tfevents.*"
"""What TensorBoard shows."""


@contextmanager
def claimed(out: Path, resume: bool, fresh: bool) -> Iterator[None]:
    """Make the folder of a run, which is to hold one run's results only; while it lasts no other process writes there.

    Args:
        out: the folder.
        resume: the run goes on with the results that are in it.
        fresh: the run throws them away, once it has all it needs (:func:`clear`).

    Raises:
        VGGymError: another run's results are in it, and neither is asked for, or both; or they are of something else;
            or another process is writing them.
        CannotWrite: it cannot be made or written.
    """
    with writing_alone(out):
        _refuse_results(out, resume, fresh)
        check_writable(out)
        yield


def _refuse_results(out: Path, resume: bool, fresh: bool) -> None:
    """Whose results are in a folder, and what is to become of them, must be clear."""
    if resume and fresh:
        raise VGGymError("resume=true goes on with a run, fresh=true throws it away: give one of them")
    there = ", ".join(name for name in RESULTS if (out / name).exists())
    if (out / CONFIG).is_file() and not holds(out / CONFIG, "out", "resume", "fresh"):
        raise VGGymError(f"{out / CONFIG} is not of a training of vg_gym, which would write over it: name another out=")
    if there and not (resume or fresh):
        raise VGGymError(
            f"{out} holds another run's results ({there}): resume=true goes on with it, fresh=true throws it away, "
            "out=FOLDER leaves it alone"
        )
    if there and fresh and not (out / CONFIG).is_file():
        raise VGGymError(
            f"{out} holds {there} and no {CONFIG}, so it is no run of vg_gym, and fresh=true leaves it alone: name "
            "another folder with out="
        )


def clear(out: Path) -> None:
    """Remove the results of a run, and its curves.

    Raises:
        CannotWrite: the system refuses.
    """
    for path in [*(out / name for name in RESULTS), *out.glob(CURVES)]:
        with writing(path):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
