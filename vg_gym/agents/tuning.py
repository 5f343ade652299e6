"""Search for the hyperparameters of an agent with Optuna, as RL Baselines3 Zoo does.

A trial trains an agent with sampled options in ``OUT/trial-0000``; its value is the highest mean return on the
validation split. Trials that are worse than the median of earlier ones at the same evaluation are pruned. The study is
a file, ``OUT/study.log``, so that a search can resume, and several processes can share one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vg_gym.agents.agent_trainer import AgentTrainer
from vg_gym.agents.callbacks import Evaluation
from vg_gym.agents.config import TrainConfig
from vg_gym.config import save_config
from vg_gym.errors import Interrupted, VGGymError, importing
from vg_gym.storage.files import make_folder
from vg_gym.storage.locks import writing_alone

with importing("vg-gym tune", "optuna", "tune"):
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

STUDY = "study.log"
"""Name of the file of the study."""
BEST = "best.yaml"
"""Name of the file with the options of the best trial."""
STARTUP_TRIALS = 5
"""Number of first trials that are sampled at random and never pruned."""
Sampler = Callable[[Any, str], Any]
"""Function from a trial of Optuna and the name of an option to its value."""


def _between(low: float, high: float) -> Sampler:
    """Return the sampler of a number on a logarithmic scale."""
    return lambda trial, name: trial.suggest_float(name, low, high, log=True)


def _one_of(*values: Any) -> Sampler:
    """Return the sampler of one of some values."""
    return lambda trial, name: trial.suggest_categorical(name, values)


SPACES: dict[str, dict[str, Sampler]] = {
    "ppo": {
        "learning_rate": _between(1e-5, 3e-3),
        "n_steps": _one_of(8, 16, 32, 64),
        "batch_size": _one_of(128, 256, 512, 1024),
        "n_epochs": _one_of(1, 2, 4, 8),
        "gamma": _one_of(0.9, 0.95, 0.97, 0.99, 0.995),
        "gae_lambda": _one_of(0.8, 0.9, 0.95, 0.99),
        "ent_coef": _between(1e-5, 0.1),
        "clip_range": _one_of(0.1, 0.2, 0.3),
        "width": _one_of(96, 192, 384),
    },
    "dqn": {
        "learning_rate": _between(1e-5, 3e-3),
        "batch_size": _one_of(64, 128, 256, 512),
        "gamma": _one_of(0.9, 0.95, 0.97, 0.99, 0.995),
        "buffer_size": _one_of(20_000, 50_000, 200_000),
        "width": _one_of(96, 192, 384),
    },
}
"""Algorithm -> option -> its sampler."""


@dataclass(frozen=True)
class Search:
    """Search for the options of an agent.

    Raises:
        VGGymError: Optuna is not installed, or no option is left to sample.
    """

    config: TrainConfig
    """Options of all trials; a trial replaces those that it samples."""
    out: Path
    """Folder of the study and of its trials."""
    fixed: frozenset[str] = frozenset()
    """Options that are not sampled."""

    def run(self, trials: int) -> Any:
        """Run trials until the study has a number of finished ones, and return the study.

        Args:
            trials: number of finished trials, including those of earlier runs.

        Raises:
            Interrupted: Ctrl-C or SIGTERM; the same command resumes the search.
        """
        study = self.study()
        while sum(trial.state.is_finished() and _counts(trial) for trial in study.trials) < trials:
            study.optimize(self._trial, n_trials=1)
        if best := [trial for trial in study.trials if trial.state == optuna.trial.TrialState.COMPLETE]:
            save_config(self.options(max(best, key=lambda trial: trial.value)), self.out / BEST)
        return study

    def study(self) -> Any:
        """Return the study in the folder, with trials that a killed process left put in the queue again."""
        storage = JournalStorage(JournalFileBackend(str(make_folder(self.out) / STUDY)))
        study = optuna.create_study(
            storage=storage,
            study_name="agent",
            load_if_exists=True,
            direction="maximize",
            sampler=optuna.samplers.TPESampler(seed=self.config.seed, n_startup_trials=STARTUP_TRIALS),
            pruner=optuna.pruners.MedianPruner(n_startup_trials=STARTUP_TRIALS),
        )
        for trial in study.get_trials(states=[optuna.trial.TrialState.RUNNING]):
            if not _is_locked(self._folder(trial.number)):
                study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
                study.enqueue_trial(trial.params)
        return study

    def options(self, trial: Any) -> TrainConfig:
        """Return the options of a trial that has been sampled."""
        return replace(self.config, **trial.params, out="", fresh=False)

    def _folder(self, number: int) -> Path:
        return self.out / f"trial-{number:04}"

    def _trial(self, trial: Any) -> float:
        """Sample options, train with them, and return the highest mean return on the validation split."""
        space = {name: sampler for name, sampler in SPACES[self.config.algo].items() if name not in self.fixed}
        if not space:
            raise VGGymError(f"all of {', '.join(SPACES[self.config.algo])} are given, so nothing is left to tune")
        for name, sampler in space.items():
            sampler(trial, name)
        folder = self._folder(trial.number)
        try:
            trainer = _Training(replace(self.options(trial), out=str(folder), fresh=folder.exists()), trial)
            trainer.run()
        except (KeyboardInterrupt, Interrupted):
            trial.study.enqueue_trial(trial.params)  # the next run of the search begins with it
            raise
        return trainer.best


class _Training(AgentTrainer):
    """Training of a trial, which reports each evaluation and ends if the trial is pruned."""

    def __init__(self, config: TrainConfig, trial: Any):
        self._trial, self._number, self.best = trial, 0, float("-inf")
        super().__init__(config)

    def _evaluation(self) -> Evaluation:
        evaluation = super()._evaluation()
        run = evaluation.run

        def reported() -> dict[str, float]:
            means = run()
            self.best = max(self.best, means["return"])
            self._trial.report(means["return"], self._number)
            self._number += 1
            if self._trial.should_prune():
                raise optuna.TrialPruned
            return means

        evaluation.run = reported  # type: ignore[method-assign]
        return evaluation


def _counts(trial: Any) -> bool:
    """Return whether a finished trial counts: it was not cut off."""
    return bool(trial.state != optuna.trial.TrialState.FAIL)


def _is_locked(folder: Path) -> bool:
    """Return whether another process trains in a folder."""
    if not folder.exists():
        return False
    try:
        with writing_alone(folder):
            return False
    except VGGymError:
        return True
