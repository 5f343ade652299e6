"""Training from a config to the finished model, shared by all training commands."""

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
from vg_gym.fitting.resuming import check_options, command_to_resume
from vg_gym.runtime.interrupts import interrupted_with, uninterrupted
from vg_gym.storage.files import replacing_folder
from vg_gym.storage.run_folder import CONFIG, claimed, clear

Config = TypeVar("Config", bound=FitConfig)


def train(make_learner: Callable[[Config], Learner], config: Config) -> Path:
    """Train the model of a config, write it to ``OUT/model``, and return that folder.

    ``metrics.json`` beside the model holds its validation metrics. Two runs with the same config and a fixed number of
    ``threads`` give the same weights on one machine, and so does a run that was interrupted and resumed.

    Args:
        make_learner: function from the config to the learner.
        config: options, which are saved as ``OUT/config.yaml``.

    Raises:
        VGGymError: an option is out of its range; ``out`` cannot be written, or holds another run's results without
            ``resume`` or ``fresh``; a resumed run has changed options or data; or see
            :func:`vg_gym.fitting.loop.fit`.
    """
    check_ranges(config)
    use_threads(config)
    out = config.folder()
    first = processes(config).is_main_process
    with claimed(out, config.resume, config.fresh, command_to_resume(config)) if first else nullcontext():
        for line in check_options(config) if config.resume and first else ():
            tqdm.write(line)
        return _train(make_learner, config, out, first)


def _train(make_learner: Callable[[Config], Learner], config: Config, out: Path, first: bool) -> Path:
    with interrupted_with("interrupted before the first step; what was computed is kept: the same command resumes"):
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
