"""What a file says is never imported: agents, configs, feature stores and runs from strangers name no code."""

import json
import shutil
import sys

import pytest

from vg_gym import registry
from vg_gym.agents.checkpoint import env_of, read_about
from vg_gym.agents.config import TrainConfig, completed
from vg_gym.agents.publishing.minari_data import env_options
from vg_gym.agents.publishing.sharing import write_package
from vg_gym.cli.run import configured
from vg_gym.errors import VGGymError
from vg_gym.features.manifest import Manifest
from vg_gym.learned.grounder_learner import GrounderConfig
from vg_gym.registry import DatasetSpec, GrounderSpec, refuse_code
from vg_gym.storage.assets import ASSETS

EVIL = "downloaded_evil:make"
REFUSED = "names the code .*downloaded_evil.*never imported; if you trust it"


@pytest.fixture(autouse=True)
def evil(tmp_path, monkeypatch):
    """A module beside the files, which the current folder's path makes importable; it must not be."""
    (tmp_path / "downloaded_evil.py").write_text("def make(*names, **options): raise SystemExit('ran')\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    assert "downloaded_evil" not in sys.modules


@pytest.fixture
def agent(tmp_path):
    """The folder of an agent whose ``agent.json`` may be changed."""
    folder = tmp_path / "agent"
    shutil.copytree(ASSETS / "agent-refshapes", folder)
    return folder


def change(folder, **env):
    about = json.loads((folder / "agent.json").read_text())
    about["env"].update(env)
    (folder / "agent.json").write_text(json.dumps(about))


@pytest.mark.parametrize("box", [EVIL, f"jitter,{EVIL}", f"full, {EVIL}", "downloaded_evil:make.more"])
def test_an_agents_initial_box_is_not_imported(agent, box):
    change(agent, initial_box=box)
    message = f"agent.json: env.initial_box {REFUSED}, give the agent the option initial_box=downloaded_evil:make"
    for use in (lambda: registry.grounder(f"agent:{agent}"), lambda: env_options(f"agent:{agent}")):
        with pytest.raises(VGGymError, match=message):
            use()


def test_what_the_user_types_replaces_it(agent):
    change(agent, initial_box=EVIL)
    assert registry.grounder(f"agent:{agent}", initial_box="center").options.initial_box == "center"
    assert env_options(f"agent:{agent}", ["initial_box"])["clip"] == "refshapes"


@pytest.mark.parametrize("field", ["dataset", "root", "fallback", "device", "plugins"])
def test_an_agent_names_options_of_the_environment_alone(agent, field):
    change(agent, **{field: EVIL})
    with pytest.raises(VGGymError, match=f"unknown option '{field}'"):
        env_of(agent, read_about(agent))


def test_an_agents_proposals_are_not_imported(agent, shapes):
    change(agent, proposals=EVIL)
    with pytest.raises(VGGymError, match="unknown proposer 'downloaded_evil'"):
        registry.grounder(f"agent:{agent}").ground([shapes[0].query])


@pytest.mark.parametrize("name", [EVIL, f"refshapes{EVIL}"])
def test_a_pushed_runs_data_set_is_not_imported(agent, tmp_path, name):
    (agent / "config.yaml").write_text(f"dataset: {name}\n")
    with pytest.raises(VGGymError, match="dataset names the code"):
        write_package(str(agent), "someone/agent", tmp_path, film=True)


@pytest.mark.parametrize("field", ["plugins", "dataset", "initial_box"])
def test_a_config_file_names_no_code(tmp_path, field):
    value = "downloaded_evil" if field == "plugins" else EVIL
    (tmp_path / "theirs.yaml").write_text(f"{field}: {value}\nclip: refshapes\n")
    with pytest.raises(VGGymError, match=f"theirs.yaml: {field} {REFUSED}, type {field}={value}"):
        configured(TrainConfig, [str(tmp_path / "theirs.yaml")])


def test_a_typed_option_replaces_that_of_a_config_file(tmp_path):
    (tmp_path / "theirs.yaml").write_text(f"dataset: {EVIL}\n")
    assert configured(TrainConfig, [str(tmp_path / "theirs.yaml"), "dataset=refshapes"]).dataset == "refshapes"


def test_a_config_file_after_what_was_typed_counts_as_the_file(tmp_path):
    (tmp_path / "theirs.yaml").write_text("plugins: downloaded_evil\n")
    with pytest.raises(VGGymError, match=REFUSED):
        configured(GrounderConfig, ["plugins=json", str(tmp_path / "theirs.yaml")])


def test_what_is_typed_is_imported_and_what_is_built_in_may_stand_in_a_file(tmp_path):
    (tmp_path / "mine.yaml").write_text("plugins: json\ndataset: refshapes-hard\n")
    config = configured(GrounderConfig, [str(tmp_path / "mine.yaml"), "plugins=json"])
    assert (config.plugins, config.dataset) == ("json", "refshapes-hard")


def test_a_feature_store_names_no_code(tmp_path):
    Manifest("refshapes", "0", 8, 8, False, 0, 1, 1, 1, 1, 1, "0", "cpu", "now", dataset=EVIL).save(tmp_path)
    with pytest.raises(VGGymError, match=f"manifest.json: dataset {REFUSED}, give the option dataset={EVIL}"):
        completed(TrainConfig(features=str(tmp_path)))
    assert completed(TrainConfig(features=str(tmp_path), dataset="refshapes")).dataset == "refshapes"


def test_entry_points_are_code_too_and_registered_names_are_the_users(monkeypatch):
    monkeypatch.setattr(registry, "offered", lambda kind: {"color": None})
    with pytest.raises(VGGymError, match="a.json names the code 'color'"):
        refuse_code(GrounderSpec, "color", "a.json", "type it")
    monkeypatch.setitem(registry.GROUNDERS, "color", GrounderSpec(EVIL))
    refuse_code(GrounderSpec, "color", "a.json", "type it")
    for name in ("refshapes", "hub:org/name", "rows.jsonl", "nothing"):
        refuse_code(DatasetSpec, name, "a.json", "type it")
