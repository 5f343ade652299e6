"""A run that goes on: with its own options, and with the data and the weights that it began with."""

import json
import os
import shlex
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.fitting.test_loop import Line, config
from vg_gym.agents.config import TrainConfig
from vg_gym.baselines.detectors.detector_learner import DetectorConfig
from vg_gym.clip.finetuning.config import ClipTrainConfig
from vg_gym.config import load_config, save_config
from vg_gym.data.worlds.refshapes.dataset import RefShapes
from vg_gym.errors import Interrupted, VGGymError
from vg_gym.fitting.config import DatasetFitConfig, FitConfig
from vg_gym.fitting.origin import ORIGIN, START, check_origin, write_origin
from vg_gym.fitting.resuming import command_to_resume, options_of_run, resumed
from vg_gym.fitting.splits import samples_mark
from vg_gym.fitting.train import train
from vg_gym.learned.grounder_learner import GrounderConfig

TRAININGS = (TrainConfig, GrounderConfig, DetectorConfig, ClipTrainConfig)


def kept_config(folder, schema, *options):
    """A run's folder with the config of a run that was started with some options."""
    begun = load_config(schema, [*options, f"out={folder}"])
    folder.mkdir(parents=True)
    save_config(begun.completed(), folder / "config.yaml")
    return begun.completed()


@pytest.mark.parametrize("schema", TRAININGS)
def test_every_option_comes_from_the_run(schema, tmp_path):
    steps = "total_timesteps=77" if schema is TrainConfig else "steps=77"
    begun = kept_config(tmp_path / "run", schema, "seed=5", "batch_size=9", steps, "dataset_options.scenes=3")
    going = resumed(schema, ["resume=true", f"out={tmp_path / 'run'}"])
    assert going == replace(begun, resume=True)
    assert resumed(schema, ["seed=5", f"out={tmp_path / 'run'}", "resume=true"]) == going


def test_a_label_free_run_stays_label_free(tmp_path):
    kept_config(tmp_path / "run", TrainConfig, "agent_label_free", "minutes=3")
    going = resumed(TrainConfig, ["resume=true", f"out={tmp_path / 'run'}", "minutes=5"])
    assert (going.reward, going.clone.minutes, going.minutes) == ("clip", 0, 5)


def test_default_folders_are_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    kept_config(tmp_path / "runs" / "refshapes-ppo-clip-s0", TrainConfig, "reward=clip", "width=16")
    kept_config(tmp_path / "runs" / "grounder", GrounderConfig, "model=red")
    (tmp_path / "runs" / "latest").symlink_to("refshapes-ppo-clip-s0")
    for typed in ("out=runs/latest", "reward=clip"):
        going = resumed(TrainConfig, ["resume=true", typed])
        assert going.width == 16 and going.out == "runs/refshapes-ppo-clip-s0"
    assert resumed(GrounderConfig, ["resume=true"]).model == "red"
    with pytest.raises(VGGymError, match=r"nothing to resume.*latest is out=runs/refshapes-ppo-clip-s0"):
        resumed(TrainConfig, ["resume=true"])


def test_what_a_config_file_says_otherwise_is_left_to_the_run(tmp_path):
    kept_config(tmp_path / "run", GrounderConfig, "mdetr_refshapes", "steps=12", "images=4")
    with pytest.warns(UserWarning, match="steps is 12 in the run and 2000 in mdetr_refshapes; images is 4") as warned:
        going = resumed(
            GrounderConfig, ["mdetr_refshapes", "resume=true", f"out={tmp_path / 'run'}", "learning_rate=0.5"]
        )
    assert (going.steps, going.images, going.learning_rate) == (12, 4, 0.5) and len(warned) == 1


def test_an_option_that_differs_is_refused_or_said(tmp_path, capsys):
    begun = config(tmp_path / "run")
    train(lambda _: Line(), begun)
    before = (tmp_path / "run" / "config.yaml").read_text()
    with pytest.raises(VGGymError, match=r"batch_size is 4 here and 32 in .*; seed is 1 here and 0 in .*omit"):
        train(lambda _: Line(), replace(begun, resume=True, seed=1, batch_size=4, steps=99))
    assert (tmp_path / "run" / "config.yaml").read_text() == before
    capsys.readouterr()
    train(lambda _: Line(), replace(begun, resume=True))
    message, _, typed = capsys.readouterr().out.partition(" to train it longer: ")
    assert message.endswith("is finished: 60 of 60 steps;")
    assert resumed(FitConfig, shlex.split(typed.splitlines()[0])).steps == 120
    with pytest.raises(VGGymError, match="`.*` resumes it; add fresh=true to delete it") as refused:
        train(lambda _: Line(), begun)
    assert resumed(FitConfig, shlex.split(str(refused.value).split("`")[1])).steps == 60
    train(lambda _: Line(), replace(begun, resume=True, steps=70))
    assert "steps changes from 60 to 70" in capsys.readouterr().out
    assert load_config(FitConfig, [str(tmp_path / "run" / "config.yaml")]) == replace(begun, steps=70)


def test_the_command_that_is_printed_goes_on(tmp_path):
    begun = config(tmp_path / "a run")
    with pytest.raises(Interrupted) as interrupted:
        train(lambda _: Line(interrupt_at=33), begun)
    words = shlex.split(str(interrupted.value).partition("resume with: ")[2])
    assert words == ["resume=true", f"out={tmp_path / 'a run'}"]
    parts = load_file(train(lambda _: Line(), resumed(FitConfig, words)) / "line.safetensors")
    whole = load_file(train(lambda _: Line(), config(tmp_path / "whole")) / "line.safetensors")
    assert all(torch.equal(parts[name], whole[name]) for name in whole)


