"""A search trains trials, keeps its study in a file, and resumes."""

import json

import pytest

from vg_gym.cli.entry import main
from vg_gym.config import read_yaml
from vg_gym.errors import VGGymError

optuna = pytest.importorskip("optuna", reason='pip install "vg_gym[tune]"')

OPTIONS = (
    "dataset_options.scenes=4", "total_timesteps=32", "num_envs=4", "n_steps=4", "clone.steps=1", "proposals=",
    "action=edges", "score=context", "batch_size=8", "eval_samples=4", "test_samples=0", "threads=1", "width=16",
)  # fmt: skip


def search(folder, trials, *options):
    """Run the command."""
    main(["tune", "agent", "--out", str(folder), "--trials", str(trials), *OPTIONS, *options])


def test_a_search_of_two_trials_ends_with_the_best_options_and_resumes(tmp_path, capsys):
    search(tmp_path / "search", 2)
    output = capsys.readouterr().out
    assert "2 of 2 trials complete" in output
    assert f"vg-gym train agent {tmp_path / 'search' / 'best.yaml'}" in output
    best = read_yaml(tmp_path / "search" / "best.yaml")
    assert best["width"] == 16 and best["n_steps"] == 4, "typed options are not sampled"
    assert best["learning_rate"] != 7e-4 and best["out"] == ""
    assert (tmp_path / "search" / "trial-0001" / "best" / "agent.json").is_file()
    search(tmp_path / "search", 3)
    assert "3 of 3 trials complete" in capsys.readouterr().out
    assert len({path.name for path in (tmp_path / "search").glob("trial-*")}) == 3


def test_a_trial_that_was_cut_off_is_run_again_with_the_same_options(tmp_path):
    from vg_gym.agents.config import TrainConfig
    from vg_gym.agents.tuning import Search

    begun = Search(TrainConfig(), tmp_path)
    trial = begun.study().ask({"gamma": optuna.distributions.CategoricalDistribution([0.9, 0.95])})
    again = begun.study()
    assert again.trials[trial.number].state == optuna.trial.TrialState.FAIL
    waiting = again.get_trials(states=[optuna.trial.TrialState.WAITING])
    assert [each.system_attrs["fixed_params"] for each in waiting] == [trial.params]
    assert all(json.loads(line) for line in (tmp_path / "study.log").read_text().splitlines())


def test_nothing_to_sample_and_no_trials_are_errors(tmp_path, capsys):
    from vg_gym.agents.config import TrainConfig
    from vg_gym.agents.tuning import SPACES, Search

    with pytest.raises(VGGymError, match="nothing is left to tune"):
        Search(TrainConfig(), tmp_path, frozenset(SPACES["ppo"])).run(1)
    with pytest.raises(SystemExit):
        search(tmp_path, 0)
    assert "--trials is 0" in capsys.readouterr().err
