"""Stages that a run of ``train_agent.py`` announces."""

import inspect
import io
from pathlib import Path

import pytest
from tqdm import tqdm

from vg_gym.agents import plan as plans
from vg_gym.agents.config import TOTAL_MINUTES, TrainConfig, completed
from vg_gym.agents.plan import announced, planned
from vg_gym.config import load_config
from vg_gym.runtime.command_stages import percent_bar


def plan(*pairs, begun=False):
    config = completed(load_config(TrainConfig, pairs))
    return config, planned(config, 8000, chooses=bool(config.proposals), begun=begun)


def names(stages):
    return [stage.name for stage in stages.stages]


def test_the_minutes_of_learning_are_those_of_the_budget():
    config, stages = plan("minutes=4", "clone.minutes=1", "clone.choice=0.5")
    assert names(stages) == ["features", "choice", "cloning", "learning", "table"]
    minutes = {stage.name: stage.minutes for stage in stages.stages}
    assert (minutes["choice"], minutes["cloning"], minutes["learning"]) == (0.5, 0.5, 3.0)
    assert stages.minutes == pytest.approx(4 + minutes["features"] + minutes["table"])
    lines = announced(config, stages)
    assert lines[0].startswith("runs/refshapes-ppo-iou-s0: ppo on refshapes")
    assert lines[-1].startswith("25% of the learning is supervised; clone.minutes=0 learns from rewards alone")


@pytest.mark.parametrize(
    "pairs, expected",
    [
        (["clone.minutes=0", "test_samples=0"], ["features", "learning"]),
        (["reward=clip"], ["features", "learning", "table"]),
        (["proposals=", "action=multi-edges", "score=context"], ["features", "cloning", "learning", "table"]),
        (["total_timesteps=3000"], ["features", "choice", "cloning", "learning", "table"]),
    ],
)
def test_stages_follow_the_options(pairs, expected):
    assert names(plan(*pairs)[1]) == expected


def test_a_resumed_run_has_no_warm_start():
    assert names(plan(begun=True)[1]) == ["features", "learning", "table"]


def test_a_resumed_run_announces_the_minutes_that_remain():
    config = completed(load_config(TrainConfig, ["minutes=4", "clone.minutes=1"]))
    stages = planned(config, 8000, chooses=True, begun=True, spent=2.5).stages
    assert {stage.name: stage.minutes for stage in stages}["learning"] == 0.5


@pytest.mark.parametrize("columns", [80, 120])
def test_the_figures_of_a_bar_fit_into_the_terminal(columns, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    description, figures = "stage 4 of 5, 12.3 min left: learning", {"return": "0.971", "iou": "0.942", "fps": "1170"}
    with tqdm(total=100, bar_format=percent_bar(), file=io.StringIO(), ncols=columns) as bar:
        bar.set_description(description)
        bar.set_postfix(figures)
        assert (
            str(bar).startswith(f"{description}: ")
            and str(bar).endswith("fps=1170")
            and len(str(bar)) <= columns
            and ("|" in str(bar)) == (columns == 120)
        )


def test_unknown_minutes_are_not_guessed():
    config, stages = plan("total_timesteps=3000")
    assert stages.minutes is None and "min" not in announced(config, stages)[0]


def test_help_and_pages_state_the_total_that_is_expected(monkeypatch):
    monkeypatch.setattr(plans, "usable_cores", lambda: 2)
    config = completed(TrainConfig())
    minutes = planned(config, 4 * config.dataset_options["scenes"] + config.eval_samples, True, False).minutes
    assert TOTAL_MINUTES - 1 < minutes <= TOTAL_MINUTES
    sentence, docs = f"{TOTAL_MINUTES} minutes on two cores", Path(__file__).parents[2] / "docs"
    assert sentence in inspect.getdoc(TrainConfig)
    assert all(sentence in (docs / page).read_text() for page in ("quickstart.md", "training.md"))


@pytest.mark.parametrize(
    "pairs, scenes",
    [
        ([], 3000),
        (["minutes=10"], 4000),
        (["reward=clip"], 4000),
        (["total_timesteps=9"], 4000),
        (["dataset_options.scenes=7"], 7),
    ],
)
def test_more_minutes_have_more_scenes(pairs, scenes):
    assert plan(*pairs)[0].dataset_options == {"scenes": scenes}


def test_only_a_warm_start_with_proposals_is_short():
    options = [
        ["reward=clip"],
        ["proposals=", "action=edges", "score=context"],
        ["clone.minutes=0"],
        ["dataset=a.jsonl"],
    ]
    assert plan()[0].minutes == 3 and all(plan(*pairs)[0].minutes == 10 for pairs in options)
