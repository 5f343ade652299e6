"""Agents go to the hub and come back; nothing of a stranger's agent runs."""

import json
import shutil
from io import BytesIO

import numpy as np
import pytest
from omegaconf import OmegaConf
from PIL import Image

from tests.hub import Hub, served
from vg_gym import registry
from vg_gym.agents.checkpoint import find_agent
from vg_gym.agents.publishing.hub import ABOUT, WEIGHTS
from vg_gym.agents.publishing.sharing import push, write_package
from vg_gym.cli.entry import main
from vg_gym.errors import UnknownName, VGGymError
from vg_gym.storage.assets import ASSETS

NAME = "someone/agent"
BUILT_IN = ASSETS / "agent-refshapes-clip"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A stand-in that this process takes for the hub, and is logged in to."""
    with served(Hub()) as hub:
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
        template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setenv("HF_TOKEN", hub.token)
        yield hub


@pytest.fixture
def run(tmp_path):
    """A run folder with an agent, the options of its training, and the table at its end."""
    folder = tmp_path / "run"
    shutil.copytree(BUILT_IN, folder / "best")
    options = {"dataset": "refshapes", "init_from": "/home/me/old", "out": "/home/me/new", "learning_rate": 0.001}
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(options))
    (folder / "test").mkdir()
    figures = {"dataset": "refshapes", "split": "test", "n": 1000, "mean_iou": 0.5, "acc@0.5": 0.625, "acc@0.75": 0.25}
    rows = [{"method": "no-op", "role": "floor", **figures}, {"method": f"agent:{folder}", "role": "method", **figures}]
    (folder / "test/results.json").write_text(json.dumps({"rows": rows}))
    return folder


def stranger(**changes):
    """The files of an agent whose ``agent.json`` is changed."""
    about = json.loads((BUILT_IN / ABOUT).read_text())
    env = changes.pop("env", {})
    about = {**about, **changes, "env": {**about["env"], **env}}
    return {ABOUT: json.dumps(about).encode(), WEIGHTS: (BUILT_IN / WEIGHTS).read_bytes()}


def test_an_agent_goes_to_the_hub_and_comes_back(hub, run, shapes):
    pushed = push(str(run), NAME)
    assert pushed.url == f"{hub.url}/{NAME}" and NAME not in hub.private
    queries = [sample.query for sample in shapes[:4]]
    ours = registry.grounder(f"agent:{run}").ground(queries)
    for options in ({}, {"revision": pushed.commit}):
        theirs = registry.grounder(f"agent:hub:{NAME}", **options).ground(queries)
        np.testing.assert_array_equal([found.box for found in theirs], [found.box for found in ours])


def test_what_is_pushed_tells_of_the_agent_and_not_of_its_machine(hub, run):
    push(str(run), NAME, private=True)
    _, files = hub.find(NAME, "main")
    assert set(files) == {"README.md", ABOUT, WEIGHTS, "config.yaml", "film.gif"} and NAME in hub.private
    text = files["README.md"].decode()
    assert text.startswith("---\nlibrary_name: vg_gym\n") and "![Episodes of the agent" in text
    assert "| `this agent` | method | 0.500 | 0.625 | 0.250 |" in text and f"--method agent:hub:{NAME}" in text
    assert "| `action` | `jump-edges` |" in text and "Validation, during training" in text
    assert OmegaConf.create(files["config.yaml"].decode()) == {"dataset": "refshapes", "learning_rate": 0.001}
    assert not [path for path, content in files.items() if b"/home/me" in content or str(run).encode() in content]
    with Image.open(BytesIO(files["film.gif"])) as film:
        assert film.format == "GIF" and film.n_frames > 5


def test_a_revision_is_loaded(hub):
    first = hub.commit(NAME, stranger(seed=1))
    hub.commit(NAME, stranger(seed=2))
    assert json.loads((find_agent(f"hub:{NAME}", first) / ABOUT).read_text())["seed"] == 1
    assert json.loads((find_agent(f"hub:{NAME}") / ABOUT).read_text())["seed"] == 2
    with pytest.raises(VGGymError, match="no agent 'someone/agent' at v9 from the hub"):
        find_agent(f"hub:{NAME}", "v9")
    with pytest.raises(VGGymError, match="revision=v9 applies to agents on the hub"):
        find_agent("refshapes", "v9")


def test_only_the_two_files_of_an_agent_are_fetched(hub):
    hub.commit(NAME, {**stranger(), "evil.py": b"raise SystemExit", "pytorch_model.bin": b"cos\nsystem\n"})
    assert sorted(path.name for path in find_agent(f"hub:{NAME}").iterdir()) == [ABOUT, WEIGHTS]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"env": {"initial_box": "full,evil_module:factory"}}, "names initial_box=evil_module:factory"),
        ({"env": {"initial_box": "agent:hub:else/where"}}, "names initial_box=agent:hub:else/where"),
        ({"env": {"proposals": "yolo:https://example.org/evil.pt"}}, "names proposals=yolo:https"),
        ({"env": {"features": "/srv/features"}}, "names features=/srv/features"),
        ({"clip": "hf-hub:else/where"}, "names clip=hf-hub:else/where"),
        ({"clip": "ViT-B-32:/tmp/evil.pt"}, "names clip=ViT-B-32:/tmp/evil.pt"),
        ({"clip": "hf-hub:evil"}, "names clip=hf-hub:evil"),
        ({"width": 10**9}, "has width 1000000000"),
        ({"width": True}, "has width True"),
        ({"algo": 3}, "agent.json is damaged .algo is 3"),
        ({"env": {"max_steps": -1}}, "max_steps"),
    ],
)
def test_a_strangers_agent_names_nothing_that_could_run(hub, changes, message):
    hub.commit(NAME, stranger(**changes))
    with pytest.raises(VGGymError, match=message):
        registry.grounder(f"agent:hub:{NAME}")


@pytest.mark.parametrize("content", [b"[1, 2]", b"{", b"[" * 100_000, b'{"algo": "ppo", "clip": "refshapes"}', b"\xff"])
def test_a_broken_agent_file_is_one_line(hub, content):
    hub.commit(NAME, {**stranger(), ABOUT: content})
    with pytest.raises(VGGymError, match=r"agent\.json"):
        registry.grounder(f"agent:hub:{NAME}")


def test_weights_that_are_no_tensors_are_not_read(hub, shapes):
    hub.commit(NAME, {**stranger(), WEIGHTS: b"\x80\x04cos\nsystem\n(S'touch owned'\ntR."})
    with pytest.raises(VGGymError, match="missing or damaged"):
        registry.grounder(f"agent:hub:{NAME}").ground([shapes[0].query])


def test_what_is_not_there_is_said(hub):
    with pytest.raises(VGGymError, match="no agent 'no/body' from the hub.*give a run folder"):
        registry.grounder("agent:hub:no/body")
    hub.commit("some/model", {"model.safetensors": b""})
    with pytest.raises(VGGymError, match="some/model on the hub is not an agent of vg_gym: it lacks agent.json"):
        registry.grounder("agent:hub:some/model")
    with pytest.raises(VGGymError, match="'name' does not name a repository of the hub: write ORG/NAME"):
        registry.grounder("agent:hub:name")


def test_who_may_not_write_is_told_to_log_in(hub, run, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_another")
    with pytest.raises(VGGymError, match="someone/agent was not pushed: .*401.*hf auth login"):
        push(str(run), NAME)
    assert not hub.repositories


def test_a_hub_that_is_not_there_is_one_line(run, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_TOKEN", "hf_any")
    with pytest.raises(VGGymError, match="someone/agent was not pushed: .*Check that the hub can be reached"):
        push(str(run), NAME)


def test_pictures_of_other_data_are_shown_only_where_asked_for(run, tmp_path):
    agent = run / "best" / ABOUT
    agent.write_text(json.dumps({**json.loads(agent.read_text()), "dataset": "/home/me/mine.jsonl"}))
    write_package(str(run), NAME, tmp_path)
    assert not (tmp_path / "film.gif").exists() and "film.gif" not in (tmp_path / "README.md").read_text()
    assert json.loads((tmp_path / ABOUT).read_text())["dataset"] == "mine.jsonl"


@pytest.mark.parametrize("name", ["agent", "a/b/c", "../x/y", ""])
def test_a_repository_has_a_name_with_its_owner(name):
    with pytest.raises(VGGymError, match="write ORG/NAME"):
        push("refshapes", name)


def test_an_agent_that_others_could_not_load_is_not_pushed(run):
    agent = run / "best" / ABOUT
    agent.write_text(json.dumps({**json.loads(agent.read_text()), "clip": "ViT-B-32:/home/me/clip.pt"}))
    with pytest.raises(VGGymError, match="names clip=ViT-B-32:/home/me/clip.pt"):
        push(str(run), NAME)
    with pytest.raises(VGGymError, match="is on the hub already"):
        push("hub:someone/other", NAME)


def test_an_unknown_option_of_the_environment_is_named(hub):
    hub.commit(NAME, stranger(env={"hook": "os.system"}))
    with pytest.raises(UnknownName, match="'hook'"):
        registry.grounder(f"agent:hub:{NAME}")


def test_the_command(hub, capsys):
    main(["push", "refshapes-clip", NAME])
    commit, _ = hub.find(NAME, "main")
    assert capsys.readouterr().out.splitlines() == [
        f"{hub.url}/{NAME}",
        f"agent:hub:{NAME} loads it; revision={commit} always means this version",
    ]
