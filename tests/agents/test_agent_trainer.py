import ast
import errno
import inspect
import json
import shlex
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from vg_gym import boxes as box_ops
from vg_gym.agents.agent_trainer import AgentTrainer
from vg_gym.agents.budget import Budget
from vg_gym.agents.cloning import CloneConfig
from vg_gym.agents.config import STEPS_PER_MINIBATCH, TrainConfig, completed
from vg_gym.agents.grounder import AgentGrounder
from vg_gym.agents.oracle import greedy_action
from vg_gym.cli.entry import main as vg_gym_command
from vg_gym.clip.finetuning.model import save_model
from vg_gym.clip.loader import forget_clips
from vg_gym.config import load_config
from vg_gym.envs.factory import make_engine
from vg_gym.envs.options import EnvOptions
from vg_gym.envs.rng import CounterRNG
from vg_gym.errors import Interrupted, VGGymError
from vg_gym.features import bank
from vg_gym.fitting.resuming import resumed
from vg_gym.storage import files, shards
from vg_gym.storage.files import writing


@pytest.fixture(scope="session")
def clip_folder(tiny_clip, tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip") / "model"
    save_model(tiny_clip, folder)
    return str(folder)


def train(clip_folder, out, *extra):
    common = [f"clip={clip_folder}", f"out={out}", "dataset_options.scenes=4", "eval_samples=4", "num_envs=4",
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


def test_a_resumed_run_keeps_minutes_best_agent_and_options(clip_folder, tmp_path, capsys, monkeypatch):
    run = tmp_path / "run"
    train(clip_folder, run, *LIGHT, "reward=clip")
    state = torch.load(run / "last" / "state.pt", weights_only=True)
    torch.save({**state, "minutes": 3.0}, run / "last" / "state.pt")
    best = run / "best" / "agent.json"
    about = json.loads(best.read_text())
    best.write_text(json.dumps({**about, "val": {**about["val"], "return": 99.0}}))
    before = best.read_bytes()
    capsys.readouterr()
    again = AgentTrainer(resumed(TrainConfig, [f"out={run}", "resume=true"]))
    means = again.run()
    assert again.finished and means == json.loads((run / "last" / "agent.json").read_text())["val"]
    message, _, typed = capsys.readouterr().out.partition(" to train it longer: vg-gym train agent ")
    assert "is finished (96 steps, total_timesteps=96);" in message

    longer = AgentTrainer(resumed(TrainConfig, shlex.split(typed.splitlines()[0])))
    assert longer.config.total_timesteps == 192
    assert longer.config.reward == "clip" and longer.config.action == "edges"
    longer.run()
    assert not longer.finished and longer.model._n_updates > state["updates"] > 0
    assert best.read_bytes() == before  # no later agent is better than the best
    assert torch.load(run / "last" / "state.pt", weights_only=True)["minutes"] > 3
    saved = load_config(TrainConfig, [str(run / "config.yaml")])
    assert (saved.total_timesteps, saved.reward, saved.resume, saved.fresh) == (192, "clip", False, False)
    with pytest.raises(VGGymError, match="reward is iou here and clip in"):
        train(clip_folder, run, *LIGHT, "resume=true")


def test_a_resumed_run_draws_other_episodes(clip_folder, tmp_path):
    drawn = []
    for options in ((), ("resume=true", "total_timesteps=128")):
        trainer, _ = train(clip_folder, tmp_path / "run", *LIGHT, *options)
        drawn.append(trainer.env._rng.uniform(np.arange(4), 3))
    assert not np.array_equal(*drawn)


def test_latest_is_a_run_to_resume_and_points_to_it_still(clip_folder, tmp_path):
    train(clip_folder, tmp_path / "run", *LIGHT)
    AgentTrainer(resumed(TrainConfig, [f"out={tmp_path / 'latest'}", "resume=true", "total_timesteps=128"])).run()
    assert (tmp_path / "latest").readlink().name == "run"
    train(clip_folder, tmp_path / "latest", *LIGHT, "fresh=true")
    assert (tmp_path / "latest").readlink().name == "run" and (tmp_path / "run" / "last").is_dir()


def test_other_data_or_another_clip_are_refused(clip_folder, tmp_path, tiny_clip):
    run, clip = tmp_path / "run", tmp_path / "clip"
    shutil.copytree(clip_folder, clip)
    train(str(clip), run, *LIGHT)
    other = tiny_clip.copy()
    with torch.no_grad():
        other.model.logit_scale += 1
    shutil.rmtree(clip)
    save_model(other, clip)
    forget_clips()  # as in a new process
    with pytest.raises(VGGymError, match="CLIP differs from that at the start of the run"):
        train(str(clip), run, *LIGHT, "resume=true")
    origin = json.loads((run / "origin.json").read_text())
    assert origin["made of"]["CLIP"].startswith(f"{clip}, content ") and len(origin["made of"]) == 3


def test_ctrl_c_saves(clip_folder, tmp_path, monkeypatch):
    from vg_gym.agents import callbacks

    def interrupt(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(callbacks.EpisodeStats, "_on_rollout_end", interrupt)
    with pytest.raises(VGGymError, match="resume=true"):
        train(clip_folder, tmp_path / "run")
    assert (tmp_path / "run" / "last" / "state.pt").is_file()


def test_dqn_trains_on_a_discrete_set(clip_folder, tmp_path, blind):
    trainer, _ = train(clip_folder, tmp_path / "run", "algo=dqn", "action=edges", "buffer_size=500")
    assert trainer.model.exploration_rate == trainer.model.exploration_final_eps
    assert len(AgentGrounder(str(tmp_path / "run")).ground(blind)) == len(blind)
    with pytest.raises(VGGymError, match="action=edges"):
        train(clip_folder, tmp_path / "other", "algo=dqn")


def test_cloning_learns_the_oracle(clip_folder, tmp_path):
    options = ("clone.steps=160", "clone.batch_size=128", "total_timesteps=1", "action=edges")
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


LIGHT = ("proposals=", "edge_profiles=false", "score=context", "action=edges", "eval_samples=2", "clone.batch_size=32",
         "dataset_options.scenes=1")  # fmt: skip


def same_weights(a, b):
    first, second = (load_file(folder / "policy.safetensors") for folder in (a, b))
    return all(torch.equal(first[name], second[name]) for name in first)


def test_runs_measured_in_steps_agree_bit_for_bit_however_fast_the_machine_is(clip_folder, tmp_path, monkeypatch):
    from vg_gym.agents import budget

    options = (*LIGHT, "proposals=ssd", "minutes=0.001", "clone.minutes=null", "clone.steps=24")
    train(clip_folder, tmp_path / "fast", *options)
    clock = iter(range(0, 10**9, 60))
    monkeypatch.setattr(budget.time, "monotonic", lambda: float(next(clock)))  # every look at the clock takes a minute
    train(clip_folder, tmp_path / "slow", *options)
    for name in ("best", "last"):
        assert same_weights(tmp_path / "fast" / name, tmp_path / "slow" / name)
    events = EventAccumulator(str(tmp_path / "fast")).Reload()
    rates = [point.value for point in events.Scalars("train/learning_rate")]
    assert rates == pytest.approx([7e-4 * (1 - 0.95 * share) for share in (1 / 3, 2 / 3)], rel=1e-5)
    assert [image.step for image in events.Images("val/trajectories")] == [0, 32, 64, 96]


def test_a_warm_start_in_steps_comes_with_a_run_in_steps():
    plain = completed(load_config(TrainConfig, ["total_timesteps=30000"]))
    assert (plain.clone.minutes, plain.clone.steps) == (0, 30000 // STEPS_PER_MINIBATCH)
    for options in (["clone.minutes=0"], ["reward=clip"], ["algo=dqn"]):
        none = completed(load_config(TrainConfig, ["total_timesteps=30000", *options])).clone
        assert Budget(none.minutes, none.steps).progress() == 1
    assert completed(load_config(TrainConfig, ["minutes=8"])).clone.minutes == 4


def test_one_tag_for_one_thing(clip_folder, tmp_path):
    train(clip_folder, tmp_path / "run", *LIGHT, "clone.steps=8")
    events = EventAccumulator(str(tmp_path / "run")).Reload()
    curves = events.Tags()["scalars"]
    assert {"rollout/ep_rew_mean", "rollout/ep_len_mean", "rollout/success_rate", "time/fps", "rollout/iou"} <= {
        *curves
    }
    assert not {"rollout/return", "rollout/length", "rollout/fps", "rollout/acc@0.5"} & {*curves}
    text = events.Tensors("config/text_summary")[0].tensor_proto.string_val[0].decode()
    assert "num_envs: 4" in text
    start = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    hparams = HParamsPluginData.FromString(start).session_start_info.hparams
    assert hparams["num_envs"].number_value == 4 and hparams["clone.steps"].number_value == 8


def test_a_run_owns_its_folder(clip_folder, tmp_path):
    run = tmp_path / "run"
    train(clip_folder, run, *LIGHT)
    shutil.copytree(run, tmp_path / "before")
    with pytest.raises(VGGymError, match="another run's results"):
        train(clip_folder, run, *LIGHT, "seed=1")
    with pytest.raises(VGGymError, match="no agent"):  # a mistake throws nothing away
        train(clip_folder, run, *LIGHT, "fresh=true", "init_from=nobody")
    assert same_weights(run / "last", tmp_path / "before" / "last")
    train(clip_folder, run, *LIGHT, "seed=1", "fresh=true")
    assert not same_weights(run / "last", tmp_path / "before" / "last")
    assert len(list(run.glob("events*"))) == 1


def test_what_is_not_there_is_found_before_training(clip_folder, tmp_path, monkeypatch):
    from vg_gym.features.bank import FeatureBank

    monkeypatch.setattr(FeatureBank, "prepare", lambda *_, **__: pytest.fail("features came first"))
    for option, said in (
        ("test_split=x", "'x'"),
        ("num_envs=1000000000", "num_envs=1,000,000,000 needs .* GiB of memory"),
        ("n_steps=1000000000", "num_envs=4 n_steps=1,000,000,000 needs"),
        ("minutes=nan", "'minutes' is nan"),
        ("gamma=2", "'gamma' is 2.0; it must be a number between 0 and 1"),
        ("clip_range=-1", "'clip_range' is -1.0; it must be a number above 0"),
    ):
        with pytest.raises(VGGymError, match=said):
            train(clip_folder, tmp_path / "run", option, "test_samples=9")
    with pytest.raises(VGGymError, match=r"clone.buffer_size=1,000,000,000 needs"):
        train(clip_folder, tmp_path / "run", "clone.minutes=1", "clone.buffer_size=1000000000")


def test_an_interrupted_warm_start_is_done_on_resuming(clip_folder, tmp_path, monkeypatch):
    from vg_gym.agents import agent_trainer

    done = []

    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(agent_trainer, "clone_oracle", interrupt)
        with pytest.raises(Interrupted, match="resume=true"):
            train(clip_folder, tmp_path / "run", *LIGHT, "clone.steps=8")
    about = json.loads((tmp_path / "run" / "last" / "agent.json").read_text())
    assert about["warm_start"] is False and about["best"] is None
    monkeypatch.setattr(agent_trainer, "clone_oracle", lambda *_: done.append(True))
    for _ in range(2):
        train(clip_folder, tmp_path / "run", *LIGHT, "clone.steps=8", "resume=true")
    assert done == [True]


def test_half_a_last_is_named(clip_folder, tmp_path):
    last = tmp_path / "run" / "last"
    train(clip_folder, tmp_path / "run", *LIGHT)
    shutil.copytree(last, tmp_path / "whole")
    for name, content, said in (
        ("agent.json", None, "lacks agent.json; train the agent with fresh=true"),
        ("agent.json", b"{", "agent.json is damaged"),
        ("policy.safetensors", None, "policy.safetensors is missing or damaged"),
        ("state.pt", None, "nothing to resume"),
        ("state.pt", b"", "state.pt is damaged .*fresh=true"),
        ("state.pt", b"garbage", "state.pt is damaged .*fresh=true"),
    ):
        shutil.copytree(tmp_path / "whole", last, dirs_exist_ok=True)
        (last / name).unlink()
        if content is not None:
            (last / name).write_bytes(content)
        with pytest.raises(VGGymError, match=said):
            train(clip_folder, tmp_path / "run", *LIGHT, "resume=true")


def test_last_is_whole_at_every_moment(clip_folder, tmp_path, monkeypatch):
    """What used to be killed between its files: the first ``last`` is there with all of them, or not at all."""
    from vg_gym.agents import checkpoint

    def killed(*_):
        raise SystemExit("killed")

    monkeypatch.setattr(checkpoint, "write_json", killed)
    with pytest.raises(SystemExit):
        train(clip_folder, tmp_path / "run", *LIGHT)
    assert not (tmp_path / "run" / "last").exists() and not (tmp_path / "run" / "best").exists()


def test_training_goes_on_without_a_cache(clip_folder, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    files._temporary_cache.cache_clear()
    options = (*LIGHT, "edge_profiles=true")
    with pytest.warns(UserWarning, match="kept for this run only") as said:
        train(clip_folder, tmp_path / "without", *options, "cache=true")
    assert len(said) == 1
    files._temporary_cache().cleanup()
    files._temporary_cache.cache_clear()
    monkeypatch.setattr(shards.ShardedArray, "write", full_disk)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.warns(UserWarning, match="No space left on device, so the run continues without the cache"):
        train(clip_folder, tmp_path / "full", *options, "cache=true")
    train(clip_folder, tmp_path / "plain", *options)
    for name in ("without", "full"):
        assert same_weights(tmp_path / name / "last", tmp_path / "plain" / "last")


def full_disk(self, number, *_):
    with writing(self.path(number)):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_data_that_are_not_there_are_said_before_a_clip_is_fetched(tmp_path, monkeypatch):
    monkeypatch.setattr("vg_gym.agents.agent_trainer.load_clip", None)
    with pytest.raises(VGGymError, match="no refs"):
        AgentTrainer(TrainConfig(dataset="refcocog-umd", root=str(tmp_path / "data"), out=str(tmp_path / "run")))


def test_too_little_memory_for_the_expressions_is_a_warning(clip_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(bank, "MIN_ROWS", 12)
    monkeypatch.setattr(bank, "ROW_SHARE", 1e-6)
    with pytest.warns(UserWarning, match=r"holds the features of 12 of 20 expressions.* memory=[0-9]+ holds all"):
        train(clip_folder, tmp_path / "little")
