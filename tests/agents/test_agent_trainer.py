import ast
import inspect
import json

import numpy as np
import pytest
import torch

from vg_gym import boxes as box_ops
from vg_gym.agents.agent_trainer import AgentTrainer
from vg_gym.agents.cloning import CloneConfig
from vg_gym.agents.config import TrainConfig, completed
from vg_gym.agents.grounder import AgentGrounder
from vg_gym.agents.oracle import greedy_action
from vg_gym.cli.entry import main as vg_gym_command
from vg_gym.clip_finetuning.model import save_model
from vg_gym.config import load_config
from vg_gym.envs.factory import make_engine
from vg_gym.envs.options import EnvOptions
from vg_gym.envs.rng import CounterRNG
from vg_gym.errors import VGGymError


@pytest.fixture(scope="session")
def clip_folder(tiny_clip, tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip") / "model"
    save_model(tiny_clip, folder)
    return str(folder)


def train(clip_folder, out, *extra):
    common = [f"clip={clip_folder}", f"out={out}", "dataset_options.scenes=4", "eval_samples=8", "num_envs=4",
              "n_steps=8", "batch_size=16", "minutes=5", "total_timesteps=96", "width=16",
              "cache=false", "threads=1", "clone.minutes=0"]  # fmt: skip
    trainer = AgentTrainer(load_config(TrainConfig, [*common, *extra]))
    return trainer, trainer.run()


def test_a_run_leaves_what_it_promises(clip_folder, tmp_path, blind):
    trainer, means = train(clip_folder, tmp_path / "run")
    assert {"iou", "acc@0.5", "return", "trigger_rate"} <= means.keys()
    names = {p.name for p in (tmp_path / "run").iterdir()}
    assert {"best", "last", "config.yaml", "trajectories.png"} <= names
    assert (tmp_path / "latest").resolve() == (tmp_path / "run").resolve()
    assert any(name.startswith("events.out") for name in names)
    grounder = AgentGrounder(str(tmp_path / "run"))
    predictions = grounder.ground(blind)
    assert len(predictions) == len(blind)
    for prediction in predictions:
        assert box_ops.is_valid(prediction.box, (128, 128))
        assert prediction.details["evaluations"] == 9 * 16 + len(prediction.details["trajectory"])
        assert len(prediction.details["trajectory"]) <= 11
    again = AgentGrounder(str(tmp_path / "run"), batch_size=3).ground(blind)
    for a, b in zip(predictions, again, strict=True):
        np.testing.assert_array_equal(a.box, b.box)


def test_a_feature_store_says_what_to_train_on(clip_folder, tmp_path, monkeypatch):
    store = tmp_path / "features"
    vg_gym_command(["features", "--dataset", "refshapes", "--clip", clip_folder, "--limit", "4", "--out", str(store)])
    config = load_config(TrainConfig, [f"features={store}", "dataset_options.scenes=4"])
    assert config.dataset == config.clip == ""
    named = completed(config)
    assert (named.dataset, named.root, named.clip) == ("refshapes", None, clip_folder)
    assert completed(load_config(TrainConfig, [])).clip == "refshapes"

    options = (f"features={store}", "eval_samples=8", "initial_box=center")
    first, _ = train(clip_folder, tmp_path / "with", *options)
    assert first.config.clip == clip_folder and first.env.engine.features.store is not None
    second, _ = train(clip_folder, tmp_path / "without", "dataset=refshapes", "initial_box=center")
    theirs = second.model.policy.state_dict()
    for name, weights in first.model.policy.state_dict().items():
        assert torch.equal(weights, theirs[name]), name  # the same bits, with and without a store
    assert AgentGrounder(str(tmp_path / "with")).options.features == ""
    with pytest.raises(VGGymError, match=r"lacks 4 of 9 images"):
        train(clip_folder, tmp_path / "more", *options, "dataset_options.scenes=8", "eval_samples=4")


def test_a_store_of_another_clip_is_refused(clip_folder, tmp_path):
    store = tmp_path / "features"
    vg_gym_command(["features", "--dataset", "refshapes", "--clip", clip_folder, "--limit", "1", "--out", str(store)])
    with pytest.raises(VGGymError, match="clip"):
        train(clip_folder, tmp_path / "run", "clip=refshapes", f"features={store}")
    with pytest.raises(VGGymError, match="phrases"):
        train(clip_folder, tmp_path / "run", f"features={store}", "phrases=true")


def test_a_resumed_run_goes_on(clip_folder, tmp_path):
    first, _ = train(clip_folder, tmp_path / "run")
    second, _ = train(clip_folder, tmp_path / "run", "resume=true", "total_timesteps=192")
    assert second.model.num_timesteps >= 192 > first.model.num_timesteps >= 96
    about = json.loads((tmp_path / "run" / "last" / "agent.json").read_text())
    assert about["steps"] == second.model.num_timesteps
    with pytest.raises(VGGymError, match="nothing to resume"):
        train(clip_folder, tmp_path / "other", "resume=true")


def test_ctrl_c_saves(clip_folder, tmp_path, monkeypatch):
    from vg_gym.agents import callbacks

    def interrupt(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(callbacks.EpisodeStats, "_on_rollout_end", interrupt)
    with pytest.raises(VGGymError, match="resume=true"):
        train(clip_folder, tmp_path / "run")
    assert (tmp_path / "run" / "last" / "state.pt").is_file()


def test_dqn_trains_on_a_discrete_set(clip_folder, tmp_path, blind):
    train(clip_folder, tmp_path / "run", "algo=dqn", "action=edges", "buffer_size=500")
    assert len(AgentGrounder(str(tmp_path / "run")).ground(blind)) == len(blind)
    with pytest.raises(VGGymError, match="action=edges"):
        train(clip_folder, tmp_path / "other", "algo=dqn")


def test_cloning_learns_the_oracle(clip_folder, tmp_path):
    options = ("clone.minutes=0.15", "clone.batch_size=128", "total_timesteps=1", "action=edges")
    trainer, _ = train(clip_folder, tmp_path / "run", *options)
    engine = trainer.env.engine
    engine.reset_rows(range(4), CounterRNG(np.arange(4)))
    wanted = greedy_action(engine.actions, engine.boxes, engine.targets)
    observation = {k: torch.as_tensor(v) for k, v in engine.observe().items()}
    learned = trainer.model.policy.evaluate_actions(observation, torch.as_tensor(wanted))[1].exp().mean()
    assert learned > 2 / 21  # an untrained policy gives every action about 1/21


def test_training_without_labels_needs_none(clip_folder, tmp_path, monkeypatch):
    import vg_gym.agents.agent_trainer as training

    original = training.AgentTrainer.open

    def bare(self, split):
        return [sample.query for sample in original(self, split)]

    monkeypatch.setattr(training.AgentTrainer, "open", bare)
    _, means = train(clip_folder, tmp_path / "run", "reward=clip")
    assert np.isnan(means["iou"]) and np.isfinite(means["return"])


@pytest.mark.parametrize(
    ("option", "name"),
    [("lr=1e-3", "learning_rate"), ("steps=5", "total_timesteps"), ("rollout=8", "n_steps"), ("epochs=1", "n_epochs"),
     ("entropy=0", "ent_coef"), ("buffer=9", "buffer_size"), ("init=refshapes", "init_from"),
     ("clone.lr=1", "clone.learning_rate"), ("clone.buffer=1", "clone.buffer_size")],
)  # fmt: skip
def test_old_names_of_options_say_the_new_one(option, name):
    with pytest.raises(VGGymError, match=f"is called '{name}' now"):
        load_config(TrainConfig, [option])


@pytest.mark.parametrize("schema", [EnvOptions, TrainConfig, CloneConfig])
def test_every_option_has_its_docstring(schema):
    (tree,) = ast.parse(inspect.getsource(schema)).body
    for field, after in zip(tree.body, [*tree.body[1:], None], strict=True):
        if isinstance(field, ast.AnnAssign):
            assert isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant), ast.unparse(field)


@pytest.mark.parametrize(
    ("option", "message"),
    [("rewrd=iou", "did you mean 'reward'"), ("algo=sac", "unknown algorithm 'sac'"), ("minutes=soon", "minutes"),
     ("dataset=refshape", "did you mean 'refshapes'"), ("init_from=nobody", "no agent 'nobody'"), 
     ("missing.yaml", "no config")],
)  # fmt: skip
def test_bad_options_are_named(option, message, clip_folder, tmp_path):
    with pytest.raises(VGGymError, match=message):
        train(clip_folder, tmp_path / "run", option)


def test_an_agent_of_another_environment_is_named(clip_folder, tmp_path):
    train(clip_folder, tmp_path / "run", "action=edges")
    with pytest.raises(VGGymError, match="another environment"):
        AgentGrounder(str(tmp_path / "run"), action="classic").ground(
            [s.query for s in make_engine(1, clip=clip_folder, dataset_options={"scenes": 1}).episodes.items]
        )
    (tmp_path / "run" / "best" / "policy.safetensors").write_bytes(b"garbage")
    with pytest.raises(VGGymError, match="damaged"):
        train(clip_folder, tmp_path / "next", "action=edges", f"init_from={tmp_path / 'run'}")
