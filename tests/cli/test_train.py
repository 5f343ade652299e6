"""The trainings and the evaluation as subcommands, for those who have the package alone."""

import pytest

from vg_gym.agents.config import TrainConfig
from vg_gym.cli.entry import main
from vg_gym.config import CONFIGS, described, load_config
from vg_gym.errors import VGGymError


@pytest.mark.parametrize("what", ["agent", "grounder", "detector", "clip"])
def test_help_lists_every_option_with_its_default_and_what_it_is(what, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["train", what, "--help"])
    said = capsys.readouterr().out
    assert ended.value.code == 0 and "  seed=0   (at least 0 and below 4,294,967,296)\n        " in said
    assert said.startswith("Options of") and "  agent_label_free, " in said
    lines = said.partition("\noptions:\n")[2].splitlines()
    options = [row for row, line in enumerate(lines) if line.startswith("  ") and line[2] != " "]
    assert len(options) > 10 and all(lines[row + 1].startswith("        ") for row in options)


def test_options_of_options_and_of_bases_are_described():
    said = described(TrainConfig)
    for line in ("clone.choice=0.6   (between 0 and 1)\n        Share of that", "num_proposals=12   (at least 1)\n"):
        assert f"  {line}" in said
    assert "  min_steps=1   (at least 0)\n        The trigger counts from the first" in said  # not its base's words


def test_configs_of_the_package_are_found_by_name():
    assert (CONFIGS / "agent_refshapes.yaml").is_file()
    assert load_config(TrainConfig, ["agent_refshapes", "seed=3"]).proposals == "ssd"
    with pytest.raises(VGGymError, match="did you mean 'agent_refshapes'"):
        load_config(TrainConfig, ["agent_refshape"])


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
