"""What every training command does around the loop: the config before it, the finished model after it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from vg_gym.config import save_config
from vg_gym.fitting.config import FitConfig
from vg_gym.fitting.learner import Learner
from vg_gym.fitting.loop import fit
from vg_gym.fitting.processes import processes, use_threads
from vg_gym.storage.files import replacing_folder

Config = TypeVar("Config", bound=FitConfig)


def train(make_learner: Callable[[Config], Learner], config: Config) -> Path:
    """Train what a config describes and write it to ``OUT/model``; returns that folder.

    Beside the model, ``metrics.json`` holds the figures of its validation.

    Args:
        make_learner: of the config.
        config: options; it is kept as ``OUT/config.yaml``.
    """
    use_threads(config)
    out = Path(config.out)
    out.mkdir(parents=True, exist_ok=True)
    first = processes(config).is_main_process
    if first:
        save_config(config, out / "config.yaml")
    learner = make_learner(config)
    module = fit(learner, config)
    if first:
        with replacing_folder(out / "model") as part:
            learner.save(module, part)
            shutil.copyfile(out / "report.json", part / "metrics.json")
    return out / "model"