@pytest.mark.parametrize("schema", TRAININGS)
def test_the_command_names_the_training_and_code(schema):
    name = schema.TRAINS
    plain = load_config(schema, ["out=my runs/x"])
    assert shlex.split(command_to_resume(plain)) == ["vg-gym", "train", name, "resume=true", "out=my runs/x"]
    coded = load_config(schema, ["out=r", "plugins=mine", "dataset=mine.sets:make"])
    assert command_to_resume(coded).endswith("plugins=mine dataset=mine.sets:make resume=true out=r")
    together = command_to_resume(plain, processes=2)
    assert together.startswith(f"accelerate launch --num_processes 2 -m vg_gym.cli train {name} resume=true")


def test_relative_paths_are_meant_from_where_the_run_began(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "mine.jsonl").touch()
    monkeypatch.chdir(tmp_path / "here")
    kept_config(tmp_path / "run", DatasetFitConfig, "dataset=mine.jsonl")
    write_origin(tmp_path / "run", {})
    assert resumed(DatasetFitConfig, ["resume=true", "out=../run"]).dataset == "mine.jsonl"
    monkeypatch.chdir(tmp_path)
    assert resumed(DatasetFitConfig, ["resume=true", "out=run"]).dataset == str(tmp_path / "here" / "mine.jsonl")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "nothing to resume: no .*config.yaml"),
        ("{", "is damaged or of another training"),
        ("{}", "it lacks out, steps, batch_size, accumulate and more"),
        ("steps: 3\nseed: 1\n", "it lacks out, batch_size, accumulate, learning_rate and more"),
        ("stepz: 3\n", "did you mean 'steps'"),
        ("steps: many\n", "'steps'"),
        ("action: edges\n", "unknown option"),
    ],
)
def test_a_config_that_is_missing_or_damaged_is_named(text, message, tmp_path):
    if text is not None:
        (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(VGGymError, match=message) as refused:
        resumed(FitConfig, ["resume=true", f"out={tmp_path}"])
    assert str(tmp_path / "config.yaml") in str(refused.value)


def test_a_folder_with_an_equals_sign(tmp_path):
    begun = kept_config(tmp_path / "seed=3", FitConfig, "seed=3")
    assert options_of_run(FitConfig, tmp_path / "seed=3") == begun


def test_other_data_are_refused_and_another_start_is_a_warning(tmp_path):
    class Made(Line):
        def __init__(self, **made_of):
            super().__init__()
            self.made_of = {name.replace("_", " "): mark for name, mark in made_of.items()}

    begun = config(tmp_path)
    train(lambda _: Made(training_split="9 samples", weights_to_start_from="a"), begun)
    going = replace(begun, resume=True, steps=70)
    with pytest.raises(
        VGGymError, match=r"training split differs from that at the start of the run \(9 samples, now 8"
    ):
        train(lambda _: Made(training_split="8 samples"), going)
    with pytest.warns(UserWarning, match=f"the {START} have changed since the run began"):
        train(lambda _: Made(training_split="9 samples", weights_to_start_from="b"), going)


def test_what_a_run_was_made_of_may_be_unknown_and_not_damaged(tmp_path):
    check_origin(tmp_path, {"training split": "9 samples"})  # of an earlier version
    for content in ("{", "[]", json.dumps({"made of": 3})):
        (tmp_path / ORIGIN).write_text(content)
        with pytest.raises(VGGymError, match=r"origin.json is damaged"):
            check_origin(tmp_path, {})


def test_samples_are_told_apart_by_number_words_and_boxes():
    def sample(text, edge):
        return SimpleNamespace(query=SimpleNamespace(expression=text), boxes=np.array([[0, 0, 4, edge]]), image_id=1)

    first = samples_mark([sample("a", 4), sample("b", 4)])
    others = [[sample("a", 4)], [sample("a", 4), sample("c", 4)], [sample("a", 4), sample("b", 5)]]
    assert first.startswith("2 samples, content ") and len({first, *map(samples_mark, others)}) == 4
    assert samples_mark([]).startswith("0 samples") and samples_mark(RefShapes("refshapes", "val")) == "2,000 samples"


def test_curves_of_a_killed_run_have_each_step_once(tmp_path):
    train(lambda _: Line(), config(tmp_path))
    checkpoint = tmp_path / "checkpoint.pt"
    content = torch.load(checkpoint, weights_only=True)
    torch.save({**content, "step": 20}, checkpoint)  # as if it had been killed beyond its last checkpoint
    # The reader sorts files by their names, which hold the second and a counter of the process: 9 comes after 10.
    first = next(tmp_path.glob("events*")).rename(tmp_path / "events.out.tfevents.0000000000.first")
    os.utime(first, (0, 0))
    train(lambda _: Line(), config(tmp_path, resume=True))
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [point.step for point in events.Scalars("val/closeness")] == [20, 40, 60]


@pytest.mark.parametrize("schema", [GrounderConfig, DetectorConfig, ClipTrainConfig])
def test_the_old_name_of_the_learning_rate_is_an_error_that_says_the_new_one(schema):
    with pytest.raises(VGGymError, match="option 'lr' is called 'learning_rate' now"):
        load_config(schema, ["lr=1e-3"])


def test_a_run_with_the_old_name_of_the_learning_rate_resumes(tmp_path):
    begun = kept_config(tmp_path / "run", GrounderConfig, "learning_rate=3e-4")
    path = tmp_path / "run" / "config.yaml"
    path.write_text(path.read_text().replace("\nlearning_rate:", "\nlr:"))
    assert resumed(GrounderConfig, ["resume=true", f"out={tmp_path / 'run'}"]) == replace(begun, resume=True)
