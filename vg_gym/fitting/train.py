"""What every training command does around the loop: the config before it, the finished model after it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

from vg_gym.config import check_ranges, save_config
from vg_gym.fitting.config import FitConfig
from vg_gym.fitting.learner import Learner
from vg_gym.fitting.loop import fit
from vg_gym.fitting.origin import check_origin, write_origin
from vg_gym.fitting.processes import processes, use_threads
from vg_gym.fitting.resuming import check_options
from vg_gym.interrupts import interrupted_with, uninterrupted
from vg_gym.storage.files import replacing_folder
from vg_gym.storage.run_folder import CONFIG, claimed, clear

Config = TypeVar("Config", bound=FitConfig)


def train(make_learner: Callable[[Config], Learner], config: Config) -> Path:
    """Train what a config describes and write it to ``OUT/model``; returns that folder.

    Beside the model, ``metrics.json`` holds the figures of its validation. Two runs with the same config, the number of
    ``threads`` named, give the same weights on one machine, as ``steps`` measure everything; so does one that was
    interrupted and resumed.

    Args:
        make_learner: of the config.
        config: options; it is kept as ``OUT/config.yaml``.

    Raises:
        VGGymError: an option is out of its range, ``out`` holds another run's results (``resume`` or ``fresh`` say what
            is to become of them) or cannot be written; a run that goes on would have other options than it may, or
            other data; or as for :func:`vg_gym.fitting.loop.fit`.
    """
    check_ranges(config)
    use_threads(config)
    out = config.folder()
    first = processes(config).is_main_process
    with claimed(out, config.resume, config.fresh) if first else nullcontext():
        for line in check_options(config) if config.resume and first else ():
            tqdm.write(line)
        return _train(make_learner, config, out, first)


def _train(make_learner: Callable[[Config], Learner], config: Config, out: Path, first: bool) -> Path:
    with interrupted_with("interrupted before the first step; what was computed is kept: the same command goes on"):
        learner = make_learner(config)
    if first:
        if config.resume:
            check_origin(out, learner.made_of)
        if config.fresh:
            clear(out)
        save_config(replace(config, resume=False, fresh=False), out / CONFIG)
        write_origin(out, learner.made_of)
    module = fit(learner, config)
    if first:
        with uninterrupted(), replacing_folder(out / "model") as part:
            learner.save(module, part)
            shutil.copyfile(out / "report.json", part / "metrics.json")
    return out / "model"
