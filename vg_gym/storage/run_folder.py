"""Folder of a training run, which holds the results of one run only."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vg_gym.errors import VGGymError
from vg_gym.storage.files import check_writable, recover_folder, writing
from vg_gym.storage.locks import writing_alone
from vg_gym.storage.outputs import holds

CONFIG = "config.yaml"
"""Config file, which every training writes first."""
RESULTS = ("best", "last", "checkpoint.pt", "best.safetensors", "report.json", "model", "trajectories.png", "test")
"""Files and folders that trainings of all kinds write."""
CURVES = "events.out.tfevents.*"
"""Pattern of TensorBoard's files."""


@contextmanager
def claimed(out: Path, resume: bool, fresh: bool, to_resume: str = "resume=true") -> Iterator[None]:
    """Create and lock the folder of a run, which may hold the results of one run only.

    Args:
        out: folder of the run.
        resume: the run resumes from the results in the folder.
        fresh: the run deletes the results in the folder before it starts (:func:`clear`).
        to_resume: what to type to resume the run in the folder, for the error.

    Raises:
        VGGymError: the folder holds results of another run without ``resume`` or ``fresh``, or holds files that no
            training wrote; both options are set; or another process writes to the folder.
        CannotWrite: the folder cannot be created or written.
    """
    with writing_alone(out):
        for name in RESULTS:
            recover_folder(out / name)
        _refuse_results(out, resume, fresh, to_resume)
        check_writable(out)
        yield


def _refuse_results(out: Path, resume: bool, fresh: bool, to_resume: str) -> None:
    """Raise an error if a folder's results are neither this run's nor to be deleted."""
    if resume and fresh:
        raise VGGymError("resume=true resumes a run, fresh=true deletes it: set only one of them")
    results = ", ".join(name for name in RESULTS if (out / name).exists())
    if (out / CONFIG).is_file() and not holds(out / CONFIG, "out", "resume", "fresh"):
        raise VGGymError(f"{out / CONFIG} is not of a training of vg_gym and would be overwritten: set another out=")
    if results and not (resume or fresh):
        raise VGGymError(
            f"{out} holds another run's results ({results}): `{to_resume}` resumes it; add fresh=true to delete it, or "
            "out=FOLDER to keep it"
        )
    if results and fresh and not (out / CONFIG).is_file():
        raise VGGymError(
            f"{out} holds {results} but no {CONFIG}, so it is not a run of vg_gym and fresh=true does not delete it: "
            "set another out="
        )


def clear(out: Path) -> None:
    """Delete the results of a run, and its curves.

    Raises:
        CannotWrite: a file cannot be deleted.
    """
    for path in [*(out / name for name in RESULTS), *out.glob(CURVES)]:
        with writing(path):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
