"""The trainings and the evaluation as subcommands, for those who have the package alone."""

import shlex
from contextlib import suppress
from dataclasses import replace

import pytest

from tests.data.own import rows, write_rows
from vg_gym.agents.config import TrainConfig
from vg_gym.baselines.detectors.detector_learner import DetectorConfig
from vg_gym.cli.entry import main
from vg_gym.cli.option_docs import described
from vg_gym.cli.run import configured
from vg_gym.clip.finetuning.config import ClipTrainConfig
from vg_gym.clip.finetuning.model import save_model
from vg_gym.config import CONFIGS, load_config, packaged_configs
from vg_gym.errors import VGGymError
from vg_gym.evaluation import methods
from vg_gym.evaluation.comparison import Comparison
from vg_gym.fitting.splits import open_splits
from vg_gym.learned.grounder_learner import GrounderConfig
from vg_gym.learned.presence_learner import PresenceConfig


@pytest.mark.parametrize("what", ["agent", "grounder", "detector", "clip"])
def test_help_lists_every_option_with_its_default_and_what_it_is(what, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["train", what, "--help"])
    said = capsys.readouterr().out
    assert ended.value.code == 0 and "  seed=0   (at least 0 and below 4,294,967,296)\n        " in said
    name = {"agent": "agent_label_free", "grounder": "transvg_refshapes", "detector": "ssd_refshapes"}
    assert said.startswith("Options of") and f"{name.get(what, 'clip_refshapes')}" in said
    assert ("agent_label_free" in said) == (what == "agent"), "configurations of other trainings"
    lines = said.partition("\noptions:\n")[2].splitlines()
    options = [row for row, line in enumerate(lines) if line.startswith("  ") and line[2] != " "]
    assert len(options) > 10 and all(lines[row + 1].startswith("        ") for row in options)


def test_options_of_options_and_of_bases_are_described():
    said = described(TrainConfig)
    for line in (
        "clone.choice=0.6   (between 0 and 1)\n        Share of the warm start",
        "num_proposals=12   (at least 1)\n",
    ):
        assert f"  {line}" in said
    assert "  min_steps=1   (at least 0)\n        Number of the step from which" in said  # not its base's words


def test_configs_of_the_package_are_found_by_name():
    assert (CONFIGS / "agent_refshapes.yaml").is_file()
    assert load_config(TrainConfig, ["agent_refshapes", "seed=3"]).proposals == "ssd"
    with pytest.raises(VGGymError, match="did you mean 'agent_refshapes'"):
        load_config(TrainConfig, ["agent_refshape"])


SCHEMAS = (TrainConfig, GrounderConfig, PresenceConfig, DetectorConfig, ClipTrainConfig)


def schema_of(name):
    """The options of the training that a shipped config is for."""
    for schema in SCHEMAS:
        with suppress(VGGymError):
            load_config(schema, [name])
            return schema


@pytest.mark.parametrize("dataset", ["mine.jsonl", "mine.json", "hub:mine", "refcocog-umd"])
@pytest.mark.parametrize("name", sorted(file.stem for file in CONFIGS.glob("*.yaml")))
def test_options_of_the_built_in_data_are_left_out_for_other_data(name, dataset, capsys):
    schema, own = schema_of(name), f"dataset={dataset}"
    shipped = load_config(schema, [name])
    config = configured(schema, [name, own])
    assert config == replace(shipped, dataset=dataset, dataset_options={})
    dropped = ", ".join(shipped.dataset_options)
    are = "are" if "," in dropped else "is"
    said = f"{name}: dataset_options {dropped} of {shipped.dataset} {are} left out for {dataset}\n"
    assert capsys.readouterr().out == (said if shipped.dataset_options else "")
    assert configured(schema, [name, own, "dataset_options.box=b"]).dataset_options == {"box": "b"}
    siblings = {"refscenes": "refscenes-any", "refscenes-any": "refscenes"}
    sibling = siblings.get(shipped.dataset, "refshapes-hard")
    assert configured(schema, [name, f"dataset={sibling}"]).dataset_options == shipped.dataset_options


@pytest.mark.parametrize("nothing", ["null", "{}", ""])
def test_dataset_options_can_be_removed(nothing, tmp_path):
    assert load_config(TrainConfig, ["agent_refshapes", f"dataset_options={nothing}"]).dataset_options == {}
    assert load_config(ClipTrainConfig, ["clip_refshapes", f"dataset_options={nothing}"]).dataset_options == {}
    assert load_config(ClipTrainConfig, ["clip_refshapes", "model=null"]).model is None
    assert load_config(TrainConfig, ["agent_refshapes", "clone.minutes=null"]).clone.minutes is None
    with pytest.raises(VGGymError, match="'clone'"):
        load_config(TrainConfig, ["clone=null"])


def test_what_is_typed_for_own_data_and_not_known_is_named(tmp_path):
    mine = write_rows(tmp_path / "mine.jsonl", rows())
    config = configured(GrounderConfig, [f"dataset={mine}", "dataset_options.scenes=3"])
    with pytest.raises(VGGymError, match="got scenes: .*dataset_options=null"):
        open_splits(config)


def test_evaluate_is_evaluate_py(capsys, tmp_path):
    with pytest.raises(SystemExit):
        main(["evaluate", "--help"])
    assert "--methods" in capsys.readouterr().out
    out = tmp_path / "results"
    main(
        [
            "evaluate",
            "--methods",
            "random",
            "--dataset",
            "refshapes",
            "--clip",
            "none",
            "--limit",
            "8",
            "--out",
            str(out),
        ]
    )
    assert (out / "results.json").is_file()


def test_lists(capsys):
    for what, name in (("grounders", "agent:refshapes "), ("datasets", "refcocog-umd"), ("envs", "RefShapes-Ground-v0"),
                       ("detectors", "ssd"), ("clips", "ViT-B-32:openai")):  # fmt: skip
        main(["list", what])
        assert name in capsys.readouterr().out


def test_an_interrupted_table_goes_on_with_a_command_of_its_own(tmp_path, monkeypatch, tiny_clip, capsys):
    save_model(tiny_clip, tmp_path / "clip")
    options = [f"clip={tmp_path / 'clip'}", f"out={tmp_path / 'run'}", "threads=1", "dataset_options.scenes=2",
               "eval_samples=2", "num_envs=2", "n_steps=4", "batch_size=8", "width=16", "total_timesteps=8",
               "proposals=", "clone.steps=0", "edge_profiles=false", "action=edges", "score=context",
               "test_samples=3"]  # fmt: skip

    def interrupt(self, *_):
        raise KeyboardInterrupt

    monkeypatch.setattr(methods, "FIT_SAMPLES", 8)
    with monkeypatch.context() as patch, pytest.raises(SystemExit) as left:
        patch.setattr(Comparison, "_score", interrupt)
        main(["train", "agent", *options])
    assert left.value.code == 130
    said = capsys.readouterr().err.splitlines()[-1]
    assert "the agent is trained and saved" in said
    program, *again = shlex.split(said.partition("resume its table with: ")[2])
    assert program == "vg-gym"
    main(again)
    assert f"agent:{tmp_path / 'run'}" in (tmp_path / "run" / "test" / "results.json").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--minutes", "1"], "--minutes 1: options of trainings have no dashes; type minutes=1"),
        (["--minutes=1"], "type minutes=1"),
        (["--fresh"], "type fresh=VALUE"),
        (["minutes=one"], "option 'minutes' is 'one'; it must be a number at least 0"),
        (["clone.minutes=one"], "option 'clone.minutes' is 'one'; it must be a number at least 0 or none"),
        (["mdetr_refshapes"], "vg-gym train grounder mdetr_refshapes"),
    ],
)
def test_mistakes_in_options_have_plain_answers(arguments, message, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["train", "agent", *arguments])
    assert ended.value.code == 2 and message in capsys.readouterr().err


def test_every_config_belongs_to_one_training():
    owners = {name: [schema for schema in SCHEMAS if name in packaged_configs(schema)] for name in packaged_configs()}
    assert all(len(schemas) == 1 for schemas in owners.values()), owners
